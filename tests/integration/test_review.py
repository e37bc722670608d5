"""Questions to humans about plans and results: who is asked, what an answer does, and what silence does."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from chimera import ChimeraSwarm, MissionResult, ReviewDecision, ReviewItem
from chimera.core.errors import ConflictError, GuardRejected, InputError
from chimera.review.reviewers import SCRIPTED, scripted_reviewer

if TYPE_CHECKING:
    from conftest import Stage

JUDGED = [{"kind": "text", "value": "good"}]


async def pending(swarm: ChimeraSwarm, mission: MissionResult) -> list[ReviewItem]:
    """The open questions of a mission."""
    return await swarm.app.context.reviews.pending(mission.mission_id)


# --- who is asked ----------------------------------------------------------------------------------------------------


async def test_the_confidence_of_the_verdict_decides_who_looks(stage: "Stage", monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody, a human afterwards, a human first, or back to work; at the borders of the bands. Proves FR-43."""
    monkeypatch.setattr("chimera.nodes.judge.GROUNDED", 1.0)  # the rules alone are never as sure as the first band
    bands = {1.0: "nobody", 0.9: "nobody", 0.899: "later", 0.7: "later", 0.699: "first", 0.5: "first", 0.499: "back"}
    sure = iter(bands)

    def opinion(_: dict[str, Any]) -> tuple[float, bool]:
        return next(sure), True

    play = stage.play({"go": [stage.plan(stage.task(1, criteria=JUDGED))]}, opinion=opinion)
    seen: dict[float, str] = {}
    async with stage.swarm(play, auto_approve=0.9, max_attempts=1, max_replans=0) as swarm:
        for confidence in bands:
            result = await swarm.run("go")
            (row,) = await swarm.app.context.missions.tasks(result.mission_id)
            asked = [(item.payload["kind"], item.payload["blocking"]) for item in await pending(swarm, result)]
            seen[confidence] = WHO_LOOKS[result.status, row["state"], tuple(asked)]
    assert seen == bands


WHO_LOOKS: dict[tuple[str, str, tuple[tuple[str, bool], ...]], str] = {
    ("done", "done", ()): "nobody",
    ("done", "done", (("result", False),)): "later",
    ("waiting", "waiting", (("result", True),)): "first",
    ("waiting", "failed", (("give_up", True),)): "back",  # as often as the settings say; then it is about giving up
}


async def test_the_bands_are_settings(stage: "Stage") -> None:
    """Proves FR-43."""
    play = stage.play({"go": [stage.plan(stage.task(1, criteria=JUDGED))]}, confidence=0.3)
    async with stage.swarm(play, auto_approve=0.3, auto_review=0.2, require_approval=0.1) as swarm:
        result = await swarm.run("go")
        assert (result.status, await pending(swarm, result)) == ("done", [])


async def test_a_failed_check_is_sent_back_however_sure_the_judge_is(stage: "Stage") -> None:
    """Proves FR-13 and FR-43: the bands are for results that passed their checks."""
    play = stage.play({"go": [stage.plan(stage.task(1, criteria=JUDGED))]}, confidence=0.6, passed=False)
    async with stage.swarm(play, max_attempts=1, max_replans=0) as swarm:
        result = await swarm.run("go")
        (row,) = await swarm.app.context.missions.tasks(result.mission_id)
    assert (row["state"], row["verdict"]["reasons"]) == ("failed", ["good: poor"])


async def test_a_plan_waits_for_a_human_when_it_is_unsure_or_when_it_is_asked_for(stage: "Stage") -> None:
    """Nothing of it is done before. Proves FR-81."""
    sure = {"0.9": 0.9, "0.5": 0.5, "0.49": 0.49}
    plans = {goal: [stage.plan(stage.task(1), confidence=value, rationale="a guess")] for goal, value in sure.items()}
    play = stage.play(plans)
    async with stage.swarm(play) as swarm:
        for goal, asked_for in (("0.9", False), ("0.5", False), ("0.49", False), ("0.9", True)):
            done_before = len(play.worked())
            result = await swarm.run(goal, approve_plan=asked_for)
            items = await pending(swarm, result)
            if goal != "0.49" and not asked_for:
                assert (result.status, items) == ("done", [])
                continue
            (item,) = items
            assert len(play.worked()) == done_before
            assert (item.payload["kind"], item.reasons, item.confidence) == ("plan", ["a guess"], sure[goal])
            await swarm.answer(item.id, stage.decide())
            assert (await swarm.resume(result.mission_id)).status == "done"


