"""Commit: judged results become part of the mission, if the mission still asks what they were made from."""

from typing import Any, Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from chimera.core.contracts import Plan, TaskResult, Verdict
from chimera.core.state import Plain, TeamState
from chimera.nodes.banding import judgement_id
from chimera.nodes.context import Context
from chimera.nodes.dispatch import asking_tasks, ready_tasks
from chimera.nodes.judge import came_back
from chimera.nodes.learning import learn
from chimera.nodes.planner import task_fingerprint
from chimera.nodes.questions import about_giving_up, about_result, failures

Next = Literal["dispatch", "planner", "review", "report"]


async def commit(state: TeamState, runtime: Runtime[Context]) -> Command[Next]:
    """Record the verdicts of the wave and choose what comes next.

    Optimistic concurrency: a result made from an older context is void, and the team plans anew.
    """
    context = runtime.context
    states, feedback = dict(state.get("states", {})), dict(state.get("feedback", {}))
    finished, questions = dict(state.get("finished", {})), list(state.get("questions", []))
    void: list[str] = []
    for task_id in came_back(state):
        result = TaskResult.model_validate(state["outcomes"][task_id])
        verdict = Verdict.model_validate(state["verdicts"][task_id])
        target = {"approve": "done", "retry": "failed", "escalate": "waiting"}[verdict.outcome]
        current = await context.missions.commit_task(
            state["mission_id"], state["team"]["name"], state["plan_round"], target, result, verdict
        )
        if not current:
            void.append(task_id)
            continue
        task = next(item for item in Plan.model_validate(state["plan"]).tasks if item.id == task_id)
        await learn(task, result, verdict, str(state["mission"]["tenant"]), context)
        if verdict.outcome == "approve":
            states[task_id] = "done"
            finished |= finished_task(state, result, verdict)
            await _ask_afterwards(state, result, verdict, context)
        elif verdict.outcome == "escalate":
            states[task_id] = "waiting"
            item = about_result(state, result, verdict, blocking=True)
            await context.reviews.open(item)  # it can be answered while the work that does not need it goes on
            await context.bands.store.asked(judgement_id(state, task_id), item.id)
            questions.append(item.plain())
        else:
            feedback[task_id] = verdict.reasons
            await _ask_afterwards(state, result, verdict, context)
            if _worn_out(state, task_id, result, context):
                states[task_id] = "failed"
    update: dict[str, Any] = {"states": states, "feedback": feedback, "finished": finished, "questions": questions}
    if void:
        return await plan_anew(state, update, void, context)
    return after_settling({**state, **update}, update, context)  # pyright: ignore[reportArgumentType]


async def plan_anew(state: TeamState, update: dict[str, Any], void: list[str], context: Context) -> Command[Next]:
    """Results are void: plan for the mission as it is asked now, as if for the first time."""
    await context.record(
        state["mission_id"], state["mission"], "void", "commit", team=state["team"]["name"], tasks=void
    )
    forgotten: dict[str, Any] = {"questions": [], "feedback": {}, "refused_tools": [], "setbacks": [], "replans": 0}
    return Command(update={**update, **forgotten}, goto="planner")


def after_settling(state: TeamState, update: dict[str, Any], context: Context) -> Command[Next]:
    """What comes next once results are settled: more work, a question, a new plan, or the report.

    Work before questions: a human holds up only what depends on the answer.
    """
    questions: list[Plain] = state.get("questions", [])
    if ready_tasks(state) or asking_tasks(state):
        return Command(update=update, goto="dispatch")
    if questions:
        return Command(update={**update, "review_item": questions[0], "review_decision": None}, goto="review")
    failed, reasons = failures(state)
    if failed and state.get("replans", 0) < context.settings.max_replans:
        again = {
            "refused_tools": _tools_of(state, failed),
            "replans": state.get("replans", 0) + 1,
            "setbacks": [*state.get("setbacks", []), *reasons],
        }
        return Command(update={**update, **again}, goto="planner")
    if failed and not state.get("problem"):
        item = about_giving_up(state, failed, reasons).plain()
        return Command(
            update={**update, "questions": [item], "review_item": item, "review_decision": None}, goto="review"
        )
    return Command(update=update, goto="report")


def finished_task(state: TeamState, result: TaskResult, verdict: Verdict) -> dict[str, Plain]:
    """An approved result with its verdict, under the fingerprint of what it depends on."""
    plan = Plan.model_validate(state["plan"])
    task = next(item for item in plan.tasks if item.id == result.task_id)
    known = {"result": result.plain(), "verdict": verdict.plain()}
    return {task_fingerprint(task, plan, state["context_version"]): known}


def _worn_out(state: TeamState, task_id: str, result: TaskResult, context: Context) -> bool:
    final = result.status == "failed" and not (result.error or {}).get("retryable", True)
    return final or state["attempts"][task_id] >= context.settings.max_attempts


def _tools_of(state: TeamState, failed: list[str]) -> list[str]:
    """The tools with which tasks failed that never gave anything: a new plan looks for others."""
    outcomes = state["outcomes"]
    broken = [
        item for item in state["plan"]["tasks"] if item["id"] in failed and outcomes[item["id"]]["status"] == "failed"
    ]
    return sorted({*state.get("refused_tools", []), *(tool for item in broken for tool in item["tools"])})


async def _ask_afterwards(state: TeamState, result: TaskResult, verdict: Verdict, context: Context) -> None:
    """What nobody has to wait for, and a human looks at later.

    Between auto_review and auto_approve all of it, as far as no certificate lets it pass. Of what passes unseen, and of
    what a band sends back, those that the lot fell on: they are shown without the verdict.
    """
    made = await context.bands.store.judgement(judgement_id(state, result.task_id))
    audited = made is not None and made.audited
    unsure = verdict.outcome == "approve" and verdict.confidence < context.settings.auto_approve
    if audited or (unsure and (made is None or made.band == "threshold")):
        item = about_result(state, result, verdict, blocking=False, blind=audited)
        await context.reviews.open(item)
        await context.bands.store.asked(judgement_id(state, result.task_id), item.id)
