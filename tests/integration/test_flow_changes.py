"""A mission that is changed while it runs: what is void, what stays, and what the answer is made from."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from chimera import Budget, ChimeraSwarm, Mission, MissionResult
from chimera.core.contracts import Decision
from chimera.core.errors import InputError
from chimera.guards.request import Edge, GuardRequest

if TYPE_CHECKING:
    from conftest import Stage, Turn

PATIENCE_S = 20


class Gate:
    """A place in the play where the work stops until the test has done something."""

    def __init__(self) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    async def stop(self) -> None:
        """Stop here, unless the gate is open."""
        self.reached.set()
        async with asyncio.timeout(PATIENCE_S):
            await self.open.wait()


async def amended(swarm: ChimeraSwarm, gate: Gate, mission: Mission) -> MissionResult:
    """The result of the mission "old", changed to ``mission`` when the gate is reached."""
    mission_id = swarm.app.context.new_id()
    running = asyncio.create_task(swarm.run("old", mission_id=mission_id))
    async with asyncio.timeout(PATIENCE_S):
        await gate.reached.wait()
    await swarm.amend(mission_id, mission)
    gate.open.set()
    return await running


async def test_a_change_while_an_agent_works_makes_its_result_void(stage: "Stage") -> None:
    """The agent ends its task; the result is void, and the team plans for what is asked now.

    Proves FR-15: the trail says so, the old result is not in the answer, and no try of the new plan was used up.
    """
    gate = Gate()

    async def work(turn: "Turn") -> str:
        if turn.request["goal"] == "old":
            await gate.stop()
        return f"{turn.task} for {turn.request['goal']}"

    play = stage.play({"old": [stage.plan(stage.task(1))], "new": [stage.plan(stage.task(1))]}, work)
    async with stage.swarm(play) as swarm:
        result = await amended(swarm, gate, Mission(goal="new", persona="plain"))
        rows = await swarm.app.context.missions.tasks(result.mission_id)
        trail = await swarm.app.context.audit.of_mission(result.mission_id)
    assert (result.status, result.answer) == ("done", "task 1 for new")
    assert [(row["plan_round"], row["state"], row["attempt"]) for row in rows] == [(1, "void", 1), (2, "done", 1)]
    kinds = [event["kind"] for event in trail]
    assert kinds.index("mission.amended") < kinds.index("void") < kinds.index("mission.finished")
    assert play.requests("worker")[1].request["persona"] == "plain"
    assert play.requests("worker")[1].feedback == []


async def test_a_finishing_sibling_makes_nothing_void(stage: "Stage") -> None:
    """Two teams commit beside each other, and tasks one after the other; each is done once. Proves FR-16."""
    first = asyncio.Event()

    async def work(turn: "Turn") -> str:
        if turn.task == "task 2":
            async with asyncio.timeout(PATIENCE_S):
                await first.wait()
        first.set()
        return turn.task

    plan = stage.plan(stage.task(1), stage.task(2), stage.task(3, 1), stage.task(4, 2))
    play = stage.play({"go": [plan], "side": [plan]}, work, split=["go", "side"])
    async with stage.swarm(play) as swarm:
        result = await swarm.run("all")
        rows = await swarm.app.context.missions.tasks(result.mission_id)
        trail = await swarm.app.context.audit.of_mission(result.mission_id)
    assert result.status == "done"
    assert {row["state"] for row in rows} == {"done"}
    assert len(play.worked()) == 8
    assert "void" not in [event["kind"] for event in trail]


async def test_what_was_done_for_the_same_mission_is_done_again_for_another(stage: "Stage") -> None:
    """Task 1 was approved before the change, and is worked again after it: it rests on what was asked. Proves FR-15."""
    gate = Gate()

    async def work(turn: "Turn") -> str:
        if turn.task == "task 2" and not turn.request["constraints"]:
            await gate.stop()
        return f"{turn.task} with {turn.request['constraints']}"

    play = stage.play({"old": [stage.plan(stage.task(1), stage.task(2, 1))]}, work)
    async with stage.swarm(play) as swarm:
        result = await amended(swarm, gate, Mission(goal="old", constraints=["short"]))
    assert result.answer == "task 2 with ['short']"
    assert play.worked() == ["task 1", "task 2", "task 1", "task 2"]


async def test_a_change_after_the_last_task_is_not_lost(stage: "Stage") -> None:
    """The answer is already at its guard. The change counts: the mission goes on and ends with the new one.

    Proves FR-15: who was told that the mission is changed does not get the old answer.
    """
    gate = Gate()
    play = stage.play({"old": [stage.plan(stage.task(1))], "new": [stage.plan(stage.task(1, title="other"))]})
    async with stage.swarm(play) as swarm:
        _hold_output(swarm, gate)
        result = await amended(swarm, gate, Mission(goal="new"))
        row = await swarm.app.context.missions.get(result.mission_id)
        rows = await swarm.app.context.missions.tasks(result.mission_id)
        with pytest.raises(InputError, match="has ended"):
            await swarm.amend(result.mission_id, Mission(goal="newer"))
    assert (result.status, result.answer) == ("done", "other: done")
    assert (row["status"], row["result"]["answer"]) == ("done", "other: done")
    assert [(row["plan_round"], row["title"], row["state"]) for row in rows] == [
        (1, "task 1", "done"),
        (2, "other", "done"),
    ]


def _hold_output(swarm: ChimeraSwarm, gate: Gate) -> None:
    gateway = swarm.app.context.gateway
    real = gateway.validate_request

    async def held(agent_id: str, request: GuardRequest | str) -> Decision:
        if isinstance(request, GuardRequest) and request.edge == Edge.OUTPUT:
            await gate.stop()
        return await real(agent_id, request)

    gateway.validate_request = held


async def test_a_changed_goal_of_several_teams_is_divided_anew(stage: "Stage") -> None:
    """One team was done, one at work. Both parts belonged to the old goal. Proves FR-15 and FR-2."""
    gate = Gate()

    async def work(turn: "Turn") -> str:
        if turn.task == "slow":
            await gate.stop()
        return f"{turn.task} for {turn.request['goal']}"

    plans = {
        "a": [stage.plan(stage.task(1, title="quick"))],
        "b": [stage.plan(stage.task(1, title="slow"))],
        "new": [stage.plan(stage.task(1, title="whole"))],
    }
    play = stage.play(plans, work, split=["a", "b"])
    async with stage.swarm(play) as swarm:
        changing = asyncio.create_task(amended(swarm, gate, Mission(goal="new")))
        async with asyncio.timeout(PATIENCE_S):
            await gate.reached.wait()
        play.split = []
        result = await changing
    assert (result.status, result.answer) == ("done", "whole for new")
    assert len(play.requests("orchestrator")) == 2


async def test_a_team_that_was_done_before_a_change_goes_on(stage: "Stage") -> None:
    """Its part is the same; the inputs are not. Proves FR-15."""
    gate = Gate()

    async def work(turn: "Turn") -> str:
        if turn.task == "slow" and not turn.request["inputs"]:
            await gate.stop()
        return f"{turn.task} from {turn.request['inputs'].get('feed')}"

    plans = {"a": [stage.plan(stage.task(1, title="quick"))], "b": [stage.plan(stage.task(1, title="slow"))]}
    play = stage.play(plans, work, split=["a", "b"])
    async with stage.swarm(play) as swarm:
        result = await amended(swarm, gate, Mission(goal="old", inputs={"feed": "posts"}))
    assert result.answer == "## team-1\n\nquick from posts\n\n## team-2\n\nslow from posts"
    assert sorted(play.worked()) == ["quick", "quick", "slow", "slow"]
    assert len(play.requests("orchestrator")) == 1


async def test_an_approval_of_a_result_that_is_void_by_then_is_no_result(stage: "Stage") -> None:
    """Somebody approves what was made for the old mission, after it was changed.

    Proves FR-15 and FR-40: the team plans anew, and the old answer is not worked at again.
    """
    criteria = [{"kind": "text", "value": "good"}]
    plan = stage.plan(stage.task(1, criteria=criteria))
    judged = iter([0.6, 0.95])
    play = stage.play({"old": [plan], "new": [plan]}, lambda turn: f"for {turn.request['goal']}")
    play.opinion = lambda _: (next(judged), True)
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("old")
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        await swarm.amend(waiting.mission_id, Mission(goal="new"))
        await swarm.answer(item.id, stage.decide())
        result = await swarm.resume(waiting.mission_id)
    assert (result.status, result.answer) == ("done", "for new")
    assert [turn.request["goal"] for turn in play.requests("worker")] == ["old", "new"]


async def test_a_bigger_budget_lets_a_mission_go_on(stage: "Stage") -> None:
    """The budget is part of what a mission asks. Proves FR-15 and FR-18: it is raised while the mission runs."""
    gate = Gate()

    async def work(turn: "Turn") -> str:
        if not gate.reached.is_set():
            await gate.stop()
        return turn.task

    play = stage.play({"old": [stage.plan(stage.task(1), stage.task(2, 1))]}, work)
    async with stage.swarm(play, max_tokens=1_000_000) as swarm:
        result = await amended(swarm, gate, Mission(goal="old", budget=Budget(tokens=500_000)))
    assert (result.status, result.answer) == ("done", "task 2")
