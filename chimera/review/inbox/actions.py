"""A question as an action with arguments, which is how every inbox shows one; and what its answers mean to us."""

import re
from dataclasses import dataclass
from typing import Any, cast

from pydantic import ValidationError

from chimera.core.contracts import ReviewDecision, ReviewItem
from chimera.core.errors import InputError, StaleDecision
from chimera.core.invalid import first_problem
from chimera.review.answers import editable, kind_of, why_unusable

_NAME_MAX = 200
_MARKUP = re.compile(r"([\\\[\]<>`!|])")


@dataclass(frozen=True)
class Action:
    """What a question is about: a tool with its arguments, or the kind of the question with what it shows."""

    name: str
    args: dict[str, Any]


def action_of(item: ReviewItem) -> Action:
    """The action of a question. Of a tool call, that call; of anything else, its kind with its payload."""
    if _is_call(item):
        return Action(item.payload["capability"], item.payload["arguments"])
    return Action(kind_of(item)[:_NAME_MAX] or "question", item.payload)


def can_edit(item: ReviewItem) -> bool:
    """Whether a human may change what is shown."""
    if kind_of(item) == "call":
        return _is_call(item)
    return editable(item) is not None


def args_schema(item: ReviewItem) -> dict[str, Any] | None:
    """What the arguments of an edited call have to fit; None where nothing is said."""
    found: object = item.payload.get("schema") if _is_call(item) else None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def described(item: ReviewItem) -> str:
    """The question, its reasons and its confidence in plain words.

    Inboxes show this as Markdown. Whoever wrote the question must not have them load a picture or show a link.
    """
    lines = [item.question, *(f"- {reason}" for reason in item.reasons), f"Confidence: {item.confidence:.2f}"]
    return "\n\n".join(_MARKUP.sub(r"\\\1", line) for line in lines)


def decision_of(
    item: ReviewItem, action: str, reviewer: str, reason: str = "", payload: object = None
) -> ReviewDecision:
    """An answer, checked.

    Raises:
        InputError: it is none, or no answer to this question.
    """
    given = {"action": action, "reviewer": reviewer, "reason": reason, "payload": payload}
    try:
        decision = ReviewDecision.model_validate(given)
    except ValidationError as error:
        raise InputError(first_problem(error, "answer")) from None
    if (why := why_unusable(item, decision)) is not None:
        raise InputError(why, remedy="Correct the edit, or accept or reject what is shown.")
    return decision


def edited(item: ReviewItem, given: Action, reviewer: str) -> ReviewDecision:
    """An edit of what was shown.

    Raises:
        InputError: there is nothing to edit, it is another action, or it does not fit.
    """
    shown = action_of(item)
    if not can_edit(item):
        raise InputError("this can only be accepted or rejected")
    if given.name != shown.name:
        raise InputError(f"an edit changes the arguments of {shown.name}, and does nothing else")
    payload = {"capability": shown.name, "arguments": given.args} if _is_call(item) else given.args
    return decision_of(item, "edit", reviewer, payload=payload)


def edited_action(item: ReviewItem, decision: ReviewDecision) -> Action:
    """The action that an edit asks for: the other way round."""
    payload = decision.payload or {}
    return Action(action_of(item).name, payload["arguments"] if _is_call(item) else payload)


def check_shown(item: ReviewItem, given: Action) -> None:
    """Let an acceptance pass that repeats what it accepts, if that is what is asked.

    Raises:
        StaleDecision: something else is asked.
    """
    if given != action_of(item):
        raise StaleDecision(f"review item {item.id} asks something else than what was accepted")


def _is_call(item: ReviewItem) -> bool:
    return isinstance(item.payload.get("capability"), str) and isinstance(item.payload.get("arguments"), dict)
