"""Settle: what a human answered takes effect on the team's work."""

from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import Command

from chimera.core.contracts import Check, Plan, ReviewDecision, TaskResult, Verdict
from chimera.core.state import Plain, TeamState
from chimera.nodes.commit import Next, after_settling, finished_task, plan_anew
from chimera.nodes.context import Context
from chimera.nodes.planner import counted


async def settle(state: TeamState, runtime: Runtime[Context]) -> Command[Next]:
    """Apply the answer to the question at hand, then go on with the next one or with the work."""
    context = runtime.context
    item, decision = state.get("review_item") or {}, ReviewDecision.model_validate(state.get("review_decision"))
    kind = item["payload"]["kind"]
    settled = {"review_item": None, "review_decision": None}
    if kind == "plan":
        update = {**await _settle_plan(state, decision, context), **settled}
        return Command(update=update, goto="report" if update.get("problem") else "dispatch")
    if kind == "give_up":
        problem = {"code": "CH700", "message": _said(decision), "accepted": decision.action != "reject"}
        return Command(update={**settled, "questions": [], "problem": problem}, goto="report")
    if kind == "refused":
        return _settle_refusal(state, item, decision, settled)
    update, current = await _settle_result(state, item, decision, context)
    if not current:
        return await plan_anew(state, {**update, **settled}, [item["payload"]["task"]], context)
    return after_settling({**state, **update}, {**update, **settled}, context)  # pyright: ignore[reportArgumentType]


def _settle_refusal(state: TeamState, item: Plain, decision: ReviewDecision, settled: Plain) -> Command[Next]:
    """Plan again, or end with the refusal. It is remembered: what is refused again for the same reason stays so."""
    refused = str(item["payload"]["refused"])
    if decision.action == "reject":
        code, _, message = refused.partition(" ")
        problem = {"code": code, "message": f"{message} ({_said(decision)})"}
        return Command(update={**settled, "problem": problem}, goto="report")
    return Command(update={**settled, "setbacks": [*state.get("setbacks", []), refused]}, goto="planner")


def _said(decision: ReviewDecision) -> str:
    return f"{decision.action} by {decision.reviewer}: {decision.reason}".rstrip(": ")


async def _settle_plan(state: TeamState, decision: ReviewDecision, context: Context) -> dict[str, Any]:
    if decision.action == "reject":
        refused = f"the plan was rejected by {decision.reviewer}: {decision.reason}".rstrip(": ")
        return {"problem": {"code": "CH700", "message": refused}}
    if decision.payload is None:
        return {}
    edited = Plan.model_validate(decision.payload.get("plan", decision.payload))
    plan = counted(edited, await context.tools.capabilities())
    await context.missions.plan_tasks(
        state["mission_id"], state["team"]["name"], state["plan_round"], plan, state["context_version"]
    )
    return {"plan": plan.plain()}


async def _settle_result(
    state: TeamState, item: Plain, decision: ReviewDecision, context: Context
) -> tuple[dict[str, Any], bool]:
    """What the answer changes, and whether the mission still asks what the result was made from."""
    task_id = item["payload"]["task"]
    result = TaskResult.model_validate(state["outcomes"][task_id])
    approved, why = decision.action != "reject", _said(decision)
    if approved:  # also of a failure: a human looked, and it is done
        edited = {"answer": decision.payload["answer"]} if decision.payload is not None else {}
        result = result.model_copy(update={"status": "done", "error": None, **edited})
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
        finished |= finished_task(state, result, verdict)
    else:
        feedback[task_id] = [why]
        states[task_id] = "failed" if state["attempts"][task_id] >= context.settings.max_attempts else "planned"
    update = {
        "states": states,
        "finished": finished,
        "feedback": feedback,
        "outcomes": {**state["outcomes"], task_id: result.plain()},
        "verdicts": {**state.get("verdicts", {}), task_id: verdict.plain()},
        "questions": state.get("questions", [])[1:],
    }
    return update, current
