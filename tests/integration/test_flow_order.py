"""Teams, task graphs and their order: what runs at the same time, what waits, and what a failure takes with it."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from chimera import Mission
from chimera.core.errors import ModelFailed

if TYPE_CHECKING:
    from conftest import Stage, Turn

PATIENCE_S = 20
"""The most that a test waits for what has to happen."""


async def test_a_graph_is_worked_in_its_order_and_side_by_side(stage: "Stage") -> None:
    """Each task starts after those that it needs, and tasks 1 and 2 are at work at the same time.

    Proves FR-4, FR-7 and FR-9: a worker is told its own task and the results that it needs, and no more.
    """
    both = asyncio.Barrier(2)

    async def work(turn: "Turn") -> str:
        if turn.task in ("task 1", "task 2"):
            async with asyncio.timeout(PATIENCE_S):
                await both.wait()  # would never be passed one after the other
        return f"{turn.task} of {[found['answer'] for found in turn.request['earlier']]}"

    plan = stage.plan(stage.task(1), stage.task(2), stage.task(3, 1, 2), stage.task(4, 3), stage.task(5))
    play = stage.play({"go": [plan]}, work)
    async with stage.swarm(play) as swarm:
        result = await swarm.run("go")
        rows = await swarm.app.context.missions.tasks(result.mission_id)
    assert result.status == "done", result
    assert sorted(play.worked()) == [f"task {number}" for number in range(1, 6)]
    assert play.worked().index("task 3") > max(play.worked().index("task 1"), play.worked().index("task 2"))
    assert play.worked()[-1] == "task 4"
    answers = {row["id"]: row["result"]["answer"] for row in rows}
    assert answers["t3"] == "task 3 of ['task 1 of []', 'task 2 of []']"
    assert answers["t4"] == f'task 4 of ["{answers["t3"]}"]'
    assert {row["state"] for row in rows} == {"done"}
    assert result.answer == f"{answers['t4']}\n\n{answers['t5']}"  # of the tasks that no other builds on
    told = {"task", "goal", "inputs", "persona", "constraints", "earlier", "feedback", "guidance"}
    assert all(set(turn.request) == told for turn in play.requests("worker"))


async def test_no_more_agents_at_once_than_the_settings_allow(stage: "Stage") -> None:
    """Eight tasks that could all start, three at the same time. Proves FR-7."""
    at_work, most = 0, 0
    side_by_side = asyncio.Event()

    async def work(turn: "Turn") -> str:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        if most > 1:
            side_by_side.set()
        async with asyncio.timeout(PATIENCE_S):  # the first waits for a second one, or the test has failed
            await side_by_side.wait()
        at_work -= 1
        return turn.task

    play = stage.play({"go": [stage.plan(*(stage.task(number) for number in range(1, 9)))]}, work)
    async with stage.swarm(play, max_parallel=3) as swarm:
        result = await swarm.run("go")
    assert result.status == "done"
    assert len(play.worked()) == 8
    assert 1 < most <= 3


async def test_a_failing_task_cancels_no_sibling_and_leaves_out_only_what_needs_it(stage: "Stage") -> None:
    """Task 1 breaks at once; task 2, which is slower, and task 4 after it are done. Task 3 is left out.

    Proves FR-8 and FR-3: the answer covers a part of the goal, so the mission is partial.
    """
    broken = asyncio.Event()

    async def work(turn: "Turn") -> str:
        if turn.task == "task 1":
            broken.set()
            raise ValueError("no")
        if turn.task == "task 2":
            async with asyncio.timeout(PATIENCE_S):
                await broken.wait()
            await asyncio.sleep(0.05)
        return f"{turn.task}: done"

    plan = stage.plan(stage.task(1), stage.task(2), stage.task(3, 1), stage.task(4, 2))
    play = stage.play({"go": [plan]}, work)
    async with stage.swarm(play, model_retries=0, max_attempts=1, max_replans=0) as swarm:
        waiting = await swarm.run("go")
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        assert item.payload["failed"] == ["t1"]
        await swarm.answer(item.id, stage.decide())
        result = await swarm.resume(waiting.mission_id)
    assert result.status == "partial", result
    assert sorted(play.worked()) == ["task 1", "task 2", "task 4"]
    assert result.answer == "task 4: done"
    assert result.unmet == ["task 1: not done", "task 3: not done"]
    assert result.usage.calls == len(play.asked) - 1  # the call that broke reported no use
    assert result.provider == "scripted"


async def test_a_result_is_as_sure_as_its_least_sure_task(stage: "Stage") -> None:
    """The first of three tasks was approved with the least confidence, long before the end. Proves FR-3."""
    judged = {"task 1": 0.81, "task 2": 0.95, "task 3": 0.86}
    tasks = [
        stage.task(number, *needs, criteria=[{"kind": "text", "value": f"task {number}"}])
        for number, needs in ((1, ()), (2, (1,)), (3, (2,)))
    ]

    def opinion(request: dict[str, Any]) -> tuple[float, bool]:
        return judged[request["criteria"][0]], True

    play = stage.play({"go": [stage.plan(*tasks)]}, opinion=opinion)
    async with stage.swarm(play) as swarm:
        result = await swarm.run("go")
    assert result.status == "done"
    assert result.confidence == pytest.approx(0.81)


async def test_teams_work_side_by_side_and_make_one_answer(stage: "Stage") -> None:
    """Three teams with tasks of the same ids; each plans its own part. Proves FR-2."""
    all_at_work = asyncio.Barrier(3)

    async def work(turn: "Turn") -> str:
        async with asyncio.timeout(PATIENCE_S):
            await all_at_work.wait()
        return turn.task

    plans = {part: [stage.plan(stage.task(1, title=f"do {part}"))] for part in ("earth", "wind", "fire")}
    play = stage.play(plans, work, split=["earth", "wind", "fire"])
    async with stage.swarm(play) as swarm:
        result = await swarm.run("all of it")
        rows = await swarm.app.context.missions.tasks(result.mission_id)
    assert result.status == "done"
    assert result.answer == "## team-1\n\ndo earth\n\n## team-2\n\ndo wind\n\n## team-3\n\ndo fire"
    assert [(row["team"], row["id"]) for row in rows] == [(f"team-{place}", "t1") for place in (1, 2, 3)]


async def test_teams_that_were_given_one_name_stay_apart(stage: "Stage") -> None:
    """Proves FR-2: names are keys, so the orchestrator's doublets are renamed."""
    plans = {part: [stage.plan(stage.task(1, title=f"do {part}"))] for part in ("a", "b")}
    play = stage.play(plans, split=["a", "b"], names=["twins", "twins"])
    async with stage.swarm(play) as swarm:
        result = await swarm.run("both")
        rows = await swarm.app.context.missions.tasks(result.mission_id)
    assert result.status == "done"
    assert sorted(row["title"] for row in rows) == ["do a", "do b"]
    assert len({row["team"] for row in rows}) == 2


