"""The format of agent-inbox: ``HumanInterrupt`` and ``HumanResponse``, a list of each.

=========== ============================== =====================================================================
its answer  ours                           note
=========== ============================== =====================================================================
accept      approve                        if it repeats what it accepts, that has to be what is asked
edit        edit                           of the arguments, never of the action; it has to fit the tool's schema
response    reject, the text is the reason whoever did the work hears it, and tries again
ignore      none: the question stays open  silence is never an answer
=========== ============================== =====================================================================

An approval's and an edit's reason cannot be said in this format. agent-inbox shows what is no text as JSON in a field
for text, and sends that text back: where no text was shown, a text is read as JSON.
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from chimera.core.contracts import Contract, ReviewDecision, ReviewItem
from chimera.core.errors import InputError
from chimera.core.invalid import first_problem
from chimera.review.inbox.actions import (
    Action,
    action_of,
    can_edit,
    check_shown,
    decision_of,
    described,
    edited,
    edited_action,
)


class ActionRequest(Contract):
    """An action with its arguments."""

    action: str
    args: dict[str, Any]

    def meant(self, item: ReviewItem) -> Action:
        """As an action of ours."""
        shown = action_of(item).args
        return Action(self.action, {key: _meant(shown, key, value) for key, value in self.args.items()})


class Accept(Contract):
    """Yes."""

    type: Literal["accept"]
    args: ActionRequest | None = None


class Edit(Contract):
    """Yes, but with these arguments."""

    type: Literal["edit"]
    args: ActionRequest


class Respond(Contract):
    """What the human says instead."""

    type: Literal["response"]
    args: str


class Ignore(Contract):
    """Nothing."""

    type: Literal["ignore"]
    args: None = None


Response = Annotated[Accept | Edit | Respond | Ignore, Field(discriminator="type")]
_RESPONSES: TypeAdapter[list[Response]] = TypeAdapter(list[Response])


def human_interrupts(items: Sequence[ReviewItem]) -> list[dict[str, Any]]:
    """Questions as agent-inbox shows them. Ignoring is not offered: it would change nothing."""
    return [_interrupt(item) for item in items]


def _interrupt(item: ReviewItem) -> dict[str, Any]:
    action = action_of(item)
    allowed = {"allow_ignore": False, "allow_respond": True, "allow_edit": can_edit(item), "allow_accept": True}
    request = {"action": action.name, "args": action.args}
    return {"action_request": request, "config": allowed, "description": described(item)}


def answers(items: Sequence[ReviewItem], given: Any, reviewer: str) -> list[ReviewDecision | None]:
    """The answers to questions, one each and in their order; None: ignored.

    Raises:
        InputError: it is not this format, there are more or fewer answers than questions, or one does not fit.
        StaleDecision: something was accepted that is not asked.
    """
    try:
        responses = _RESPONSES.validate_python([given] if isinstance(given, dict) else given)
    except ValidationError as error:
        raise InputError(first_problem(error, "responses")) from None
    if len(responses) != len(items):
        raise InputError(f"{len(items)} questions take {len(items)} answers, not {len(responses)}")
    return [_answer(item, response, reviewer) for item, response in zip(items, responses, strict=True)]


def _answer(item: ReviewItem, response: Response, reviewer: str) -> ReviewDecision | None:
    match response:
        case Accept(args=repeated):
            if repeated is not None:
                check_shown(item, repeated.meant(item))
            return decision_of(item, "approve", reviewer)
        case Edit(args=request):
            return edited(item, request.meant(item), reviewer)
        case Respond(args=text):
            if not text.strip():
                raise InputError("a response says something", remedy="Say what is wrong, or accept.")
            return decision_of(item, "reject", reviewer, text)
        case Ignore():
            return None


def response_of(item: ReviewItem, decision: ReviewDecision | None) -> dict[str, Any]:
    """An answer of ours in this format."""
    if decision is None:
        return {"type": "ignore", "args": None}
    match decision.action:
        case "approve":
            return {"type": "accept", "args": None}
        case "reject":
            return {"type": "response", "args": decision.reason or "rejected"}
        case "edit":
            action, shown = edited_action(item, decision), action_of(item).args
            args = {
                key: json.dumps(value) if _is_json(shown, key, value) else value for key, value in action.args.items()
            }
            return {"type": "edit", "args": {"action": action.name, "args": args}}


def _is_json(shown: dict[str, Any], key: str, value: Any) -> bool:
    """Whether a value is a text where none was shown."""
    return isinstance(value, str) and key in shown and not isinstance(shown[key], str)


def _meant(shown: dict[str, Any], key: str, value: Any) -> Any:
    try:
        return json.loads(value) if _is_json(shown, key, value) else value
    except (ValueError, RecursionError):
        return value
