"""What becomes of a team for which no plan could be made."""

from typing import Any

from chimera.core.contracts import Mission, Plan
from chimera.core.errors import BudgetExceeded, GuardRejected, MissionError
from chimera.core.state import TeamState
from chimera.nodes.context import Context
from chimera.nodes.questions import about_giving_up, about_refusal, failures


def unplanned(state: TeamState, fresh: dict[str, Any], error: MissionError | GuardRejected) -> dict[str, Any]:
    """The end of the team, or a question: about what earlier plans gave, or about a request that guards let not pass.

    A human who has the cause of a refusal mended can have it planned again. The same refusal after that is the end.
    """
    failed, reasons = failures(state)
    if not failed or fresh["context_version"] != state["context_version"]:
        nothing = {**fresh, "plan": Plan().plain(), "states": {}}
        asked_before = str(error) in state.get("setbacks", [])
        if isinstance(error, MissionError) or asked_before or state.get("dry_run"):
            return {**nothing, "problem": error.as_dict()}
        item = about_refusal(state, fresh["plan_round"], error).plain()
        return {**nothing, "review_item": item, "review_decision": None}
    if isinstance(error, BudgetExceeded):
        return {"problem": {**error.as_dict(), "accepted": True}}
    item = about_giving_up(state, failed, [*reasons, str(error)]).plain()
    return {"questions": [item], "review_item": item, "review_decision": None}


async def refuse_unaffordable(plan: Plan, mission_id: str, mission: Mission, context: Context) -> None:
    """Hold a plan against what is left of the budget.

    Raises:
        BudgetExceeded: it would cost more.
    """
    if mission.budget.tokens is None:
        return
    used = await context.usage.total(mission_id)
    wanted = sum(task.cost_tokens for task in plan.tasks)
    left = mission.budget.tokens - used.tokens_in - used.tokens_out
    if wanted > left:
        raise BudgetExceeded(f"the plan needs about {wanted} tokens, {max(left, 0)} are left")
