"""Which answers a question can take."""

from typing import Any

from pydantic import ValidationError

from chimera.core.contracts import Plan, ReviewDecision, ReviewItem
from chimera.core.invalid import first_problem
from chimera.core.usable import argument_problems


def kind_of(item: ReviewItem) -> str:
    """What a question is about: ``call``, ``plan``, ``result``, ``give_up``, ``refused``, ``policy``, ``incident``,
    ``changed_tools``, ``payment``, ``undelivered``, or what it says.

    A question of somebody else's may say nothing, or anything.
    """
    return "call" if "capability" in item.payload else str(item.payload.get("kind") or "")


def editable(item: ReviewItem) -> dict[str, Any] | None:
    """What a human may change of what is shown; None where there is nothing to change."""
    match kind_of(item):
        case "call":
            return {key: item.payload[key] for key in ("capability", "arguments")}
        case "give_up" | "refused" | "policy" | "incident" | "changed_tools" | "payment" | "undelivered":
            return None
        case _:
            return item.payload


def why_unusable(item: ReviewItem, decision: ReviewDecision) -> str | None:
    """Why a decision is no answer to a question; None when it is one.

    Approving and rejecting is always possible. An edit replaces what was shown, so it has to be of the same kind. An
    edited tool call has to fit the tool, and then passes the guards like any other.
    """
    if decision.action != "edit":
        return None
    if decision.payload is None:
        return "an edit needs the edited payload"
    match kind_of(item):
        case "plan":
            return _why_no_plan(decision.payload.get("plan", decision.payload))
        case "result":
            return None if isinstance(decision.payload.get("answer"), str) else "an edited result needs an answer"
        case "call":
            return _why_no_call(item.payload, decision.payload)
        case "give_up" | "refused" | "policy" | "incident" | "changed_tools" | "payment" | "undelivered":
            return "this can only be approved or rejected"
        case _:
            return None


def _why_no_plan(data: object) -> str | None:
    try:
        Plan.model_validate(data)
    except ValidationError as error:
        return f"the edited plan is invalid: {first_problem(error, 'plan')}"
    return None


def _why_no_call(shown: dict[str, Any], edited: dict[str, Any]) -> str | None:
    if edited.get("capability", shown["capability"]) != shown["capability"]:
        return f"an edit changes the arguments of {shown['capability']}, and calls no other tool"
    if not isinstance(edited.get("arguments"), dict):
        return 'an edited call needs its arguments: {"arguments": {...}}'
    problems = argument_problems(shown.get("schema") or {"additionalProperties": True}, edited["arguments"])
    return f"the arguments do not fit {shown['capability']}: {'; '.join(problems)}" if problems else None