# --- what an answer does ---------------------------------------------------------------------------------------------


async def test_an_edited_plan_is_the_plan_that_is_worked(stage: "Stage") -> None:
    """Another task, a new one, one that is gone: the record shows what the human made of it, and asks once.

    Proves FR-40 and FR-81.
    """
    play = stage.play({"go": [stage.plan(stage.task(1), stage.task(2))]})
    edited = stage.plan(stage.task(1, title="edited"), stage.task(3, 1, title="added"))
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("go", approve_plan=True)
        (item,) = await pending(swarm, waiting)
        await swarm.answer(item.id, stage.decide("edit", payload={"kind": "plan", "plan": edited.plain()}))
        result = await swarm.resume(waiting.mission_id)
        rows = await swarm.app.context.missions.tasks(result.mission_id)
        (answered,) = await swarm.app.context.reviews.of_mission(result.mission_id)
    assert (result.status, result.answer) == ("done", "added: done")
    assert play.worked() == ["edited", "added"]
    assert [(row["id"], row["title"], row["state"]) for row in rows] == [
        ("t1", "edited", "done"),
        ("t3", "added", "done"),
    ]
    assert answered["decision"]["payload"]["plan"] == edited.plain()


async def test_a_rejected_plan_is_not_begun(stage: "Stage") -> None:
    """Proves FR-40."""
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("go", approve_plan=True)
        (item,) = await pending(swarm, waiting)
        await swarm.answer(item.id, stage.decide("reject", reason="not now"))
        result = await swarm.resume(waiting.mission_id)
    assert (result.status, play.worked()) == ("failed", [])
    assert result.reasons == ["CH700 the plan was rejected by ada: not now"]


@pytest.mark.parametrize(
    ("decision", "answer", "tries"),
    [
        ({"action": "approve"}, "first", 1),
        ({"action": "edit", "payload": {"answer": "corrected"}}, "corrected", 1),
        ({"action": "reject", "reason": "too short"}, "second", 2),
    ],
)
async def test_a_human_decides_about_a_result(
    stage: "Stage", decision: dict[str, Any], answer: str, tries: int
) -> None:
    """What was shown is let through, replaced, or sent back with the human's reason. Proves FR-40, FR-43 and FR-12."""
    judged = iter([0.6, 0.95])
    play = stage.play({"go": [stage.plan(stage.task(1, criteria=JUDGED), stage.task(2, 1))]})
    play.work = lambda turn: "final" if turn.task == "task 2" else "second" if turn.feedback else "first"
    play.opinion = lambda _: (next(judged), True)
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("go")
        assert waiting.status == "waiting"
        (item,) = await pending(swarm, waiting)
        assert item.payload["answer"] == "first"
        await swarm.answer(item.id, stage.decide(**decision))
        result = await swarm.resume(waiting.mission_id)
        (row, _) = await swarm.app.context.missions.tasks(result.mission_id)
    assert result.status == "done"
    assert (row["result"]["answer"], row["attempt"]) == (answer, tries)
    last = play.requests("worker")[-1]
    assert last.request["earlier"][0]["answer"] == answer  # what follows builds on what the human let through
    if tries == 2:
        assert play.requests("worker")[1].feedback == ["reject by ada: too short"]


async def test_all_of_a_result_is_shown(stage: "Stage") -> None:
    """An approval lets through what was shown, so nothing of an answer may be cut off. Proves FR-40."""
    long = "x" * 60_000 + " and the end"
    play = stage.play({"go": [stage.plan(stage.task(1, criteria=JUDGED))]}, lambda _: long, confidence=0.6)
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("go")
        (item,) = await pending(swarm, waiting)
        assert item.payload["answer"] == long


