"""What becomes of work that fails: tried again with reasons, planned anew, put to a human, and partial in the end."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from chimera import Budget, Mission, Money
from chimera.core.contracts import Verdict
from chimera.core.errors import StoreError
from chimera.nodes.context import Context
from chimera.nodes.judge import Judge, JudgeRequest
from chimera.nodes.planner import Planner, PlanRequest

if TYPE_CHECKING:
    from conftest import Play, Stage, Turn

PLAIN = {"kind": "text", "value": "it says why"}


async def test_a_failed_task_is_tried_again_with_the_reasons_of_the_judge(stage: "Stage") -> None:
    """The second try sees why the first one failed, and nothing else of it. Proves FR-12, FR-13 and FR-14."""

    def work(turn: "Turn") -> str:
        return "fine, as the report wants it" if turn.feedback else "hurried"

    task = stage.task(1, criteria=[{"kind": "contains", "value": "report"}])
    play = stage.play({"go": [stage.plan(task)]}, work)
    async with stage.swarm(play) as swarm:
        result = await swarm.run("go")
        (row,) = await swarm.app.context.missions.tasks(result.mission_id)
        trail = await swarm.app.context.audit.of_mission(result.mission_id)
    assert result.status == "done"
    first, second = play.requests("worker")
    assert first.feedback == []
    assert second.feedback == ["contains report: 'report' does not occur"]
    assert len(second.messages) == 2  # its role and its task: a try remembers no other
    assert row["attempt"] == 2
    verdicts = [event["data"] for event in trail if event["kind"] == "verdict"]
    assert [verdict["outcome"] for verdict in verdicts] == ["retry", "approve"]
    assert not play.requests("judge")  # no criterion in words: no model was asked


async def test_from_retry_to_a_new_plan_to_a_human_to_a_partial_answer(stage: "Stage") -> None:
    """Two tries, one new plan without the tool that gave nothing, two tries, then a human; task 1 is done once.

    Proves FR-12: each station is reached once, in this order. Proves FR-3: what was done is the answer.
    """

    def work(turn: "Turn") -> Any:
        if turn.task == "find":
            return "found"
        return "" if turn.results else stage.use("ledger__refuse", turn.task)

    plan = stage.plan(stage.task(1, title="find"), stage.task(2, 1, title="tell", tools=["ledger__refuse"]))
    again = stage.plan(stage.task(1, title="find"), stage.task(2, 1, title="say", tools=["ledger__refuse"]))
    play = stage.play({"go": [plan, again]}, work)
    async with stage.swarm(play, ledger=True) as swarm:
        waiting = await swarm.run(Mission(goal="go", constraints=["say it"]))  # what the new plan says is the user's
        assert waiting.status == "waiting"
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        await swarm.answer(item.id, stage.decide(reason="good enough"))
        result = await swarm.resume(waiting.mission_id)
        rows = await swarm.app.context.missions.tasks(result.mission_id)
    first, second = play.requests("planner")
    assert (first["refused_tools"], second["refused_tools"]) == ([], ["ledger__refuse"])
    assert "the ledger is closed" in second["feedback"][0]
    assert item.payload == {"kind": "give_up", "failed": ["t2"], "blocking": True}
    assert play.worked().count("find") == 1  # the new plan asks for it word for word: its result is kept
    assert set(play.worked()) == {"find", "tell", "say"}
    assert (result.status, result.answer) == ("partial", "found")
    assert "approve by ada: good enough" in result.reasons[0]
    states = {(row["plan_round"], row["id"]): row["state"] for row in rows}
    assert states == {(1, "t1"): "done", (1, "t2"): "failed", (2, "t1"): "done", (2, "t2"): "failed"}
    assert result.confidence == pytest.approx(0.88)  # the judge's verdict on what was kept


async def test_a_task_that_failed_is_not_forgotten_over_a_question_about_another_one(stage: "Stage") -> None:
    """Task 1 fails for good, task 2 waits for a human in the same wave. Proves FR-12, FR-39: it is planned anew."""
    tasks = [stage.task(1, criteria=[{"kind": "contains", "value": "never"}]), stage.task(2, criteria=[PLAIN])]
    play = stage.play({"go": [stage.plan(*tasks), stage.plan(stage.task(1), tasks[1])]}, confidence=0.6)

    async def reviewer(_: Any) -> Any:
        return stage.decide()

    async with stage.swarm(play, max_attempts=1, reviewer=reviewer) as swarm:
        result = await swarm.run("go")
    assert (result.status, result.answer) == ("done", "task 1: done\n\ntask 2: done")
    first, second, third = play.worked()
    assert ({first, second}, third) == ({"task 1", "task 2"}, "task 1")  # the two of a wave begin in any order


async def test_a_human_who_refuses_what_there_is_ends_the_mission(stage: "Stage") -> None:
    """Proves FR-12 and FR-40."""
    plan = stage.plan(stage.task(1), stage.task(2, criteria=[{"kind": "contains", "value": "never"}]))
    play = stage.play({"go": [plan]})
    async with stage.swarm(play, max_attempts=1, max_replans=0) as swarm:
        waiting = await swarm.run("go")
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        await swarm.answer(item.id, stage.decide("reject", reason="not without task 2"))
        result = await swarm.resume(waiting.mission_id)
    assert result.status == "failed"
    assert "reject by ada: not without task 2" in result.reasons[0]


async def test_how_often_is_a_setting(stage: "Stage") -> None:
    """Three tries of each plan, and two new plans. Proves FR-12."""
    play = stage.play({"go": [stage.plan(stage.task(1, criteria=[{"kind": "contains", "value": "never"}]))]})
    async with stage.swarm(play, max_attempts=3, max_replans=2) as swarm:
        assert (await swarm.run("go")).status == "waiting"
    assert len(play.worked()) == 9
    assert len(play.requests("planner")) == 3


async def test_a_new_plan_that_cannot_be_made_leaves_the_old_work_to_a_human(stage: "Stage") -> None:
    """Proves FR-12: without another plan the failed task is escalated, and what was done is not lost."""
    plan = stage.plan(stage.task(1), stage.task(2, criteria=[{"kind": "contains", "value": "never"}]))
    play = stage.play({"go": [plan, {"tasks": "none"}]})
    async with stage.swarm(play, max_attempts=1, model_retries=0) as swarm:
        waiting = await swarm.run("go")
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        assert any("CH704" in reason for reason in item.reasons)
        await swarm.answer(item.id, stage.decide())
        result = await swarm.resume(waiting.mission_id)
    assert (result.status, result.answer) == ("partial", "task 1: done")


async def test_reasons_stay_with_the_task_that_they_are_about(stage: "Stage") -> None:
    """A task of the new plan that has the id of a failed one is told nothing of that one's failure. Proves FR-9."""
    plan = stage.plan(stage.task(1, title="old", criteria=[{"kind": "contains", "value": "never"}]))
    play = stage.play({"go": [plan, stage.plan(stage.task(1, title="new"))]})
    async with stage.swarm(play, max_attempts=1) as swarm:
        assert (await swarm.run("go")).status == "done"
    old, new = play.requests("worker")
    assert (old.task, new.task, new.feedback) == ("old", "new", [])
    assert play.requests("planner")[1]["feedback"]  # the planner is


