"""The format of langchain 1.x and Agent Chat UI: ``HITLRequest`` and ``HITLResponse``.

One request holds all questions, and one response as many decisions in the same order. ``respond``, with which a human
answers in the place of a tool, is not offered: what no tool gave must not count as what a tool gave. An approval's and
an edit's reason cannot be said in this format.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from chimera.core.contracts import Contract, ReviewDecision, ReviewItem
from chimera.core.errors import InputError
from chimera.core.invalid import first_problem
from chimera.review.inbox.actions import (
    Action,
    action_of,
    args_schema,
    can_edit,
    decision_of,
    described,
    edited,
    edited_action,
)


class EditedAction(Contract):
    """The action that is to be done instead."""

    name: str
    args: dict[str, Any]


class Approve(Contract):
    """Yes."""

    type: Literal["approve"]


class Edit(Contract):
    """Yes, but with these arguments."""

    type: Literal["edit"]
    edited_action: EditedAction


class Reject(Contract):
    """No, and why."""

    type: Literal["reject"]
    message: str = ""


class HITLResponse(Contract):
    """What a human decided about each action, in their order."""

    decisions: list[Annotated[Approve | Edit | Reject, Field(discriminator="type")]]


def hitl_request(items: Sequence[ReviewItem]) -> dict[str, Any]:
    """Questions as langchain's middleware would ask them."""
    return {
        "action_requests": [
            {"name": action_of(item).name, "args": action_of(item).args, "description": described(item)}
            for item in items
        ],
        "review_configs": [_config(item) for item in items],
    }


def _config(item: ReviewItem) -> dict[str, Any]:
    allowed = ["approve", "edit", "reject"] if can_edit(item) else ["approve", "reject"]
    schema = args_schema(item)
    said = {"args_schema": schema} if schema is not None else {}
    return {"action_name": action_of(item).name, "allowed_decisions": allowed, **said}


def answers(items: Sequence[ReviewItem], given: Any, reviewer: str) -> list[ReviewDecision]:
    """The answers to questions, one each and in their order.

    Raises:
        InputError: it is not this format, there are more or fewer decisions than questions, or one does not fit.
    """
    try:
        decisions = HITLResponse.model_validate(given).decisions
    except ValidationError as error:
        raise InputError(first_problem(error, "response")) from None
    if len(decisions) != len(items):
        raise InputError(f"{len(items)} questions take {len(items)} decisions, not {len(decisions)}")
    return [_answer(item, decision, reviewer) for item, decision in zip(items, decisions, strict=True)]


def _answer(item: ReviewItem, decision: Approve | Edit | Reject, reviewer: str) -> ReviewDecision:
    match decision:
        case Approve():
            return decision_of(item, "approve", reviewer)
        case Edit(edited_action=action):
            return edited(item, Action(action.name, action.args), reviewer)
        case Reject(message=message):
            return decision_of(item, "reject", reviewer, message)


def response_of(items: Sequence[ReviewItem], decisions: Sequence[ReviewDecision]) -> dict[str, Any]:
    """Answers of ours in this format."""
    return {"decisions": [_told(item, decision) for item, decision in zip(items, decisions, strict=True)]}


def _told(item: ReviewItem, decision: ReviewDecision) -> dict[str, Any]:
    match decision.action:
        case "approve":
            return {"type": "approve"}
        case "reject":
            return {"type": "reject", **({"message": decision.reason} if decision.reason else {})}
        case "edit":
            action = edited_action(item, decision)
            return {"type": "edit", "edited_action": {"name": action.name, "args": action.args}}
