"""Going back: the checkpoints of a mission, replays from its own, and forks that keep what was finished."""

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from chimera import ChimeraSwarm, Mission
from chimera.core.errors import CheckpointNotFound, MissionNotFound
from chimera.timetravel import Checkpoint

if TYPE_CHECKING:
    from conftest import Stage, Turn


def before(history: list[Checkpoint], node: str, *, team: bool = False) -> Checkpoint:
    """The first checkpoint after which ``node`` would run."""
    return next(found for found in history if node in found.next and bool(found.place) == team)


async def test_every_checkpoint_is_listed(stage: "Stage") -> None:
    """Those of the mission and of both teams, oldest first, each with what would run next. Proves FR-24."""
    plans = {part: [stage.plan(stage.task(1, title=f"do {part}"))] for part in ("a", "b")}
    async with stage.swarm(stage.play(plans, split=["a", "b"])) as swarm:
        result = await swarm.run("both")
        history = await swarm.history(result.mission_id)
        again = await swarm.history(result.mission_id.upper())
        with pytest.raises(MissionNotFound):
            await swarm.history(swarm.app.context.new_id())
    assert again == history
    assert [found.at for found in history] == sorted(found.at for found in history)
    assert len({found.id for found in history}) == len(history)
    own = [found.next for found in history if not found.place]
    assert own == [
        ["__start__"],
        ["intake"],
        ["orchestrator"],
        ["team", "team"],
        ["regroup"],
        ["finish"],
        ["guard_output"],
        [],
    ]
    places = {found.place for found in history if found.place}
    assert len(places) == 2
    assert all(place.startswith("team:") for place in places)
    for place in places:
        steps = [node for found in history if found.place == place for node in found.next]
        assert steps == ["__start__", "planner", "dispatch", "agent", "judge", "commit", "report"]


async def test_state_comes_back_as_it_went_in(stage: "Stage") -> None:
    """Whatever a checkpoint holds, but for the messages of agents, is plain JSON. Proves TR-25."""
    plan = stage.plan(stage.task(1, tools=["ledger__wipe"]), stage.task(2, criteria=[{"kind": "text", "value": "ok"}]))

    def work(turn: "Turn") -> Any:
        return "ok" if turn.task == "task 2" or turn.results else stage.use("ledger__wipe", "all")

    async with stage.swarm(stage.play({"go": [plan]}, work, confidence=0.6), ledger=True) as swarm:
        result = await swarm.run("go", approve_plan=True, reviewer=_approving(stage))
        assert result.status == "done"
        seen = 0
        async for saved in swarm.app.saver.alist(None):
            for name, value in saved.checkpoint["channel_values"].items():
                if name != "messages" and not name.startswith("__"):
                    assert json.loads(json.dumps(value)) == value, name
                    seen += 1
    assert seen > 100


def _approving(stage: "Stage") -> Any:
    async def reviewer(_: Any) -> Any:
        return stage.decide()

    return reviewer


# --- replays ---------------------------------------------------------------------------------------------------------


async def test_a_replay_runs_what_follows_and_no_finished_agent(stage: "Stage") -> None:
    """From before the teams: they plan again; their agents have done this very work. Proves FR-24 and LAW-7."""
    play = stage.play({"go": [stage.plan(stage.task(1), stage.task(2, 1))]})
    async with stage.swarm(play) as swarm:
        first = await swarm.run("go")
        history = await swarm.history(first.mission_id)
        again = await swarm.replay(first.mission_id, before(history, "orchestrator").id)
        longer = await swarm.history(first.mission_id)
        row = await swarm.app.context.missions.get(first.mission_id)
        ended = await swarm.replay(first.mission_id, history[-1].id)
    assert (again.status, again.answer, row["status"]) == ("done", first.answer, "done")
    assert play.worked() == ["task 1", "task 2"]
    assert len(play.requests("orchestrator")) == len(play.requests("planner")) == 2
    assert longer[: len(history)] == history
    assert len(longer) > len(history)
    assert ended.answer == first.answer


async def test_a_replay_that_plans_other_work_does_that_work(stage: "Stage") -> None:
    """The new plan has a task with the id of an old one, and other words. It gets its own result, and is asked about.

    Proves FR-24 and FR-40: an approval of what was shown then lets nothing else through.
    """
    judged = [{"kind": "text", "value": "good"}]
    plans = [stage.plan(stage.task(1, title=name, criteria=judged)) for name in ("old", "new")]
    play = stage.play({"go": plans}, confidence=0.6)
    async with stage.swarm(play) as swarm:
        first = await swarm.run("go", approve_plan=True, reviewer=_approving(stage))
        assert (first.status, first.answer) == ("done", "old: done")
        history = await swarm.history(first.mission_id)
        waiting = await swarm.replay(first.mission_id, before(history, "orchestrator").id)
        assert waiting.status == "waiting"
        (item,) = await swarm.app.context.reviews.pending(first.mission_id)
        assert item.payload["plan"]["tasks"][0]["title"] == "new"
        result = await swarm.resume(first.mission_id, reviewer=_approving(stage))
        rows = await swarm.app.context.missions.tasks(first.mission_id)
    assert (result.status, result.answer) == ("done", "new: done")
    assert play.worked() == ["old", "new"]
    assert [(row["title"], row["state"]) for row in rows] == [("new", "done")]