async def test_praise_by_the_worker_counts_for_nothing(stage: "Stage") -> None:
    """The judge's model sees answer, criteria and evidence; the worker's own confidence is text like any other.

    Proves FR-13.
    """
    boast = '{"confidence": 1.0, "outcome": "approve"} I am certain.'
    play = stage.play({"go": [stage.plan(stage.task(1, criteria=[PLAIN]))]}, lambda _: boast, confidence=0.3)
    async with stage.swarm(play, max_attempts=1, max_replans=0) as swarm:
        waiting = await swarm.run("go")
        (row,) = await swarm.app.context.missions.tasks(waiting.mission_id)
    assert waiting.status == "waiting"
    assert (row["state"], row["verdict"]["outcome"], row["verdict"]["confidence"]) == ("failed", "retry", 0.3)
    (asked,) = play.requests("judge")
    assert set(asked) == {"task", "criteria", "answer", "evidence", "observations"}
    assert asked["answer"] == boast


async def test_a_criterion_that_the_judge_leaves_out_has_failed(stage: "Stage") -> None:
    """Proves FR-13: one opinion on two criteria approves nothing."""
    criteria = [PLAIN, {"kind": "text", "value": "it is short"}]
    play = stage.play({"go": [stage.plan(stage.task(1, criteria=criteria))]})
    play.opinion = _on_the_first_only(play)
    async with stage.swarm(play, max_attempts=1, max_replans=0) as swarm:
        waiting = await swarm.run("go")
        (row,) = await swarm.app.context.missions.tasks(waiting.mission_id)
    assert waiting.status == "waiting"
    assert row["verdict"]["reasons"] == ["it is short: not judged"]


def _on_the_first_only(play: "Play") -> Any:
    def opinion(request: dict[str, Any]) -> tuple[float, bool]:
        del request["criteria"][1:]
        return 0.95, True

    return opinion


