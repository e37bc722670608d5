"""Reads an answer to one question in whichever format it comes: agent-inbox's, langchain's, or Chimera's own."""

from typing import Any, cast

from chimera.core.contracts import ReviewDecision, ReviewItem
from chimera.core.errors import InputError
from chimera.review.inbox import hitl_request, human_interrupt
from chimera.review.inbox.actions import decision_of

_HUMAN = ("accept", "response", "ignore")


def read_answer(item: ReviewItem, given: object, reviewer: str) -> ReviewDecision | None:
    """What ``given`` answers to a question, in the name of ``reviewer``; None when it ignores it.

    Raises:
        InputError: it is no answer in any format, or none that fits the question.
        StaleDecision: it accepts something that is not asked.
    """
    match given:
        case list():
            return human_interrupt.answers([item], cast("list[Any]", given), reviewer)[0]
        case {"decisions": _}:
            return hitl_request.answers([item], given, reviewer)[0]
        case {"action": _}:
            return _own(item, cast("dict[str, Any]", given), reviewer)
        case {"type": kind} if kind in _HUMAN or "args" in cast("dict[str, Any]", given):
            return human_interrupt.answers([item], cast("dict[str, Any]", given), reviewer)[0]
        case {"type": _}:
            return hitl_request.answers([item], {"decisions": [given]}, reviewer)[0]
        case _:
            raise InputError("that is no answer", remedy="docs/inbox.md shows answers in each format.")


def _own(item: ReviewItem, given: dict[str, Any], reviewer: str) -> ReviewDecision:
    """An answer as the graphs of ``langgraph dev`` take it; nobody signs for somebody else."""
    if set(given) - {"action", "reason", "payload", "reviewer", "item_id"}:
        raise InputError("an answer has an action, a reason, and a payload where it edits")
    if given.get("reviewer", reviewer) != reviewer or given.get("item_id", item.id) != item.id:
        raise InputError("the answer is signed by somebody else, or about another question")
    return decision_of(item, given["action"], reviewer, given.get("reason", ""), given.get("payload"))
