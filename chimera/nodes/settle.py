"""Settle: what a human answered takes effect on the team's work."""

from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import Command
from pydantic import ValidationError

from chimera.core.contracts import Check, Plan, ReviewDecision, TaskResult, Verdict
from chimera.core.state import Plain, TeamState
from chimera.nodes.commit import Next, after_settling
from chimera.nodes.context import Context
from chimera.nodes.planner import task_fingerprint


async def settle(state: TeamState, runtime: Runtime[Context]) -> Command[Next]:
    """Apply the answer to the question at hand, then go on with the next one or with the work."""
    context = runtime.context
    item, decision = state.get("review_item") or {}, ReviewDecision.model_validate(state.get("review_decision"))
    kind = item["payload"]["kind"]
    settled = {"review_item": None, "review_decision": None}
    if kind == "plan":
        update = {**_settle_plan(state, decision), **settled}
        return Command(update=update, goto="report" if update.get("problem") else "dispatch")
    if kind == "give_up":
        reasons = [f"{decision.action} by {decision.reviewer}: {decision.reason}".rstrip(": ")]
        problem = {"code": "CH700", "message": "; ".join(reasons), "accepted": decision.action != "reject"}
        return Command(update={**settled, "questions": [], "problem": problem}, goto="report")
    update = {**await _settle_result(state, item, decision, context), **settled}
    return after_settling({**state, **update}, update, context)  # pyright: ignore[reportArgumentType]


def _settle_plan(state: TeamState, decision: ReviewDecision) -> dict[str, Any]:
    refused = f"the plan was rejected by {decision.reviewer}: {decision.reason}".rstrip(": ")
    if decision.action == "reject":
        return {"problem": {"code": "CH700", "message": refused}}
    if decision.payload is not None:
        try:
            plan = Plan.model_validate(decision.payload.get("plan", decision.payload))
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            return {"problem": {"code": "CH704", "message": f"the edited plan is invalid: {first['msg']}"}}
        return {"plan": plan.plain()}
    return {}


async def _settle_result(state: TeamState, item: Plain, decision: ReviewDecision, context: Context) -> dict[str, Any]:
    task_id = item["payload"]["task"]
    result = TaskResult.model_validate(state["outcomes"][task_id])
    if decision.payload is not None:
        result = result.model_copy(update={"answer": str(decision.payload.get("answer", result.answer))})
    approved = decision.action != "reject"
    why = f"{decision.action} by {decision.reviewer}: {decision.reason}".rstrip(": ")
    verdict = Verdict(
        outcome="approve" if approved else "retry",
        confidence=1.0 if approved else 0.0,
        reasons=[why],
        checks=[Check(criterion="human review", passed=approved, why=why)],
    )
    current = await context.missions.commit_task(
        state["mission_id"],
        state["team"]["name"],
        state["plan_round"],
        "done" if approved else "failed",
        result,
        verdict,
    )
    states, finished, feedback = (dict(state.get(key, {})) for key in ("states", "finished", "feedback"))
    if approved and current:
        states[task_id] = "done"
        plan = Plan.model_validate(state["plan"])
        task = next(found for found in plan.tasks if found.id == task_id)
        finished[task_fingerprint(task, plan, state["context_version"])] = result.plain()
    else:
        feedback[task_id] = [why]
        states[task_id] = "failed" if state["attempts"][task_id] >= context.settings.max_attempts else "planned"
    return {
        "states": states,
        "finished": finished,
        "feedback": feedback,
        "outcomes": {task_id: result.plain()},
        "verdicts": {**state.get("verdicts", {}), task_id: verdict.plain()},
        "questions": state.get("questions", [])[1:],
    }
