"""Chimera's own agents are the same on both runners: with their guards, tools, questions and errors.

Proves FR-300, FR-304 and FR-310. Two missions with the same play run on one stage each, one on each runner; compared
are what comes of them, what their tools did, what was recorded, and the checkpoints of every agent.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chimera import Mission
from chimera.core.contracts import ReviewDecision, ReviewItem
from chimera.swarm import ChimeraSwarm

if TYPE_CHECKING:
    from conftest import Stage, Turn

RUNNERS = ("stock", "lean")


async def agents(swarm: ChimeraSwarm, mission_id: str) -> dict[str, list[Any]]:
    """The steps of each agent of a mission: what each checkpoint holds and how its versions stand, without ids."""
    async with swarm.app.pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT thread_id, checkpoint_ns, checkpoint, metadata FROM checkpoints "
            "WHERE thread_id LIKE %s ORDER BY checkpoint_id",
            (f"{mission_id}/%",),
        )
        rows = await cursor.fetchall()
    found: dict[str, list[Any]] = {}
    for row in rows:
        checkpoint, inside = row["checkpoint"], str(row["checkpoint_ns"]).split(":")[0]
        place = "/".join(str(row["thread_id"]).split("/")[1:5])
        seen = {node: _counted(known) for node, known in checkpoint["versions_seen"].items() if node != "__interrupt__"}
        step = (
            inside,
            row["metadata"]["source"],
            row["metadata"]["step"],
            sorted(checkpoint["updated_channels"] or []),
        )
        found.setdefault(place, []).append((step, _counted(checkpoint["channel_versions"]), seen))
    return found


def _counted(versions: Mapping[str, str]) -> dict[str, int]:
    return {channel: int(version.split(".")[0]) for channel, version in versions.items()}


async def told(swarm: ChimeraSwarm, mission_id: str) -> list[Any]:
    """What the record says, without ids and times."""
    trail = await swarm.app.context.audit.of_mission(mission_id)
    kept = [(event["kind"], event["data"].get("edge"), event["data"].get("action")) for event in trail]
    return sorted(repr(one) for one in kept)


def work(stage: "Stage") -> Any:
    """The first task looks twice and answers, the second one calls a tool that there is not, the third only answers."""

    def turn(turn: "Turn") -> Any:
        done = len(turn.results)
        if turn.task == "task 1":
            return stage.use("ledger__look", turn.task) if done < 2 else "task 1: done"
        if turn.task == "task 2":
            return stage.use("ledger__nothing", turn.task) if done < 1 else "task 2: done"
        return f"{turn.task}: done"

    return turn


async def test_a_mission_is_the_same_on_both_runners(stage: "Stage") -> None:
    found: list[Any] = []
    for runner in RUNNERS:
        tasks = [stage.task(1, tools=["ledger__look"]), stage.task(2, 1, tools=["ledger__look"]), stage.task(3)]
        play = stage.play({"go": [stage.plan(*tasks)]}, work(stage))
        async with stage.swarm(play, ledger=True, agent_runner=runner) as swarm:
            result = await swarm.run("go")
            steps = await agents(swarm, result.mission_id)
            found.append((result.status, sorted(play.worked()), steps, await told(swarm, result.mission_id)))
    assert found[1] == found[0]
    assert len(found[0][2]) == 3
    assert max(step[0][2] for steps in found[0][2].values() for step in steps) > 6


async def test_an_agent_that_asks_goes_on_with_stock_and_acts_once(stage: "Stage") -> None:
    async def yes(item: ReviewItem) -> ReviewDecision:
        return stage.decide()

    found: list[Any] = []
    for runner in RUNNERS:
        before = len(stage.effects())
        task = stage.task(1, tools=["ledger__wipe"])
        play = stage.play({"go": [stage.plan(task)]}, stage.steps("ledger__wipe"))
        async with stage.swarm(play, ledger=True, agent_runner=runner, reviewer=yes) as swarm:
            result = await swarm.run(Mission(goal="go"))
            steps = await agents(swarm, result.mission_id)
            found.append((result.status, steps, [effect.get("tool") for effect in stage.effects()[before:]]))
    assert found[1] == found[0]
    assert len(found[0][2]) == 1