async def test_a_team_that_fails_stops_no_other(stage: "Stage") -> None:
    """One team's plans stay impossible; what the other one finds is the answer, and the mission is partial.

    Proves FR-2 and FR-4: a plan whose tasks wait for each other is refused with CH704, and asked for again.
    """
    circle = {"tasks": [{"id": "t1", "title": "a", "instruction": "a", "depends_on": ["t1"]}]}
    play = stage.play({"good": [stage.plan(stage.task(1))], "bad": [circle]}, split=["good", "bad"])
    async with stage.swarm(play, model_retries=0) as swarm:
        result = await swarm.run("both")
    assert result.status == "partial", result
    assert "task 1: done" in result.answer
    assert [reason[:5] for reason in result.reasons] == ["CH704"]
    asked = [request for request in play.requests("planner") if request["goal"] == "bad"]
    assert [bool(request["feedback"]) for request in asked] == [False, True]


async def test_no_model_for_one_planner_stops_no_other_team(stage: "Stage") -> None:
    """The others finish; then the mission stops with CH402, and a resume asks that planner again.

    Proves FR-2 and FR-46: the finished team does nothing twice.
    """
    away = asyncio.Event()

    async def work(turn: "Turn") -> str:
        if turn.task == "slow":
            async with asyncio.timeout(PATIENCE_S):
                await away.wait()
        return f"{turn.task}: done"

    class Gone(ConnectionError):
        def __init__(self) -> None:
            away.set()

    late = stage.plan(stage.task(1, title="late"))
    plans = {"here": [stage.plan(stage.task(1, title="slow"))], "gone": [Gone, late]}
    play = stage.play(plans, work, split=["here", "gone"])
    async with stage.swarm(play, model_retries=0) as swarm:
        mission_id = swarm.app.context.new_id()
        with pytest.raises(ModelFailed, match="team-2"):
            await swarm.run("both", mission_id=mission_id)
        row = await swarm.app.context.missions.get(mission_id)
        (done,) = await swarm.app.context.missions.tasks(mission_id)
        assert (row["status"], done["team"], done["state"]) == ("running", "team-1", "done")
        result = await swarm.resume(mission_id)
    assert result.status == "done", result
    assert play.worked() == ["slow", "late"]
    assert len(play.requests("orchestrator")) == 1


async def test_a_tool_that_nobody_offers_is_no_plan(stage: "Stage") -> None:
    """It is asked for again with the reason, then refused with CH704; nothing was worked. Proves FR-5 and FR-4."""
    plan = stage.plan(stage.task(1, tools=["ledger__fly"]))
    play = stage.play({"go": [plan]})
    async with stage.swarm(play, ledger=True) as swarm:
        result = await swarm.run("go")
    assert result.status == "failed"
    assert result.reasons == ["CH704 the plan names tools that do not exist: ledger__fly"]
    assert not play.worked()
    assert play.requests("planner")[1]["feedback"] == ["the plan names tools that do not exist: ledger__fly"]


async def test_what_no_tool_can_do_is_named_and_makes_the_answer_partial(stage: "Stage") -> None:
    """Proves FR-3 and FR-5."""
    play = stage.play({"go": [stage.plan(stage.task(1), unmet=["print it: no tool can do that"])]})
    async with stage.swarm(play) as swarm:
        result = await swarm.run(Mission(goal="go"))
    assert result.status == "partial"
    assert result.unmet == ["print it: no tool can do that"]