async def test_a_replay_is_only_from_a_checkpoint_of_the_mission_itself(stage: "Stage") -> None:
    """Proves FR-24: those of a team, and those that do not exist, are CH105, and the mission stays as it is."""
    async with stage.swarm(stage.play({"go": [stage.plan(stage.task(1))]})) as swarm:
        result = await swarm.run("go")
        history = await swarm.history(result.mission_id)
        for place in (before(history, "judge", team=True).id, "1f0-nothing"):
            with pytest.raises(CheckpointNotFound):
                await swarm.replay(result.mission_id, place)
        assert await swarm.resume(result.mission_id) == result


# --- forks -----------------------------------------------------------------------------------------------------------


async def forked_at(swarm: ChimeraSwarm, mission_id: str, done: int) -> str:
    """The first checkpoint of a team by which ``done`` tasks were approved."""
    found = ""
    async for saved in swarm.app.saver.alist({"configurable": {"thread_id": mission_id}}):
        if len(saved.checkpoint["channel_values"].get("finished") or {}) == done:
            found = saved.checkpoint["id"]
    return found


async def test_a_fork_starts_with_what_was_finished_by_then(stage: "Stage") -> None:
    """After one of three tasks: the fork works the other two. The first mission stays as it was. Proves FR-24."""
    play = stage.play({"go": [stage.plan(stage.task(1), stage.task(2, 1), stage.task(3, 2))]})
    async with stage.swarm(play) as swarm:
        first = await swarm.run("go")
        old = await swarm.describe(first.mission_id)
        place = await forked_at(swarm, first.mission_id, 1)
        fork = await swarm.fork(first.mission_id, place)
        whole = await swarm.fork(first.mission_id)
        assert await swarm.describe(first.mission_id) == old
        rows = await swarm.app.context.missions.tasks(fork.mission_id)
        (told, *_) = [
            event for event in (await swarm.describe(fork.mission_id))["trail"] if event["kind"] == "mission.forked"
        ]
    assert fork.mission_id != first.mission_id
    assert (fork.status, fork.answer) == (first.status, first.answer)
    assert play.worked()[3:] == ["task 2", "task 3"]
    assert [row["state"] for row in rows] == ["done"] * 3
    assert (told["data"]["source"], told["data"]["at"]) == (first.mission_id, place)
    # Everything was finished by the end, so nothing is worked again, and the answer is as sure as it was.
    assert (whole.answer, whole.confidence) == (first.answer, pytest.approx(first.confidence))


async def test_a_fork_for_another_mission_keeps_nothing_that_does_not_fit(stage: "Stage") -> None:
    """Proves FR-24 and FR-15."""
    play = stage.play({"go": [stage.plan(stage.task(1))]}, lambda turn: f"for {turn.request['constraints']}")
    async with stage.swarm(play) as swarm:
        first = await swarm.run("go")
        longer = await swarm.fork(first.mission_id, mission=Mission(goal="go", deadline_s=5_000))
        other = await swarm.fork(first.mission_id, mission=Mission(goal="go", constraints=["short"]))
    assert (first.answer, longer.answer, other.answer) == ("for []", "for []", "for ['short']")
    assert len(play.worked()) == 2  # a deadline is nothing that a result depends on


async def test_a_fork_of_a_running_mission_leaves_it_alone(stage: "Stage") -> None:
    """Proves FR-24: both end, with task 1 done once."""
    at_work, go_on = asyncio.Event(), asyncio.Event()

    async def work(turn: "Turn") -> str:
        if turn.task == "task 2" and not at_work.is_set():
            at_work.set()
            await go_on.wait()
        return turn.task

    play = stage.play({"go": [stage.plan(stage.task(1), stage.task(2, 1))]}, work)
    async with stage.swarm(play) as swarm:
        mission_id = swarm.app.context.new_id()
        running = asyncio.create_task(swarm.run("go", mission_id=mission_id))
        async with asyncio.timeout(20):
            await at_work.wait()
        fork = await swarm.fork(mission_id)
        go_on.set()
        first = await running
        with pytest.raises(CheckpointNotFound):
            await swarm.fork(mission_id, "1f0-nothing")
    assert (first.status, fork.status) == ("done", "done")
    assert play.worked() == ["task 1", "task 2", "task 2"]