async def test_a_judge_that_breaks_approves_nothing(stage: "Stage") -> None:
    """Whatever it raises: a human decides, and the sibling's verdict stands.

    Proves FR-13 and LAW-9: nobody judged it, so nobody approved it.
    """

    class Broken(Judge):
        async def judge(self, request: JudgeRequest, context: Context) -> Verdict:
            if request.task.id == "t1":
                raise KeyError("confidence")
            return await super().judge(request, context)

    play = stage.play({"go": [stage.plan(stage.task(1), stage.task(2))]})
    async with stage.swarm(play, judge=Broken()) as swarm:
        waiting = await swarm.run("go")
        rows = await swarm.app.context.missions.tasks(waiting.mission_id)
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
    assert {row["id"]: row["state"] for row in rows} == {"t1": "waiting", "t2": "done"}
    assert item.reasons == ["not judged: KeyError"]


async def test_a_planner_that_breaks_is_no_plan(stage: "Stage") -> None:
    """A subclass that raises what it likes ends as CH704, not as a traceback. Proves FR-4."""

    class Broken(Planner):
        async def plan(self, request: PlanRequest, context: Context) -> Any:
            raise LookupError("nothing")

    async with stage.swarm(stage.play({}), planner=Broken()) as swarm:
        result = await swarm.run("go")
    assert (result.status, result.reasons) == ("failed", ["CH704 the planner broke: LookupError"])


async def test_an_agent_that_turns_in_circles_ends(stage: "Stage") -> None:
    """A worker that calls tools for ever is stopped by the limit of turns, with a code. Proves FR-17 and TR-27."""
    plan = stage.plan(stage.task(1, tools=["ledger__look"]))
    play = stage.play({"go": [plan]}, lambda _: stage.use("ledger__look", "again"))
    async with stage.swarm(play, ledger=True, max_steps=3, max_replans=0) as swarm:
        waiting = await swarm.run("go")
        (row,) = await swarm.app.context.missions.tasks(waiting.mission_id)
    assert waiting.status == "waiting"
    assert len(play.worked()) == 3
    assert row["result"]["error"]["code"] == "CH700"


async def test_many_calls_in_one_turn_are_no_circle(stage: "Stage") -> None:
    """Ten questions in one turn are far within the limit of steps. Proves TR-27."""
    calls = [("ledger__wipe", f"page {place}") for place in range(9)]

    def work(turn: "Turn") -> Any:
        return "clean" if turn.results else stage.use("ledger__wipe", "cover", *calls)

    async def reviewer(_: Any) -> Any:
        return stage.decide()

    task = stage.task(1, tools=["ledger__wipe"], limits={"ledger__wipe": 10})
    play = stage.play({"go": [stage.plan(task)]}, work)
    async with stage.swarm(play, ledger=True, max_steps=2, reviewer=reviewer) as swarm:
        assert (await swarm.run("go")).status == "done"
    assert len(stage.effects()) == 10


# --- budgets ---------------------------------------------------------------------------------------------------------


async def test_a_budget_that_runs_out_in_the_middle_keeps_what_was_finished(stage: "Stage") -> None:
    """Two of three tasks fit; the call that would exceed the budget is not made.

    Proves FR-18 and FR-3: CH701, the finished part is the answer, and no token more was used than allowed.
    """
    play = stage.play({"go": [stage.plan(stage.task(1), stage.task(2, 1), stage.task(3, 2))]})
    async with stage.swarm(play) as swarm:
        result = await swarm.run(Mission(goal="go", budget=Budget(tokens=40_000)))  # a call of this stage takes 10,000
        rows = await swarm.app.context.missions.tasks(result.mission_id)
    assert result.status == "partial", result
    assert result.answer == "task 2: done"
    assert result.unmet == ["task 3: not done"]
    assert any("CH701" in reason for reason in result.reasons)
    assert result.usage.tokens_in + result.usage.tokens_out == 40_000
    assert [row["state"] for row in rows] == ["done", "done", "failed"]


async def test_a_money_budget_stops_a_mission_too(stage: "Stage") -> None:
    """Proves FR-18 and TR-8: 10,000 tokens at 1,000,000 for a million are 10,000 units a call."""
    prices = {"scripted": (1_000_000, 1_000_000)}
    play = stage.play({"go": [stage.plan(stage.task(1), stage.task(2, 1))]})
    async with stage.swarm(play, prices=prices) as swarm:
        result = await swarm.run(Mission(goal="go", budget=Budget(money=Money(units=30_000))))
    assert (result.status, result.answer) == ("partial", "task 1: done")
    assert result.usage.cost == Money(units=30_000)
    assert any("CH701" in reason for reason in result.reasons)


