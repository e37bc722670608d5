"""Commit: judged results become part of the mission, if the mission still asks what they were made from."""

from typing import Any, Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from chimera.core.contracts import Plan, ReviewItem, ReviewPoint, TaskResult, Verdict
from chimera.core.ids import derived_id
from chimera.core.state import Plain, TeamState
from chimera.nodes.context import Context
from chimera.nodes.dispatch import ready_tasks
from chimera.nodes.planner import task_fingerprint

Next = Literal["dispatch", "planner", "review", "report"]


async def commit(state: TeamState, runtime: Runtime[Context]) -> Command[Next]:
    """Record the verdicts of the wave and choose what comes next.

    Optimistic concurrency: a result made from an older context is void, and the team plans anew.
    """
    context = runtime.context
    states, feedback = dict(state.get("states", {})), dict(state.get("feedback", {}))
    finished, questions = dict(state.get("finished", {})), list[Plain]()
    void = False
    for task_id in state["wave"]:
        result = TaskResult.model_validate(state["outcomes"][task_id])
        verdict = Verdict.model_validate(state["verdicts"][task_id])
        target = {"approve": "done", "retry": "failed", "escalate": "waiting"}[verdict.outcome]
        current = await context.missions.commit_task(
            state["mission_id"], state["team"]["name"], state["plan_round"], target, result, verdict
        )
        void = void or not current
        if not current:
            continue
        if verdict.outcome == "approve":
            states[task_id] = "done"
            finished[_fingerprint(state, task_id)] = result.plain()
            await _ask_afterwards(state, task_id, verdict, context)
        elif verdict.outcome == "escalate":
            questions.append(_about_result(state, result, verdict).plain())
        else:
            feedback[task_id] = verdict.reasons
            if _worn_out(state, task_id, result, context):
                states[task_id] = "failed"
    update: dict[str, Any] = {"states": states, "feedback": feedback, "finished": finished, "questions": questions}
    if void:
        await context.record(
            state["mission_id"], state["mission"], "void", "commit", team=state["team"]["name"], tasks=state["wave"]
        )
        return Command(update={**update, "questions": [], "feedback": {}, "refused_tools": []}, goto="planner")
    return after_settling({**state, **update}, update, context)  # pyright: ignore[reportArgumentType]


def after_settling(state: TeamState, update: dict[str, Any], context: Context) -> Command[Next]:
    """What comes next once results are settled: a question, more work, a new plan, or the report."""
    questions: list[Plain] = state.get("questions", [])
    if questions:
        return Command(update={**update, "review_item": questions[0], "review_decision": None}, goto="review")
    if ready_tasks(state):
        return Command(update=update, goto="dispatch")
    failed = [task_id for task_id, what in state.get("states", {}).items() if what == "failed"]
    if failed and state["plan_round"] <= context.settings.max_replans:
        return Command(update={**update, "refused_tools": _tools_of(state, failed)}, goto="planner")
    if failed and not state.get("problem"):
        item = _about_giving_up(state, failed).plain()
        return Command(
            update={**update, "questions": [item], "review_item": item, "review_decision": None}, goto="review"
        )
    return Command(update=update, goto="report")


def _worn_out(state: TeamState, task_id: str, result: TaskResult, context: Context) -> bool:
    final = result.status == "failed" and not (result.error or {}).get("retryable", True)
    return final or state["attempts"][task_id] >= context.settings.max_attempts


def _fingerprint(state: TeamState, task_id: str) -> str:
    plan = Plan.model_validate(state["plan"])
    task = next(item for item in plan.tasks if item.id == task_id)
    return task_fingerprint(task, plan, state["context_version"])


def _tools_of(state: TeamState, failed: list[str]) -> list[str]:
    """The tools with which tasks failed that never gave anything: a new plan looks for others."""
    outcomes = state["outcomes"]
    broken = [
        item for item in state["plan"]["tasks"] if item["id"] in failed and outcomes[item["id"]]["status"] == "failed"
    ]
    return sorted({*state.get("refused_tools", []), *(tool for item in broken for tool in item["tools"])})


async def _ask_afterwards(state: TeamState, task_id: str, verdict: Verdict, context: Context) -> None:
    """Between auto_review and auto_approve the work goes on, and a human looks at it later."""
    if verdict.confidence < context.settings.auto_approve:
        result = TaskResult.model_validate(state["outcomes"][task_id])
        item = _about_result(state, result, verdict)
        await context.reviews.open(item.model_copy(update={"payload": {**item.payload, "blocking": False}}))


def _about_result(state: TeamState, result: TaskResult, verdict: Verdict) -> ReviewItem:
    title = next(item["title"] for item in state["plan"]["tasks"] if item["id"] == result.task_id)
    return ReviewItem(
        id=derived_id("result-review", *_place(state), result.task_id, state["attempts"][result.task_id]),
        mission_id=state["mission_id"],
        point=ReviewPoint.CONTENT if result.artifacts else ReviewPoint.QUALITY,
        question=f"Is this result of {title!r} good enough?"[:2_000],
        payload={"kind": "result", "task": result.task_id, "answer": result.answer[:20_000], "blocking": True},
        confidence=verdict.confidence,
        reasons=verdict.reasons,
    )


def _about_giving_up(state: TeamState, failed: list[str]) -> ReviewItem:
    reasons = [f"{task_id}: {reason}" for task_id in failed for reason in state.get("feedback", {}).get(task_id, [])]
    return ReviewItem(
        id=derived_id("give-up", *_place(state)),
        mission_id=state["mission_id"],
        point=ReviewPoint.QUALITY,
        question=f"{len(failed)} tasks failed after every retry and a new plan. Go on with what there is?",
        payload={"kind": "give_up", "failed": failed, "blocking": True},
        confidence=0.0,
        reasons=reasons,
    )


def _place(state: TeamState) -> tuple[str, str, int]:
    return state["mission_id"], state["team"]["name"], state["plan_round"]
