"""What a plan gives leave for holds in a running mission: over turns, attempts, new plans, and the answers of humans.

Proves FR-124, FR-125 and LAW-7: how often a tool with an effect is called is the plan's, from the first call on.
"""

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage

if TYPE_CHECKING:
    from conftest import Play, Stage, Turn

    from chimera import ChimeraSwarm

NOTE, WIPE = "ledger__note", "ledger__wipe"
GOAL = "note one, two and three"
FINE = {"kind": "contains", "value": "fine"}


def taken(turn: "Turn") -> int:
    """How many turns the agent has taken."""
    return len([message for message in turn.messages if isinstance(message, AIMessage)])


async def decided(swarm: "ChimeraSwarm", mission_id: str, tool: str) -> list[tuple[str, str]]:
    """What the guards said of each call of a tool: the action, and the last rule."""
    trail = await swarm.app.context.audit.of_mission(mission_id)
    found = [event["data"] for event in trail if event["data"].get("edge") == "tool_call"]
    return [(one["action"], one["rules"][-1] if one["rules"] else "") for one in found if one["capability"] == tool]


def texts(stage: "Stage") -> list[str]:
    return [str(effect["text"]) for effect in stage.effects()]


def noting(stage: "Stage", said: dict[int, list[str]], **task: Any) -> "Play":
    """A play of one task that notes some texts at each attempt, all in one turn, and is not fine the first time."""

    def work(turn: "Turn") -> Any:
        attempt = 2 if turn.feedback else 1
        if turn.results:
            return "fine" if attempt == 2 else "poor"
        first, *more = said[attempt]
        return stage.use(NOTE, first, *((NOTE, text) for text in more))

    plan = stage.plan(stage.task(1, tools=[NOTE], **task))
    return stage.play({GOAL: [plan]}, work)


@pytest.mark.parametrize(("limits", "made"), [({}, ["one"]), ({NOTE: 2}, ["one", "two"])], ids=["once", "twice"])
async def test_calls_of_one_turn_count_before_anything_was_read(
    stage: "Stage", limits: dict[str, int], made: list[str]
) -> None:
    """The agent is told why, as data; the plan on the record says how often."""
    play = noting(stage, {1: ["one", "two", "three", "one"]}, limits=limits)
    async with stage.swarm(play, ledger=True) as swarm:
        result = await swarm.run(GOAL)
        trail = await swarm.app.context.audit.of_mission(result.mission_id)
        calls = await decided(swarm, result.mission_id, NOTE)
    assert result.status == "done"
    assert sorted(texts(stage)) == sorted(made)
    count = len(made)
    assert calls == [("allow", "")] * count + [("reject", "plan.count")] * (3 - count) + [("reject", "plan.repeated")]
    refused = [said["refused"] for said in play.requests("worker")[-1].results if "refused" in said]
    assert refused[0] == [f"the plan has {count} of these"]
    (plan,) = [event["data"] for event in trail if event["kind"] == "plan"]
    assert plan["tasks"][0]["limits"] == {NOTE: count}, "also what the planner left out"


async def test_a_new_attempt_gets_no_more_effects_and_the_same_call_is_the_same_effect(stage: "Stage") -> None:
    play = noting(stage, {1: ["one"], 2: ["two", "one"]}, criteria=[FINE])
    async with stage.swarm(play, ledger=True) as swarm:
        result = await swarm.run(GOAL)
        calls = await decided(swarm, result.mission_id, NOTE)
    assert result.status == "done"
    assert calls == [("allow", ""), ("reject", "plan.count"), ("allow", "")]
    assert texts(stage) == ["one"]
    told = [said.get("text") for said in play.requests("worker")[-1].results]
    assert told == [None, "note: written"], "the recorded result of the first attempt"


async def test_what_the_judge_said_of_an_attempt_is_no_word_of_the_users(stage: "Stage") -> None:
    """The second attempt has heard something, so a value from nowhere is a question to a human. Proves FR-85."""
    play = noting(stage, {1: ["one"], 2: ["elsewhere"]}, criteria=[FINE], limits={NOTE: 2})
    async with stage.swarm(play, ledger=True) as swarm:
        result = await swarm.run(GOAL)
        calls = await decided(swarm, result.mission_id, NOTE)
    assert result.status == "waiting"
    assert calls == [("allow", ""), ("escalate", "flow.undeclared")]


