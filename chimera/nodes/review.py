"""Review: a question goes on the queue, waits for its human, and the answer goes on the record.

One interrupt in a step of its own, with no effect before it: a step runs again from its top when it is resumed.
"""

import json
from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import interrupt
from pydantic import ValidationError

from chimera.core.contracts import MissionStatus, ReviewDecision, ReviewItem
from chimera.core.errors import ConflictError
from chimera.core.ids import digest
from chimera.core.state import Plain, ReviewState
from chimera.nodes.context import Context
from chimera.review.answers import why_unusable


async def open_question(state: ReviewState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Put the question on the queue."""
    item, context = _item(state), runtime.context
    await context.reviews.open(item)
    await context.missions.set_status(item.mission_id, MissionStatus.WAITING)
    mission = await context.missions.context(item.mission_id)
    await context.record(
        item.mission_id,
        mission,
        "review.asked",
        "review",
        item=item.id,
        point=item.point,
        question=item.question,
        confidence=item.confidence,
    )
    return {}


async def ask_human(state: ReviewState) -> dict[str, Any]:
    """Wait for the answer. What is no answer is asked again; silence stays silence."""
    item = _item(state)
    while True:
        answer = interrupt(item.plain())
        try:
            given = {key: value for key, value in answer.items() if key != "item_id"}
            decision = ReviewDecision.model_validate(given)
        except (AttributeError, ValidationError):
            continue
        if answer.get("item_id", item.id) == item.id and why_unusable(item, decision) is None:
            return {"review_decision": decision.plain()}


async def record_answer(state: ReviewState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Close the question on the queue and put the answer on the record."""
    item, context = _item(state), runtime.context
    decision = ReviewDecision.model_validate(state.get("review_decision"))
    try:
        decision = await context.reviews.decide(item.id, decision)
    except ConflictError:  # somebody else was first, and the first answer counts
        decision = await context.reviews.decision(item.id) or decision
    await context.missions.set_status(item.mission_id, MissionStatus.RUNNING)
    await record_decision(context, item, decision)
    return {"review_decision": decision.plain()}


async def record_decision(context: Context, item: ReviewItem, decision: ReviewDecision) -> None:
    """Put an answer on the record."""
    mission = await context.missions.context(item.mission_id)
    await context.record(
        item.mission_id,
        mission,
        "review.answered",
        decision.reviewer,
        item=item.id,
        point=item.point,
        action=decision.action,
        reviewer=decision.reviewer,
        reason=decision.reason,
        **({} if decision.payload is None else {"payload": _digest(decision.payload)}),
    )


def _digest(edited: Plain) -> str:
    """What tells which edit it was; of a tool call that of its arguments, as on the guard's decision about them."""
    return digest(json.dumps(edited.get("arguments", edited), sort_keys=True))[:16]


def _item(state: ReviewState) -> ReviewItem:
    return ReviewItem.model_validate(state.get("review_item"))
