"""The steps of the flow that need no service: what can start, what a question is, and what is an answer to it."""

import asyncio
from typing import Any

import pytest

from chimera.core.contracts import (
    Artifact,
    Check,
    Evidence,
    Plan,
    ReviewDecision,
    ReviewItem,
    ReviewPoint,
    Task,
    TaskResult,
    Verdict,
)
from chimera.core.errors import BudgetExceeded, ModelFailed
from chimera.core.tasks import together
from chimera.nodes.dispatch import asking_tasks, ready_tasks
from chimera.nodes.evidence import one_list
from chimera.nodes.finish import finish
from chimera.nodes.judge import came_back, verdict_of
from chimera.nodes.orchestrator import shared
from chimera.nodes.planner import counted, task_fingerprint
from chimera.nodes.questions import about_giving_up, about_plan, about_result
from chimera.nodes.regroup import newest
from chimera.nodes.report import report as report_step
from chimera.review.answers import why_unusable
from chimera.tools.capability import Capability

MISSION = "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11"


def task(number: int, *needs: int, **fields: Any) -> Task:
    names = [f"t{need}" for need in needs]
    return Task(id=f"t{number}", title=f"task {number}", instruction=f"do {number}", depends_on=names, **fields)


def team(*tasks: Task, **state: Any) -> Any:
    """A team at work on a plan."""
    base = {"mission_id": MISSION, "team": {"name": "one", "goal": "go"}, "plan_round": 1, "attempts": {"t1": 1}}
    return {**base, "plan": Plan(tasks=list(tasks)).plain(), **state}


def but(state: Any, **changed: Any) -> Any:
    """The same state, changed."""
    return {**state, **changed}


# --- what can start --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "asking", "ready"),
    [
        ({}, {}, ["t1", "t2"]),
        ({"t1": "done"}, {}, ["t2"]),
        ({"t1": "done", "t2": "done"}, {}, ["t3"]),
        ({"t1": "failed"}, {}, ["t2"]),
        ({"t1": "failed", "t2": "done"}, {}, []),
        ({"t1": "waiting", "t2": "done"}, {}, []),
        ({"t1": "planned", "t2": "done"}, {}, ["t1"]),
        ({}, {"t1": {"item": {}}}, ["t2"]),
        ({}, {"t1": None}, ["t1", "t2"]),
    ],
)
def test_a_task_is_ready_when_all_it_needs_is_done(
    states: dict[str, str], asking: dict[str, Any], ready: list[str]
) -> None:
    """Proves FR-7 and FR-8: what failed or waits for a human holds up what needs it, and nothing else."""
    state = team(task(1), task(2), task(3, 1, 2), states=states, asking=asking)
    assert ready_tasks(state) == ready


def test_a_task_that_asks_has_not_come_back() -> None:
    """Proves FR-39: it is neither judged nor committed, and its siblings are."""
    state = team(task(1), task(2), wave=["t1", "t2"], asking={"t1": {"item": {}}, "t2": None})
    assert came_back(state) == ["t2"]
    assert list(asking_tasks(state)) == ["t1"]


def test_a_fingerprint_covers_what_a_result_depends_on() -> None:
    """Proves FR-15: the task's own words, tools and arguments, what comes before it, and the mission."""
    base = Plan(tasks=[task(1), task(2, 1, tools=["a__b"])])
    known = task_fingerprint(base.tasks[1], base, "v1")
    same = Plan(tasks=[task(7), task(2, 7, tools=["a__b"])])
    same = same.model_copy(update={"tasks": [same.tasks[0].model_copy(update={"instruction": "do 1"}), same.tasks[1]]})
    assert task_fingerprint(same.tasks[1], same, "v1") == known  # other ids and titles, the same work
    others = [
        (base, "v2"),
        (Plan(tasks=[task(1), task(2, 1, tools=["a__c"])]), "v1"),
        (Plan(tasks=[task(1), task(2, 1, tools=["a__b"], arguments={"a__b": {"x": 1}})]), "v1"),
        (Plan(tasks=[task(1), task(2, 1, tools=["a__b"], limits={"a__b": 2})]), "v1"),
        (Plan(tasks=[task(1), task(2, tools=["a__b"])]), "v1"),
        (Plan(tasks=[task(1, tools=["a__b"]), task(2, 1, tools=["a__b"])]), "v1"),
    ]
    found = [task_fingerprint(plan.tasks[1], plan, version) for plan, version in others]
    assert len({known, *found}) == 7
    once = Plan(tasks=[task(1), task(2, 1, tools=["a__b"], limits={"a__b": 1})])
    assert task_fingerprint(once.tasks[1], once, "v1") == known, "to say it is to leave it out"