@pytest.mark.parametrize(
    ("then", "expected"),
    [("one", ("allow", "")), ("two", ("escalate", "plan.count"))],
    ids=["the same call", "another call"],
)
async def test_a_new_plan_does_not_do_again_what_the_old_one_did(
    stage: "Stage", then: str, expected: tuple[str, str]
) -> None:
    """In other words, by another task: the same call is the effect that there was; another one is a question."""

    def work(turn: "Turn") -> Any:
        if turn.results:
            return "fine" if turn.task == "task 9" else "poor"
        return stage.use(NOTE, then if turn.task == "task 9" else "one")

    first, second = (stage.plan(stage.task(number, tools=[NOTE], criteria=[FINE])) for number in (1, 9))
    play = stage.play({GOAL: [first, second]}, work)
    async with stage.swarm(play, ledger=True, max_attempts=1) as swarm:
        result = await swarm.run(GOAL)
        calls = await decided(swarm, result.mission_id, NOTE)
        assert calls == [("allow", ""), expected]
        assert texts(stage) == ["one"]
        if expected[0] == "escalate":
            (item,) = await swarm.app.context.reviews.pending(result.mission_id)
            assert item.reasons == ["the plan has 1 of these, and 1 went out in earlier tries and plans"]
            await swarm.answer(item.id, stage.decide())
            result = await swarm.resume(result.mission_id)
    assert result.status == "done"
    assert texts(stage) == (["one"] if then == "one" else ["one", "two"])


async def test_what_another_task_of_the_new_plan_has_done_is_its_own(stage: "Stage") -> None:
    """Task 1 was done and stays; task 2 failed, and the new plan's task for it has its whole number."""

    def work(turn: "Turn") -> Any:
        if turn.task == "task 2":
            return "poor"
        return "fine" if turn.results else stage.use(NOTE, "one" if turn.task == "task 1" else "two")

    done = stage.task(1, tools=[NOTE], criteria=[FINE])
    plans = [stage.plan(done, stage.task(number, tools=[NOTE], criteria=[FINE])) for number in (2, 3)]
    async with stage.swarm(stage.play({GOAL: plans}, work), ledger=True, max_attempts=1) as swarm:
        result = await swarm.run(GOAL)
        calls = await decided(swarm, result.mission_id, NOTE)
    assert (result.status, calls) == ("done", [("allow", "")] * 2)
    assert texts(stage) == ["one", "two"]


def wiping(stage: "Stage", *turns: list[str], **task: Any) -> "Play":
    """A play of one task that wipes what is named, some in each turn; each call is put to a human."""

    def work(turn: "Turn") -> Any:
        if taken(turn) == len(turns):
            return "done"
        first, *more = turns[taken(turn)]
        return stage.use(WIPE, first, *((WIPE, text) for text in more))

    return stage.play({GOAL: [stage.plan(stage.task(1, tools=[WIPE], **task))]}, work)


async def test_a_call_that_waits_for_a_human_counts_and_so_does_one_that_he_let_through(stage: "Stage") -> None:
    """Nobody is asked about more calls than the plan has. One that he rejected gives its place back. Proves FR-78."""
    answers = iter(["reject", "approve"])

    async def reviewer(_: Any) -> Any:
        return stage.decide(next(answers))

    play = wiping(stage, ["one", "two"], ["two"], ["three"])
    async with stage.swarm(play, ledger=True, reviewer=reviewer) as swarm:
        result = await swarm.run(GOAL)
        calls = await decided(swarm, result.mission_id, WIPE)
    assert result.status == "done"
    assert [action for action, _ in calls] == ["escalate", "reject", "escalate", "escalate", "reject"]
    assert [rule for action, rule in calls if action == "reject"] == ["plan.count"] * 2
    assert (texts(stage), list(answers)) == (["two"], [])


@pytest.mark.parametrize(
    ("edit", "made", "rule"),
    [("three", ["three", "two"], "plan.count"), ("two", ["one", "two"], "plan.repeated")],
    ids=["another call", "that of its neighbour"],
)
async def test_a_call_that_a_human_edited_counts_as_what_he_made_of_it(
    stage: "Stage", edit: str, made: list[str], rule: str
) -> None:
    """It takes the place of the call that he was asked about, and is not made if its neighbour is it. Proves FR-40."""
    answers = iter([stage.decide("edit", payload={"arguments": {"text": edit}}), *[stage.decide()] * 2])

    async def reviewer(_: Any) -> Any:
        return next(answers)

    play = wiping(stage, ["one", "two"], ["one"], limits={WIPE: 2})
    async with stage.swarm(play, ledger=True, reviewer=reviewer) as swarm:
        result = await swarm.run(GOAL)
        calls = await decided(swarm, result.mission_id, WIPE)
    assert result.status == "done"
    assert sorted(texts(stage)) == made
    assert [said for action, said in calls if action == "reject"] == [rule]
