"""Every wait has a deadline: models, tools, agents and missions that hang end, and can go on with more time."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AnyMessage

from chimera import Mission
from chimera.core.errors import ModelTimeout
from chimera.core.state import AgentState
from chimera.nodes.context import Context
from chimera.nodes.worker import Worker
from chimera.tools.capability import Capability

if TYPE_CHECKING:
    from conftest import Ahead, Stage, Turn


async def for_ever(*_: Any) -> str:
    """Wait without end."""
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_model_that_hangs_in_a_task_is_a_failed_try(stage: "Stage") -> None:
    """Its sibling is done, and the second try, where the model answers, too. Proves FR-17, FR-8 and FR-46."""

    async def work(turn: "Turn") -> str:
        return await for_ever() if turn.task == "task 1" and not turn.feedback else turn.task

    play = stage.play({"go": [stage.plan(stage.task(1), stage.task(2))]}, work)
    async with stage.swarm(play, model_timeout_s=1, model_retries=0) as swarm:
        result = await swarm.run("go")
    assert result.status == "done", result
    assert [turn.feedback for turn in play.requests("worker") if turn.feedback] == [
        ["CH403 scripted did not answer within 1 s"]
    ]


@pytest.mark.parametrize("role", ["orchestrator", "planner"])
async def test_a_model_that_hangs_before_any_task_stops_the_mission(stage: "Stage", role: str) -> None:
    """It is CH403, and a resume asks again. Proves FR-17 and FR-46."""
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    play.hang_once = role
    async with stage.swarm(play, model_timeout_s=1, model_retries=0) as swarm:
        mission_id = swarm.app.context.new_id()
        with pytest.raises(ModelTimeout, match=r"did not answer within 1 s"):
            await swarm.run("go", mission_id=mission_id)
        assert (await swarm.app.context.missions.get(mission_id))["status"] == "running"
        result = await swarm.resume(mission_id)
    assert result.status == "done"
    assert len(play.requests("orchestrator")) == (2 if role == "orchestrator" else 1)


async def test_a_judge_that_hangs_approves_nothing(stage: "Stage") -> None:
    """Proves FR-17 and LAW-9: what nobody judged waits for a human."""
    play = stage.play({"go": [stage.plan(stage.task(1, criteria=[{"kind": "text", "value": "good"}]))]})
    play.hang_once = "judge"
    async with stage.swarm(play, model_timeout_s=1, model_retries=0) as swarm:
        waiting = await swarm.run("go")
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
    assert waiting.status == "waiting"
    assert item.reasons == ["not judged: CH403 scripted did not answer within 1 s"]


async def test_a_tool_that_hangs_is_told_to_the_agent(stage: "Stage") -> None:
    """The agent sees CH603 as data, and the next call of the same server works. Proves FR-17."""
    plan = stage.plan(stage.task(1, tools=["ledger__hang", "ledger__look"]))
    play = stage.play({"go": [plan]}, stage.steps("ledger__hang", "ledger__look"))
    async with stage.swarm(play, ledger=True, tool_timeout_s=1.5) as swarm:
        result = await swarm.run("go")
    assert result.status == "done", result
    hung, looked = play.requests("worker")[-1].results
    assert hung["error"]["code"] == "CH603"
    assert looked["text"] == "saw task 1"


class Hanging(Worker):
    """An agent of the user's own, that hangs in task 2 until an hour has gone."""

    def __init__(self, clock: "Ahead") -> None:
        self.clock = clock
        self.hangs = True

    async def turn(self, state: AgentState, tools: list[Capability], context: Context) -> list[AnyMessage]:
        """Hang, or work as ever."""
        if self.hangs and state["task"]["id"] == "t2":
            self.clock.by = timedelta(hours=1)
            await for_ever()
        return await super().turn(state, tools, context)


async def test_an_agent_that_hangs_ends_with_its_mission(stage: "Stage") -> None:
    """CH705 when the time of the mission is up; what was finished is the answer so far, and nothing stays behind.

    Proves FR-17 and LAW-7: a resume with more time does the rest, and only that.
    """
    worker = Hanging(stage.clock)
    play = stage.play({"go": [stage.plan(stage.task(1), stage.task(2, 1))]})
    async with stage.swarm(play, worker=worker) as swarm:
        before = asyncio.all_tasks()
        late = await swarm.run(Mission(goal="go"))
        assert asyncio.all_tasks() == before
        row = await swarm.app.context.missions.get(late.mission_id)
        assert (late.status, late.answer, row["status"]) == ("failed", "task 1: done", "failed")
        assert late.reasons[0].startswith("CH705")
        assert "resume" in late.reasons[0]
        worker.hangs = False
        result = await swarm.resume(late.mission_id, deadline_s=7_200)
    assert (result.status, result.answer) == ("done", "task 2: done")
    assert play.worked() == ["task 1", "task 2"]
    assert len(play.requests("planner")) == 1


async def test_a_mission_with_no_time_left_is_late_again_and_loses_nothing(stage: "Stage") -> None:
    """Proves FR-17: it can run out of time as often as it likes."""
    play = stage.play({"go": [stage.plan(stage.task(1), stage.task(2, 1))]})
    async with stage.swarm(play, worker=Hanging(stage.clock)) as swarm:
        late = await swarm.run("go")
        again = await swarm.resume(late.mission_id, deadline_s=10)
        assert (late.status, again.status, again.answer) == ("failed", "failed", "task 1: done")
        trail = await swarm.app.context.audit.of_mission(late.mission_id)
    assert [event["kind"] for event in trail].count("mission.finished") == 2
    assert play.worked() == ["task 1"]


async def test_a_graph_that_takes_too_many_steps_ends_with_a_code(
    stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is ours and not LangGraph's default. Proves TR-27."""
    play = stage.play({"go": [stage.plan(stage.task(1), stage.task(2, 1), stage.task(3, 2))]})
    async with stage.swarm(play) as swarm:
        monkeypatch.setattr("chimera.swarm.driving.RECURSION_LIMIT", 8)
        result = await swarm.run("go")
        assert (result.status, result.answer) == ("failed", "task 1: done")
        assert result.reasons[0].startswith("CH700 the mission took more than 8 steps")
        monkeypatch.undo()
        assert (await swarm.resume(result.mission_id)).status == "done"
    assert play.worked() == ["task 1", "task 2", "task 3"]