def test_a_plan_says_of_each_tool_with_an_effect_how_often_and_of_no_other() -> None:
    """Proves FR-124 and FR-128: what a human sees is what is held, also where the planner said nothing."""
    tools = [
        Capability(name=name, server="a", tool=name[3:], input_schema={}, read_only=name == "a__look")
        for name in ("a__look", "a__send", "a__save")
    ]
    said = {"a__send": 3, "a__look": 9, "a__wipe": 2}
    plan = counted(Plan(tasks=[task(1, tools=["a__look", "a__send", "a__save"], limits=said), task(2)]), tools)
    assert [one.limits for one in plan.tasks] == [{"a__send": 3, "a__save": 1}, {}]


# --- verdicts --------------------------------------------------------------------------------------------------------


def test_a_failed_check_is_a_reason_to_act_on() -> None:
    """Proves FR-14 and FR-13."""
    checks = [Check(criterion="cited", passed=True), Check(criterion="contains x", passed=False, why="it does not")]
    verdict = verdict_of(checks, 1.0, least=0.5, enough=0.7)
    assert (verdict.outcome, verdict.reasons, verdict.checks) == ("retry", ["contains x: it does not"], checks)


# --- questions -------------------------------------------------------------------------------------------------------


def result(answer: str = "found", **fields: Any) -> TaskResult:
    return TaskResult.model_validate(
        {"task_id": "t1", "status": "done", "context_version": "v", "answer": answer, **fields}
    )


def test_the_same_question_has_the_same_id_and_another_has_another() -> None:
    """Proves TR-28 and FR-40: an answer is for what was shown, in its place, and for nothing else."""
    verdict = Verdict(outcome="escalate", confidence=0.6)
    state = team(task(1))
    plan = Plan.model_validate(state["plan"])
    file = Artifact(name="a.md", size=1, sha256="0" * 64)
    ids = [
        about_result(state, result(), verdict, blocking=True).id,
        about_result(state, result("other"), verdict, blocking=True).id,
        about_result(state, result(artifacts=[file]), verdict, blocking=True).id,
        about_result(
            state, result(artifacts=[file.model_copy(update={"sha256": "1" * 64})]), verdict, blocking=True
        ).id,
        about_result(but(state, attempts={"t1": 2}), result(), verdict, blocking=True).id,
        about_result(but(state, plan_round=2), result(), verdict, blocking=True).id,
        about_result(but(state, team={"name": "two"}), result(), verdict, blocking=True).id,
        about_plan(state, plan, 1).id,
        about_plan(state, plan, 2).id,
        about_plan(state, Plan(tasks=[task(1, tools=["a__b"])]), 1).id,
        about_giving_up(state, ["t1"], []).id,
        about_giving_up(state, ["t1", "t2"], []).id,
    ]
    assert len(set(ids)) == len(ids)
    assert about_result(state, result(), verdict, blocking=True).id == ids[0]


def test_a_question_about_files_shows_which() -> None:
    """Proves FR-40: name and digest of what an approval lets through."""
    file = Artifact(name="a.md", size=1, sha256="0" * 64)
    verdict = Verdict(outcome="escalate", confidence=0.6)
    item = about_result(team(task(1)), result(artifacts=[file]), verdict, blocking=True)
    assert item.point == ReviewPoint.CONTENT
    assert item.payload["artifacts"] == [file.plain()]


