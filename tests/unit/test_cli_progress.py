"""The live view tells what happened: events build up the plan tree, the guards' decisions, reviews and the state."""

import io
from typing import Any

from rich.console import Console

from chimera.cli.view.lines import event_line
from chimera.cli.view.mission import progress_of
from chimera.cli.view.progress import Progress
from chimera.cli.view.tree import TASKS_SHOWN, plan_tree, summary
from chimera.core.contracts import Event, Usage

PLAN: dict[str, Any] = {
    "team": "research",
    "round": 1,
    "confidence": 0.78,
    "unmet": ["a translation"],
    "tasks": [
        {"id": "t1", "title": "Analyse the feed", "tools": ["trends__analyze_trends"], "needs": []},
        {"id": "t2", "title": "Write it down", "tools": ["files__write_artifact"], "needs": ["t1"]},
    ],
}
ON_T1 = {"team": "research", "task": "t1", "capability": "trends__analyze_trends"}


def told(*events: tuple[str, dict[str, Any]]) -> Progress:
    progress = Progress("m")
    for kind, data in events:
        progress.apply(Event(mission_id="m", kind=kind, at="2026-11-23T00:00:00+00:00", data=data))
    return progress


def drawn(progress: Progress, spin: str = "") -> str:
    out = io.StringIO()
    Console(file=out, width=160).print(plan_tree(progress, spin=spin), summary(progress, "3.2 s", "offline rules"))
    return out.getvalue()


def test_a_plan_shows_its_tasks_what_they_wait_for_and_what_is_not_covered() -> None:
    shown = drawn(told(("mission.started", {"goal": "Find out"}), ("teams", {"teams": ["research"]}), ("plan", PLAN)))
    for part in (
        "Find out",
        "team research",
        "plan 1, 0 of 2 tasks done",
        "t2 Write it down  after t1",
        "a translation",
    ):
        assert part in shown


def test_a_plan_shows_how_often_a_task_may_call_what_has_an_effect() -> None:
    """Proves FR-128, for the live view and for `chimera show`, which draws the same tree from the records."""
    first, second = PLAN["tasks"]
    tasks: list[dict[str, Any]] = [{**first, "limits": {}}, {**second, "limits": {"files__write_artifact": 3}}]
    mission = {"id": "m", "goal": "Find out", "status": "running"}
    stands = {"team": "research", "plan_round": 1, "state": "planned", "attempt": 0, "verdict": None}
    rows = [
        {**stands, "id": task["id"], "title": task["title"], "plan": {**task, "depends_on": task["needs"]}}
        for task in tasks
    ]
    by_events = told(("plan", {**PLAN, "tasks": tasks}))
    by_records = progress_of({"mission": mission, "tasks": rows, "reviews": []})
    for progress in (by_events, by_records):
        (line,) = [line for line in drawn(progress).splitlines() if "may call" in line]
        assert line.rstrip().endswith("t2 Write it down  after t1  may call files__write_artifact ×3")


def test_a_team_without_a_plan_yet_is_planning() -> None:
    assert "team research  planning" in drawn(told(("teams", {"teams": ["research"]})))


def test_a_running_task_shows_its_agent_its_tool_and_the_guard() -> None:
    agent = ("agent", {**ON_T1, "turn": 2, "attempt": 3})
    shown = drawn(
        told(("plan", PLAN), agent, ("guard", {**ON_T1, "action": "edit", "rules": ["text.hidden"]})), spin="⠋"
    )
    assert "⠋ t1 Analyse the feed  agent: turn 2, attempt 3" in shown
    assert "trends__analyze_trends  guard: edit (text.hidden)" in shown
    assert "guards: 1 edited" in shown


def test_one_call_is_one_line_whatever_happens_to_it() -> None:
    guard = ("guard", {**ON_T1, "action": "escalate", "rules": ["tool.destructive"]})
    failed = ("tool.failed", {**ON_T1, "code": "CH603", "message": "no answer"})
    progress = told(("plan", PLAN), guard, ("tool", ON_T1), failed)
    uses = progress.team("research").tasks["t1"].uses
    assert [(use.decision, use.state, use.why) for use in uses] == [("escalate", "failed", "CH603 no answer")]
    again = told(("plan", PLAN), guard, ("tool", ON_T1), guard)
    assert len(again.team("research").tasks["t1"].uses) == 2


def test_verdicts_settle_tasks_and_carry_their_reasons() -> None:
    sent_back = ("verdict", {**ON_T1, "outcome": "retry", "confidence": 0.4, "reasons": ["nothing is cited"]})
    assert "judge: sent back 0.40" in drawn(told(("plan", PLAN), sent_back))
    assert "nothing is cited" in drawn(told(("plan", PLAN), sent_back))
    done = ("verdict", {**ON_T1, "outcome": "approve", "confidence": 0.88})
    shown = drawn(told(("plan", PLAN), sent_back, done))
    assert "✓ t1 Analyse the feed  judge: approved 0.88" in shown
    assert "plan 1, 1 of 2 tasks done" in shown


