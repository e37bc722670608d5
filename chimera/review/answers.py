"""Which answers a question can take."""

from pydantic import ValidationError

from chimera.core.contracts import Plan, ReviewDecision, ReviewItem


def why_unusable(item: ReviewItem, decision: ReviewDecision) -> str | None:
    """Why a decision is no answer to a question; None when it is one.

    Approving and rejecting is always possible. An edit replaces what was shown, so it has to be of the same kind; a
    tool call goes on as the guards saw it or not at all.
    """
    if decision.action != "edit":
        return None
    if decision.payload is None:
        return "an edit needs the edited payload"
    kind = "call" if "capability" in item.payload else item.payload.get("kind")
    match kind:
        case "plan":
            return _why_no_plan(decision.payload.get("plan", decision.payload))
        case "result":
            return None if isinstance(decision.payload.get("answer"), str) else "an edited result needs an answer"
        case "call" | "give_up":
            return "this can only be approved or rejected"
        case _:
            return None


def _why_no_plan(data: object) -> str | None:
    try:
        Plan.model_validate(data)
    except ValidationError as error:
        return f"the edited plan is invalid: {error.errors(include_input=False)[0]['msg']}"
    return None
