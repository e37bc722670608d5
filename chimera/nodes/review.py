"""Review: a question goes on the queue, waits for its human, and the answer goes on the record.

One interrupt in a step of its own, with no effect before it: a step runs again from its top when it is resumed. Who may
answer is asked in the step after it, once: what was refused stays refused, whatever its author may later.
"""

from typing import Any, Literal

from langgraph.runtime import Runtime
from langgraph.types import interrupt
from pydantic import ValidationError

from chimera.core.contracts import MissionStatus, ReviewDecision, ReviewItem
from chimera.core.errors import ConflictError, GuardRejected, InputError
from chimera.core.state import ReviewState
from chimera.nodes.context import Context
from chimera.review.answers import why_unusable


async def open_question(state: ReviewState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Put the question on the queue."""
    item, context = _item(state), runtime.context
    mission_id = _mission_of(item)
    await context.reviews.open(item)
    await context.missions.set_status(mission_id, MissionStatus.WAITING)
    mission = await context.missions.context(mission_id)
    await context.record(
        mission_id,
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
        if isinstance(answer, dict) and "asks" in answer:
            return {"review_decision": None}  # what was asked is on the queue, and counts only from there
        try:
            given = {key: value for key, value in answer.items() if key != "item_id"}
            decision = ReviewDecision.model_validate(given)
        except (AttributeError, ValidationError):
            continue
        if answer.get("item_id", item.id) == item.id and why_unusable(item, decision) is None:
            return {"review_decision": decision.plain()}


async def record_answer(state: ReviewState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Close the question on the queue and put the answer on the record; one of somebody who may not give it is none."""
    item, context = _item(state), runtime.context
    decision = ReviewDecision.model_validate(state.get("review_decision"))
    try:
        await context.oversight.decisions.answer(item.id, decision)
    except ConflictError:  # somebody else was first, and the first answer counts; or has it claimed, and none does yet
        pass
    except GuardRejected as refused:
        about = {"item": item.id, "reviewer": decision.reviewer, "reason": refused.message}
        await context.events.publish(_mission_of(item), "review.refused", **about)
        return {"review_decision": None}
    kept = await context.reviews.hand_over(item.id)
    if kept is None:  # it needs more people, can be taken back still, or is somebody else's: silence so far
        return {"review_decision": None}
    await context.missions.set_status(_mission_of(item), MissionStatus.RUNNING)
    await tell_decision(context, item, kept)
    return {"review_decision": kept.plain()}


def after_ask(state: ReviewState) -> Literal["record", "explain"]:
    """On with the answer, or to whoever did the work with what was asked back."""
    return "record" if state.get("review_decision") else "explain"


def after_record(state: ReviewState) -> Literal["ask", "__end__"]:
    """On with the answer; or the question is asked again."""
    return "__end__" if state.get("review_decision") else "ask"


async def tell_decision(context: Context, item: ReviewItem, decision: ReviewDecision) -> None:
    """Tell those who watch the mission of an answer. It is on the record already."""
    about = {"item": item.id, "point": item.point, "action": decision.action}
    await context.events.publish(
        _mission_of(item), "review.answered", **about, reviewer=decision.reviewer, reason=decision.reason
    )


def _mission_of(item: ReviewItem) -> str:
    if item.mission_id is None:
        raise InputError("a graph asks for a mission, and this question has none")
    return item.mission_id


def _item(state: ReviewState) -> ReviewItem:
    return ReviewItem.model_validate(state.get("review_item"))
