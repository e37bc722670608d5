"""What is behind a question: how far its mission is, what guards decided on the way, and how often this was asked."""

import asyncio
from dataclasses import dataclass
from typing import Any

from chimera.nodes.context import Context
from chimera.review.work import Card

_LAST = 40
_GUARDS = ("guard.", "verdict", "extracted", "money.", "permission.")


@dataclass(frozen=True)
class Evidence:
    """The trail of a question. ``mission``: its row; ``events``: what guards and judges said, newest first."""

    mission: dict[str, Any] | None
    events: list[dict[str, Any]]
    others: list[dict[str, Any]]


async def evidence_of(context: Context, card: Card) -> Evidence:
    """What is behind a question; of one that belongs to no mission, nothing."""
    mission_id = card.item.mission_id
    if mission_id is None:
        return Evidence(None, [], [])
    mission, events, asked = await asyncio.gather(
        context.missions.get(mission_id), context.audit.of_mission(mission_id), context.reviews.of_mission(mission_id)
    )
    decided = [event for event in events if str(event["kind"]).startswith(_GUARDS)]
    others = [one for one in asked if str(one["id"]) != card.item.id]
    return Evidence(mission, decided[: -_LAST - 1 : -1], others)