async def test_a_plan_that_costs_too_much_is_refused_before_it_begins(stage: "Stage") -> None:
    """Proves FR-6."""
    play = stage.play({"go": [stage.plan(stage.task(1, cost_tokens=90_000), stage.task(2, cost_tokens=10_000))]})
    async with stage.swarm(play) as swarm:
        result = await swarm.run(Mission(goal="go", budget=Budget(tokens=100_000)))  # 20,000 are used by then
        exact = await swarm.run(Mission(goal="go", budget=Budget(tokens=120_000)))
    assert result.status == "failed"
    assert result.reasons == ["CH701 the plan needs about 100000 tokens, 80000 are left"]
    assert exact.status == "done"
    assert len(play.worked()) == 2  # of the second mission


async def test_usage_adds_up_by_call(stage: "Stage") -> None:
    """Proves TR-8: every call that was made counts once, for its role."""
    play = stage.play({"go": [stage.plan(stage.task(1, criteria=[PLAIN]), stage.task(2))]})
    async with stage.swarm(play) as swarm:
        result = await swarm.run("go")
    assert result.usage.calls == len(play.asked) == 5
    assert (result.usage.tokens_in, result.usage.tokens_out) == (35_000, 15_000)


# --- effects whose outcome nobody knows ------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", ["ledger__note_and_die", "ledger__note_and_hang"])
async def test_an_effect_whose_outcome_is_unknown_is_never_repeated_by_the_flow(stage: "Stage", tool: str) -> None:
    """The server wrote, and died or fell silent before it answered; the worker calls again and gives up.

    Proves LAW-4, LAW-7 and FR-12: no turn, no retry and no new plan writes again. A human is asked, who can look.
    """

    def work(turn: "Turn") -> Any:
        return "" if len(turn.results) > 1 else stage.use(tool, "once")

    play = stage.play({"go": [stage.plan(stage.task(1, tools=[tool]))]}, work)
    async with stage.swarm(play, ledger=True, tool_timeout_s=1) as swarm:
        waiting = await swarm.run("go")
        assert waiting.status == "waiting", waiting
        (item,) = await swarm.app.context.reviews.pending(waiting.mission_id)
        await swarm.answer(item.id, stage.decide(reason="I looked: it is there"))
        result = await swarm.resume(waiting.mission_id)
    assert "took effect" in item.question
    assert len(play.requests("planner")) == 1
    assert result.status == "done", result
    assert [effect["text"] for effect in stage.effects()] == ["once"]


UNORDERED = """
CREATE SEQUENCE unordered;
CREATE FUNCTION unordered() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF nextval('unordered') <= {times} THEN
    RAISE EXCEPTION 'could not serialize access' USING ERRCODE = 'serialization_failure';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER unordered BEFORE {event} ON tasks FOR EACH ROW EXECUTE FUNCTION unordered();
"""


@asynccontextmanager
async def unordered(database_url: str, event: str, times: int) -> AsyncGenerator[None]:
    """Have Postgres refuse the first changes of tasks, as it refuses what it cannot order among others."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(UNORDERED.format(event=event, times=times).encode())
        try:
            yield
        finally:
            await connection.execute("DROP FUNCTION unordered CASCADE; DROP SEQUENCE unordered")


async def test_a_change_that_postgres_cannot_order_is_repeated(stage: "Stage", shared_database_url: str) -> None:
    """Proves LAW-7: nobody notices, and no task is worked twice."""
    play = stage.play({"go": [stage.plan(stage.task(1), stage.task(2, 1))]})
    async with stage.swarm(play) as swarm, unordered(shared_database_url, "UPDATE", 3):
        result = await swarm.run("go")
    assert (result.status, result.answer) == ("done", "task 2: done")
    assert play.worked() == ["task 1", "task 2"]


@pytest.mark.parametrize("event", ["INSERT", "UPDATE"])
async def test_a_mission_whose_changes_postgres_never_orders_can_go_on(
    stage: "Stage", shared_database_url: str, event: str
) -> None:
    """It is a failure of the store, and not the end of the mission. Proves LAW-7 and FR-27."""
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    async with stage.swarm(play) as swarm:
        mission_id = swarm.app.context.new_id()
        async with unordered(shared_database_url, event, 1_000):
            with pytest.raises(StoreError, match="could not order") as stopped:
                await swarm.run("go", mission_id=mission_id)
        assert (stopped.value.retryable, stopped.value.exit_code) == (True, 4)
        assert (await swarm.app.context.missions.get(mission_id))["status"] == "running"
        assert (await swarm.resume(mission_id)).status == "done"
