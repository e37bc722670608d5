"""Explain: what a reviewer asked back is answered by the role that did the work, and goes on the queue.

The answer is words of a model: it passes the guard between agents, it decides nothing, and the question is asked again.
"""

from typing import Any

from langgraph.runtime import Runtime
from pydantic import BaseModel, Field

from chimera.core.contracts import Mission, ReviewItem
from chimera.core.errors import BudgetExceeded, GuardRejected, ModelError
from chimera.core.spotlight import Marks
from chimera.core.state import ReviewState
from chimera.nodes.briefing import Listener, quoted
from chimera.nodes.context import Context
from chimera.nodes.prompts import prompt
from chimera.review.answers import kind_of
from chimera.review.moves import Note

_REPLY_MAX = 4_000


class Reply(BaseModel):
    """What a role answers to a reviewer."""

    answer: str = Field(max_length=20_000, description="a few plain sentences")


async def explain(state: ReviewState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Answer what is asked back about a question; nothing when nothing is. A failure is an answer that says so."""
    item, context = ReviewItem.model_validate(state.get("review_item")), runtime.context
    desk = context.oversight.decisions.desk
    note, mission_id = await desk.open_note(item.id), str(item.mission_id)
    if note is None:
        return {}
    mission = await context.missions.context(mission_id)
    role = "planner" if kind_of(item) == "plan" else "worker"
    try:
        text = await _said(item, note, role, mission, context)
    except (ModelError, GuardRejected, BudgetExceeded) as error:
        text = f"[there is no answer: {error}]"
    listener = Listener("reviewer", mission_id, mission.plain())
    told = "\n".join(await quoted([text[:_REPLY_MAX]], listener, context))
    if await desk.reply(item.id, note.number, context.models.names(role)[0], told[:_REPLY_MAX]):
        await context.events.publish(mission_id, "review.replied", item=item.id, number=note.number)
    return {}


async def _said(item: ReviewItem, note: Note, role: str, mission: Mission, context: Context) -> str:
    """What the role's model says.

    Raises:
        ModelError: it cannot be asked, or gives no answer. GuardRejected: it may not be. BudgetExceeded: no more.
    """
    known = {"asked": note.question, "goal": mission.goal, "role": role}
    data = {
        "question": item.question,
        "shown": item.payload,
        "confidence": item.confidence,
        "reasons": item.reasons,
    }
    caller = context.caller(str(item.mission_id), role, mission.plain(), agent=f"{role}:explain/{item.id[:8]}")
    messages = Marks.made(context.new_id).request(prompt("explain"), known, data)
    return (await context.models.structured(caller, messages, Reply)).answer.strip() or "[the answer is empty]"