@pytest.mark.parametrize(
    ("shown", "payload", "usable"),
    [
        ({"kind": "result"}, {"answer": "x"}, True),
        ({"kind": "result"}, {"answer": 5}, False),
        ({"kind": "result"}, {}, False),
        ({"kind": "plan"}, {"plan": Plan(tasks=[task(1)]).plain()}, True),
        ({"kind": "plan"}, Plan(tasks=[task(1)]).plain(), True),
        ({"kind": "plan"}, {"plan": {"tasks": [{"id": "t1"}]}}, False),
        ({"kind": "plan"}, {"plan": {**Plan(tasks=[task(1)]).plain(), "priority": 1}}, False),
        ({"kind": "give_up"}, {"failed": []}, False),
        ({"capability": "a__b", "arguments": {}}, {"capability": "a__b", "arguments": {"x": 1}}, True),
        ({"capability": "a__b", "arguments": {}}, {"capability": "a__c", "arguments": {"x": 1}}, False),
        ({"capability": "a__b", "arguments": {}, "schema": {"type": "object"}}, {"arguments": {"x": 1}}, False),
        ({"capability": "a__b", "arguments": {}}, {"x": 1}, False),
        ({"text": "of a question of somebody else"}, {"text": "changed"}, True),
        ({"text": "of a question of somebody else"}, None, False),
    ],
)
def test_which_edits_replace_what_was_shown(shown: dict[str, Any], payload: Any, usable: bool) -> None:
    """Proves FR-40; approving and rejecting is always possible."""
    item = ReviewItem(id="i", mission_id="m", point=ReviewPoint.QUALITY, question="?", payload=shown, confidence=0.5)
    edit = ReviewDecision(action="edit", reviewer="ada", payload=payload)
    assert (why_unusable(item, edit) is None) == usable
    for action in ("approve", "reject"):
        decision = ReviewDecision.model_validate({"action": action, "reviewer": "ada"})
        assert why_unusable(item, decision) is None


# --- reports ---------------------------------------------------------------------------------------------------------