def test_a_new_plan_replaces_the_old_one_and_void_work_is_marked() -> None:
    progress = told(("plan", PLAN), ("void", {"team": "research", "tasks": ["t1"]}))
    assert progress.team("research").tasks["t1"].state == "void"
    progress.apply(Event(mission_id="m", kind="plan", at="", data={**PLAN, "round": 2, "tasks": PLAN["tasks"][:1]}))
    assert list(progress.team("research").tasks) == ["t1"]
    assert progress.team("research").tasks["t1"].state == "planned"


def test_why_an_earlier_plan_failed_stays_in_sight() -> None:
    sent_back = ("verdict", {**ON_T1, "outcome": "retry", "confidence": 0.9, "reasons": ["CH605 the feed is silent"]})
    progress = told(("plan", PLAN), sent_back, ("plan", {**PLAN, "round": 2, "tasks": []}))
    assert "before: Analyse the feed: CH605 the feed is silent" in drawn(progress)


def test_questions_stay_until_they_are_answered() -> None:
    asked = ("review.asked", {"item": "a2f54219-e2d9", "question": "Is this plan right?"})
    progress = told(asked)
    assert progress.status == "waiting"
    assert "Is this plan right?  review a2f54219" in drawn(progress)
    answered = {"item": "a2f54219-e2d9", "action": "approve", "reviewer": "Ada"}
    progress.apply(Event(mission_id="m", kind="review.answered", at="", data=answered))
    assert "Is this plan right?" not in drawn(progress)
    assert "reviews: 1 answered" in drawn(progress)


def test_cost_and_end_are_told() -> None:
    progress = told(("mission.finished", {"status": "done"}))
    progress.usage = Usage(calls=2, tokens_in=1000, tokens_out=234)
    assert progress.status == "done"
    assert "2 calls, 1,234 tokens, 0.00 USD" in drawn(progress)


def test_of_a_hundred_tasks_the_busy_ones_are_shown() -> None:
    tasks = [{"id": f"t{place}", "title": f"Job {place}", "tools": [], "needs": []} for place in range(100)]
    busy = {"team": "research", "task": "t99", "turn": 1, "attempt": 1}
    shown = drawn(told(("plan", {**PLAN, "tasks": tasks}), ("agent", busy)))
    assert "t99 Job 99  agent: turn 1" in shown
    assert f"and {100 - TASKS_SHOWN} more tasks" in shown


def test_lines_say_the_same_where_nothing_can_be_drawn() -> None:
    def text(kind: str, data: dict[str, Any]) -> str:
        return event_line(Event(mission_id="12345678-9", kind=kind, at="2026-11-23T00:00:00+00:00", data=data))

    assert "mission 12345678 started: Find out" in text("mission.started", {"goal": "Find out"})
    assert "2 tasks: t1 Analyse the feed, t2 Write it down; not covered: a translation" in text("plan", PLAN)
    assert "guard research/t1: reject trends__analyze_trends (limit)" in text(
        "guard", {**ON_T1, "action": "reject", "rules": ["limit"]}
    )
    assert "approve by Ada: fine" in text(
        "review.answered", {"item": "1", "action": "approve", "reviewer": "Ada", "reason": "fine"}
    )
    assert "later.kind x=1" in text("later.kind", {"x": 1})
    withheld = {**ON_T1, "capability": "mail__inbox", "threat": "high"}
    assert "guard research/t1: 1 of 7 records of mail__inbox (threat high) withheld" in text(
        "extracted", {**withheld, "records": 1, "of": 7}
    )
    assert "the text of mail__inbox (threat high) is withheld, its typed values are shown" in text(
        "extracted", withheld
    )


def test_the_record_of_a_mission_gives_the_tree_of_its_newest_plans() -> None:
    def row(number: int, state: str) -> dict[str, Any]:
        return {
            "team": "research", "plan_round": number, "id": "t1", "title": f"Round {number}", "state": state,
            "attempt": 1, "plan": {"tools": [], "depends_on": []}, "verdict": {"confidence": 0.5, "reasons": ["so"]},
        }  # fmt: skip

    found: dict[str, Any] = {
        "mission": {"id": "m", "goal": "Find out", "status": "waiting"},
        "tasks": [row(1, "failed"), row(2, "done")],
        "reviews": [
            {"id": "r1", "state": "open", "question": "Good?"},
            {"id": "r2", "state": "decided", "question": "?"},
        ],
    }
    progress = progress_of(found)
    assert [task.title for task in progress.team("research").tasks.values()] == ["Round 2"]
    assert progress.team("research").failures == ["Round 1: so"]
    assert progress.team("research").tasks["t1"].state == "done"
    assert progress.reviews_open == {"r1": "Good?"}