async def test_two_results_wait_and_each_gets_its_own_answer(stage: "Stage") -> None:
    """Both are on the queue at once; they are answered in the other order. Proves FR-39 and FR-40."""
    play = stage.play({"go": [stage.plan(stage.task(1, criteria=JUDGED), stage.task(2, criteria=JUDGED))]})
    play.opinion = lambda _: (0.6, True)
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("go")
        items = {item.payload["task"]: item for item in await pending(swarm, waiting)}
        assert set(items) == {"t1", "t2"}
        await swarm.answer(items["t2"].id, stage.decide("edit", payload={"answer": "two"}))
        still = await swarm.resume(waiting.mission_id)
        assert still.status == "waiting"
        await swarm.answer(items["t1"].id, stage.decide("edit", payload={"answer": "one"}))
        result = await swarm.resume(waiting.mission_id)
    assert (result.status, result.answer) == ("done", "one\n\ntwo")


# --- answers that are none, late, double -----------------------------------------------------------------------------


NO_ANSWERS: list[Any] = [
    "yes",
    True,
    7,
    [],
    {},
    {"action": "approve"},
    {"action": "approve", "reviewer": ""},
    {"action": "maybe", "reviewer": "ada"},
    {"action": "approve", "reviewer": "ada", "also": 1},
    {"action": "edit", "reviewer": "ada"},
    {"action": "edit", "reviewer": "ada", "payload": {"plan": {"tasks": "none"}}},
    {"action": "approve", "reviewer": "ada", "item_id": "another"},
]


async def test_what_is_no_decision_is_no_answer(stage: "Stage") -> None:
    """The question stays, nothing is worked, and a real answer still counts. Proves TR-16, TR-17 and LAW-9."""
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("go", approve_plan=True)
        (item,) = await pending(swarm, waiting)
        for answer in NO_ANSWERS:
            ((name, value),) = (await asked(swarm, waiting.mission_id)).items()
            await resume_with(swarm, waiting.mission_id, {name: answer})
            assert value == item.plain()
            assert play.worked() == []
        assert await pending(swarm, waiting) == [item]
        ((name, value),) = (await asked(swarm, waiting.mission_id)).items()
        await resume_with(swarm, waiting.mission_id, {name: stage.decide().plain()})
        row = await swarm.app.context.missions.get(waiting.mission_id)
    assert (value, row["status"], play.worked()) == (item.plain(), "done", ["task 1"])


async def asked(swarm: ChimeraSwarm, mission_id: str) -> dict[str, Any]:
    """The open interrupts of a mission: their values by their ids."""
    snapshot = await swarm.app.mission.aget_state(_place(mission_id))
    return {found.id: found.value for found in snapshot.interrupts}


async def resume_with(swarm: ChimeraSwarm, mission_id: str, answers: dict[str, Any]) -> None:
    """Answer interrupts as any client of LangGraph does."""
    await swarm.app.mission.ainvoke(Command(resume=answers), _place(mission_id), context=swarm.app.context)