def report(name: str, done: int = 1, **fields: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {key: [] for key in ("artifacts", "evidence", "unmet", "reasons")}
    base = {"team": name, "done": done, "answer": name if done else "", "refused": False, "confidence": 0.9}
    return {**empty, **base, "provider": "p", "plan_round": 1, "context_version": "v", **fields}


def mission(*reports: dict[str, Any], **state: Any) -> Any:
    return {"mission_id": MISSION, "mission": {"goal": "go"}, "reports": list(reports), **state}


@pytest.mark.parametrize(
    ("reports", "status"),
    [
        ([report("a")], "done"),
        ([report("a"), report("b")], "done"),
        ([report("a", unmet=["x"])], "partial"),
        ([report("a"), report("b", done=0, unmet=["x"])], "partial"),
        ([report("a"), report("b", done=0, refused=True)], "partial"),
        ([report("a", refused=True)], "failed"),
        ([report("a", refused=True), report("b", done=0, refused=True)], "failed"),
        ([report("a", done=0)], "failed"),
        ([], "failed"),
    ],
)
async def test_the_status_says_how_much_was_met(reports: list[dict[str, Any]], status: str) -> None:
    """Proves FR-3 and FR-2: what one team could not do or was refused does not undo what another one did."""
    assert (await finish(mission(*reports)))["result"]["status"] == status


def piece(name: str, text: str) -> Evidence:
    return Evidence(id=name, text=text, source="posts.csv")


def test_an_id_names_one_piece_of_evidence() -> None:
    """What two answers cite is listed once, and what only shares an id with it gets one of its own. Proves FR-11."""
    row, small, large = piece("posts:1", "rain"), piece("posts:trend-1", "3 posts"), piece("posts:trend-1", "9 posts")
    answers, evidence = one_list(
        [
            ("Rain [posts:1], 3 [posts:trend-1].", [row, small]),
            ("9 posts [posts:trend-1] of [posts:1], see [1](x).", [large, row]),
            ("Still 9 [posts:trend-1].", [large]),
        ]
    )
    assert answers == [
        "Rain [posts:1], 3 [posts:trend-1].",
        "9 posts [posts:trend-1~2] of [posts:1], see [1](x).",
        "Still 9 [posts:trend-1~2].",
    ]
    assert evidence == [row, small, piece("posts:trend-1~2", "9 posts")]


def test_a_long_id_stays_short_enough_to_be_cited() -> None:
    name = "x" * 120
    _, evidence = one_list([("", [piece(name, "one")]), ("", [piece(name, "two")])])
    assert [item.id for item in evidence] == [name, f"{'x' * 110}~2"]
    assert [Evidence.model_validate(item.plain()) for item in evidence] == evidence


async def test_several_teams_have_one_list_of_evidence() -> None:
    """Proves FR-11: the answer of a mission cites what the teams found, also when they were given the same ids."""
    pieces = [[piece("a:1", text).plain()] for text in ("one", "one", "two")]
    teams = [report(name, answer="It is so [a:1].", evidence=pieces[place]) for place, name in enumerate("xyz")]
    found = (await finish(mission(*teams)))["result"]
    assert [(item["id"], item["text"]) for item in found["evidence"]] == [("a:1", "one"), ("a:1~2", "two")]
    assert found["answer"].split("## z")[1].strip() == "It is so [a:1~2]."


async def test_a_task_cites_what_it_builds_on() -> None:
    """Proves FR-11: of two tasks that were given the same id, a third cites the one whose result it got."""
    results = {
        "t1": result("one", task_id="t1", evidence=[piece("a:1", "one")]),
        "t2": result("two", task_id="t2", evidence=[piece("a:1", "two")]),
        "t3": result("It is so [a:1].", task_id="t3"),
    }
    outcomes = {name: found.plain() for name, found in results.items()}
    done = team(task(1), task(2), task(3, 2), states=dict.fromkeys(results, "done"), outcomes=outcomes)
    (found,) = (await report_step(done))["reports"]
    assert [(item["id"], item["text"]) for item in found["evidence"]] == [("a:1", "one"), ("a:1~2", "two")]
    assert found["answer"] == "one\n\nIt is so [a:1~2]."


def test_only_the_last_report_of_each_present_team_counts() -> None:
    """Proves FR-15: a team that went on reports again, and the teams of an old division are gone."""
    reports = [report("a"), report("b"), report("a", answer="new"), report("gone")]
    teams = [{"name": "b", "goal": ""}, {"name": "a", "goal": ""}]
    assert [found["answer"] for found in newest(mission(*reports, teams=teams))] == ["b", "new"]
    assert [found["answer"] for found in newest(mission(*reports))] == ["new", "b", "gone"]


def test_plans_are_numbered_on() -> None:
    """Proves TR-28: a team that starts anew does not write over the plans of the one before."""
    assert shared(mission())["plan_round"] == 0
    assert shared(mission(report("a", plan_round=2), report("b")))["plan_round"] == 2
    assert "reports" not in shared(mission(report("a")))


# --- waiting together ------------------------------------------------------------------------------------------------


async def test_results_come_in_the_order_of_the_work() -> None:
    async def later(place: int) -> int:
        for _ in range(3 - place):
            await asyncio.sleep(0)
        return place

    assert await together(later(place) for place in range(3)) == [0, 1, 2]
    assert await together(later(place) for place in range(0)) == []


async def test_the_first_failure_is_raised_itself_and_ends_the_others() -> None:
    """Proves FR-17: nothing is left waiting; and callers catch a failure by its kind."""
    ended: list[str] = []

    async def waiting() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("waiting")

    async def failing(error: Exception) -> None:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(BudgetExceeded, match="enough"):
        await together([waiting(), failing(BudgetExceeded("enough"))])
    assert ended == ["waiting"]
    with pytest.raises((BudgetExceeded, ModelFailed)):
        await together([failing(BudgetExceeded()), failing(ModelFailed())])


async def test_who_waits_together_is_cancelled_together() -> None:
    """Proves FR-29: a cancelled wait is a cancellation, not a failure of the work."""
    waits = asyncio.create_task(together([asyncio.sleep(60), asyncio.sleep(60)]))
    await asyncio.sleep(0)
    before = len(asyncio.all_tasks())
    waits.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits
    assert len(asyncio.all_tasks()) < before