def _place(mission_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": mission_id}, "recursion_limit": 200}


async def test_what_leaves_the_graph_is_a_review_item(stage: "Stage") -> None:
    """Proves TR-16 and TR-25: the value of the interrupt is the contract, as plain JSON."""
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("go", approve_plan=True)
        ((_, value),) = (await asked(swarm, waiting.mission_id)).items()
        (item,) = await pending(swarm, waiting)
    assert ReviewItem.model_validate(value) == item
    assert json.loads(json.dumps(value)) == value


async def test_an_edit_that_replaces_nothing_is_refused(stage: "Stage") -> None:
    """It neither counts as an approval of the old answer nor takes the question off the queue. Proves FR-40, FR-42."""
    play = stage.play({"go": [stage.plan(stage.task(1, criteria=JUDGED))]}, confidence=0.6)
    payloads: list[Any] = [None, {}, {"answer": 5}, {"text": "corrected"}]
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("go")
        (item,) = await pending(swarm, waiting)
        for payload in payloads:
            with pytest.raises(InputError):
                await swarm.answer(item.id, ReviewDecision(action="edit", reviewer="ada", payload=payload))
        assert await pending(swarm, waiting) == [item]
        assert (await swarm.resume(waiting.mission_id)).status == "waiting"


async def test_the_first_answer_counts(stage: "Stage") -> None:
    """The same one again is harmless; another one is CH702, and changes neither the record nor the work.

    Proves FR-41.
    """
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("go", approve_plan=True)
        (item,) = await pending(swarm, waiting)
        await swarm.answer(item.id, stage.decide("reject", reason="no"))
        await swarm.answer(item.id, stage.decide("reject", reason="no"))
        for other in (stage.decide(), stage.decide("edit", payload={"plan": stage.plan().plain()})):
            with pytest.raises(ConflictError):
                await swarm.answer(item.id, other)
        result = await swarm.resume(waiting.mission_id)
        with pytest.raises(ConflictError):
            await swarm.answer(item.id, stage.decide())
        (answered,) = await swarm.app.context.reviews.of_mission(result.mission_id)
        trail = await swarm.app.context.audit.of_mission(result.mission_id)
    assert (result.status, play.worked()) == ("failed", [])
    assert (answered["decision"]["action"], answered["decision"]["reason"]) == ("reject", "no")
    assert [event["data"]["action"] for event in trail if event["kind"] == "review.answered"] == ["reject"]


async def test_an_answer_that_comes_second_to_a_running_mission_changes_nothing(stage: "Stage") -> None:
    """While the attending reviewer thinks about it, somebody else rejects; the reviewer's approval is too late.

    Proves FR-41: the mission goes on with the first answer, and does not fail for the second.
    """
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    async with stage.swarm(play) as swarm:

        async def reviewer(item: ReviewItem) -> ReviewDecision:
            await swarm.answer(item.id, stage.decide("reject", reviewer="bob", reason="no"))
            return stage.decide()

        result = await swarm.run("go", approve_plan=True, reviewer=reviewer)
    assert (result.status, play.worked()) == ("failed", [])
    assert result.reasons == ["CH700 the plan was rejected by bob: no"]


async def test_an_answer_of_somebody_who_may_not_give_it_is_none(
    stage: "Stage", shared_database_url: str, enrol: Callable[..., None]
) -> None:
    """Given to the graph itself, as any client can: the question stays, also when its author may answer later.

    Proves FR-186 and TR-17: what was refused is not taken up when the step runs again.
    """
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("go", approve_plan=True)
        for name in ("mallory", "agent:team-1/1/t1/1", "Ada"):
            ((key, _),) = (await asked(swarm, waiting.mission_id)).items()
            await resume_with(swarm, waiting.mission_id, {key: stage.decide(reviewer=name).plain()})
            with pytest.raises(GuardRejected):
                await swarm.answer(*(await answer_by(swarm, stage, waiting, name)))
            assert play.worked() == []
        enrol(shared_database_url, "mallory")
        ((key, value),) = (await asked(swarm, waiting.mission_id)).items()
        await resume_with(swarm, waiting.mission_id, {key: {"action": "maybe"}})
        ((key, value),) = (await asked(swarm, waiting.mission_id)).items()
        (item,) = await pending(swarm, waiting)
        assert (value, play.worked()) == (item.plain(), [])
        await resume_with(swarm, waiting.mission_id, {key: stage.decide("reject", reviewer="mallory").plain()})
        trail = await swarm.app.context.audit.of_mission(waiting.mission_id)
        row = await swarm.app.context.missions.get(waiting.mission_id)
    refused = [event["actor"] for event in trail if event["kind"] == "permission.refused"]
    assert refused[::2] == ["mallory", "agent:team-1/1/t1/1", "Ada"]
    answers = [(event["actor"], event["data"]["action"]) for event in trail if event["kind"] == "review.answered"]
    assert answers == [("mallory", "reject")]
    assert (row["status"], play.worked()) == ("failed", [])


async def answer_by(
    swarm: ChimeraSwarm, stage: "Stage", mission: MissionResult, name: str
) -> tuple[str, ReviewDecision]:
    """What somebody would answer to the open question."""
    (item,) = await pending(swarm, mission)
    return item.id, stage.decide(reviewer=name)


async def test_a_reviewer_that_nobody_enrolled_ends_the_run_and_not_the_mission(stage: "Stage") -> None:
    """One line that says what helps; the mission waits as before. Proves FR-186."""
    play = stage.play({"go": [stage.plan(stage.task(1))]})

    async def mallory(_: ReviewItem) -> ReviewDecision:
        return stage.decide(reviewer="mallory the plug-in")

    mission_id = "5b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c51"
    async with stage.swarm(play) as swarm:
        with pytest.raises(GuardRejected, match="is not enrolled") as refused:
            await swarm.run("go", approve_plan=True, reviewer=mallory, mission_id=mission_id)
        assert "chimera principal add" in refused.value.hint
        waiting = await swarm.resume(mission_id)
        assert (waiting.status, play.worked()) == ("waiting", [])
        assert (await swarm.resume(mission_id, reviewer=_approving(stage))).status == "done"


async def test_a_script_says_yes_to_plans_and_no_to_what_changes_something(stage: "Stage") -> None:
    """Proves FR-187: the scripted reviewer, and anybody who signs with its name."""
    plan = stage.plan(stage.task(1, tools=["ledger__wipe"]))
    play = stage.play({"go": [plan]}, stage.steps("ledger__wipe"))
    async with stage.swarm(play, ledger=True) as swarm:
        waiting = await swarm.run("go")
        (item,) = await pending(swarm, waiting)
        with pytest.raises(GuardRejected, match="may not do"):
            await swarm.answer(item.id, stage.decide(reviewer=SCRIPTED))
        result = await swarm.resume(waiting.mission_id, reviewer=scripted_reviewer)
        again = await swarm.run("go", approve_plan=True, reviewer=scripted_reviewer)
    assert (result.status, again.status, stage.effects()) == ("done", "done", [])


async def test_silence_is_no_answer(stage: "Stage") -> None:
    """However often it is resumed, by whom, and however late: it waits. Proves FR-42, FR-39 and LAW-9."""
    play = stage.play({"go": [stage.plan(stage.task(1))]})

    async def later(item: ReviewItem) -> None:
        return None

    async with stage.swarm(play, reviewer=later) as swarm:
        waiting = await swarm.run("go", approve_plan=True)
        (item,) = await pending(swarm, waiting)
    for _ in range(2):
        async with stage.swarm(play) as swarm:
            again = await swarm.resume(waiting.mission_id)
            row = await swarm.app.context.missions.get(waiting.mission_id)
            assert (again.status, row["status"]) == ("waiting", "waiting")
            assert await pending(swarm, waiting) == [item]
    async with stage.swarm(play) as swarm:
        await swarm.answer(item.id, stage.decide())
        assert (await swarm.resume(waiting.mission_id)).status == "done"
    assert play.worked() == ["task 1"]
    assert len(play.requests("planner")) == 1


async def test_a_deadline_decides_nothing(stage: "Stage") -> None:
    """A mission whose time runs out while its reviewer thinks ends with CH705; the plan is not begun.

    Proves LAW-9 and FR-42: with more time the same question is asked.
    """
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    seen: list[str] = []

    async def slow(item: ReviewItem) -> ReviewDecision | None:
        seen.append(item.id)
        stage.clock.by = timedelta(hours=1)
        await asyncio.Event().wait()
        return None

    async with stage.swarm(play) as swarm:
        late = await swarm.run("go", approve_plan=True, reviewer=slow)
        assert (late.status, play.worked()) == ("failed", [])
        assert "CH705" in late.reasons[0]
        (item,) = await pending(swarm, late)
        await swarm.answer(item.id, stage.decide())
        result = await swarm.resume(late.mission_id, deadline_s=7_200)
    assert seen == [item.id]
    assert (result.status, play.worked()) == ("done", ["task 1"])


async def test_a_question_stops_only_its_team(stage: "Stage") -> None:
    """One team waits for a human; the other one is done by then. Proves FR-39 and FR-2."""
    plans = {
        "a": [stage.plan(stage.task(1, title="sure"))],
        "b": [stage.plan(stage.task(1, title="unsure"), confidence=0.1)],
    }
    play = stage.play(plans, split=["a", "b"])
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("both")
        rows = await swarm.app.context.missions.tasks(waiting.mission_id)
        assert {row["title"]: row["state"] for row in rows} == {"sure": "done", "unsure": "planned"}
        (item,) = await pending(swarm, waiting)
        await swarm.answer(item.id, stage.decide())
        result = await swarm.resume(waiting.mission_id)
    assert result.status == "done"
    assert play.worked() == ["sure", "unsure"]


async def test_a_question_about_a_result_stops_only_what_needs_it(stage: "Stage") -> None:
    """Tasks 2 and 3 do not need task 1: they are done while it waits. Task 4 does, and waits. Proves FR-39."""
    plan = stage.plan(stage.task(1, criteria=JUDGED), stage.task(2), stage.task(3, 2), stage.task(4, 1))
    play = stage.play({"go": [plan]}, confidence=0.6)
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("go")
        assert waiting.status == "waiting"
        assert sorted(play.worked()) == ["task 1", "task 2", "task 3"]
        (item,) = await pending(swarm, waiting)
        await swarm.answer(item.id, stage.decide())
        result = await swarm.resume(waiting.mission_id)
    assert result.status == "done"
    assert play.worked()[3:] == ["task 4"]


async def test_several_questions_at_once_are_answered_by_their_ids(stage: "Stage") -> None:
    """Three teams ask; one answer is given, then none, then the other two in one go. Proves TR-16, TR-17 and FR-39."""
    parts = ("a", "b", "c")
    plans = {part: [stage.plan(stage.task(1, title=f"do {part}"), confidence=0.1)] for part in parts}
    play = stage.play(plans, split=list(parts))
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run("all")
        mission_id = waiting.mission_id
        ids = {
            value["payload"]["plan"]["tasks"][0]["title"]: key
            for key, value in (await asked(swarm, mission_id)).items()
        }
        await resume_with(swarm, mission_id, {ids["do b"]: stage.decide("reject", reason="not b").plain()})
        assert set(await asked(swarm, mission_id)) == {ids["do a"], ids["do c"]}
        await resume_with(swarm, mission_id, {})
        assert play.worked() == []
        both = {ids["do a"]: stage.decide().plain(), ids["do c"]: stage.decide().plain()}
        await resume_with(swarm, mission_id, both)
        result = await swarm.resume(mission_id)
    assert result.status == "partial", result
    assert sorted(play.worked()) == ["do a", "do c"]
    assert result.reasons == ["CH700 the plan was rejected by ada: not b"]


async def test_every_answer_is_on_the_record(stage: "Stage") -> None:
    """Also the one on a result that was used meanwhile, and that no work waits for. Proves LAW-8 and FR-43."""
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    async with stage.swarm(play, auto_approve=0.9) as swarm:
        result = await swarm.run("go", approve_plan=True, reviewer=_approving(stage))
        (item,) = await pending(swarm, result)
        assert (result.status, item.payload["blocking"]) == ("done", False)
        for _ in range(2):
            await swarm.answer(item.id, stage.decide("reject", reason="wrong"))
        trail = await swarm.app.context.audit.of_mission(result.mission_id)
        again = await swarm.resume(result.mission_id)
        await swarm.app.context.audit.verify()
    answers = [event["data"] for event in trail if event["kind"] == "review.answered"]
    assert [(event["action"], event["reviewer"]) for event in answers] == [("approve", "ada"), ("reject", "ada")]
    assert answers[1]["item"] == item.id
    assert again == result


def _approving(stage: "Stage") -> Any:
    async def reviewer(_: ReviewItem) -> ReviewDecision:
        return stage.decide()

    return reviewer
