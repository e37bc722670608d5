"""The review queue: what waits for a human, the most urgent first, and one question with all that is behind it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from chimera.core.contracts import ReviewPoint
from chimera.core.errors import InputError
from chimera.guards.reviewing import Reviewing
from chimera.guards.settling import question_entity
from chimera.review.answers import editable
from chimera.review.queue import Asked
from chimera.review.work import Card, Which
from chimera.server.pages.evidence import evidence_of
from chimera.server.pages.planning import as_fields, shown_plan
from chimera.server.pages.shell import HEADERS, Section, Shell
from chimera.server.pages.views import view_of
from chimera.server.pages.visitors import Visitor

SHOWN, MOST = 200, 2_000
"""Rows on the page, by default and at most: what is further down comes up as what is above is decided."""
_NOTHING = "no such question"


class QueuePage:
    """What waits for a human."""

    section: Section | None = Section("Review", "/reviews")

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def routes(self) -> Sequence[BaseRoute]:
        """What it answers."""
        read = self._shell.reading
        return [
            Route("/reviews", read(self._queue), methods=["GET"]),
            Route("/reviews/list", read(self._list), methods=["GET"]),
            Route("/reviews/marks", read(self._marks), methods=["GET"]),
            Route("/reviews/{item}", read(self._item), methods=["GET"]),
        ]

    async def _queue(self, request: Request, known: Visitor) -> Response:
        listed = await self._listed(request, known)
        points = [point.value for point in ReviewPoint]
        return self._shell.render(request, "queue.html", known, points=points, **listed)

    async def _list(self, request: Request, known: Visitor) -> Response:
        return self._shell.render(request, "queue_rows.html", known, **await self._listed(request, known))

    async def _marks(self, request: Request, known: Visitor) -> Response:
        """What the page looks at when something may have changed: it asks for rows only where they are new."""
        which, limit = self._which(request, known)
        marks = await self._desk.work.marks(known.tenant, which, limit=limit)
        return PlainTextResponse("\n".join(f"{item} {mark}" for item, mark in marks), headers=HEADERS)

    async def _listed(self, request: Request, known: Visitor) -> dict[str, Any]:
        which, limit = self._which(request, known)
        cards = await self._desk.work.listed(known.tenant, which, limit=limit)
        chosen = {"point": which.point, "kind": which.kind, "mine": which.assigned is not None, "limit": limit}
        return {"cards": cards, "chosen": chosen}

    def _which(self, request: Request, known: Visitor) -> tuple[Which, int]:
        asked = request.query_params
        point, kind = asked.get("point") or None, asked.get("kind") or None
        if point is not None and point not in list(ReviewPoint):
            raise InputError(f"there is no review point {point[:40]!r}")
        to = [known.name, *(f"role:{role}" for role in known.roles)] if asked.get("mine") == "1" else None
        return Which(point, kind, None, to), _count(asked.get("limit", ""))

    @property
    def _desk(self) -> Reviewing:
        return self._shell.app.context.oversight.decisions.desk

    async def _item(self, request: Request, known: Visitor) -> Response:
        return await self.shown(request, known, request.path_params["item"])

    async def shown(self, request: Request, known: Visitor, item: str) -> Response:
        """A question with all that is behind it."""
        card = await self.seen(known, item)
        context = self._shell.app.context
        notes, behind = await asyncio.gather(self._desk.notes(card.item.id), evidence_of(context, card))
        return self._shell.render(
            request,
            "item.html",
            known,
            card=card,
            view=view_of(card),
            notes=notes,
            behind=behind,
            editable=editable(card.item),
            plan=shown_plan(card.item),
            as_fields=as_fields,
        )

    async def seen(self, known: Visitor, item: str) -> Card:
        """A question of the visitor's tenant that he may see; of another tenant there is none.

        Raises:
            InputError: there is none.
        """
        oversight = self._shell.app.context.oversight
        card = await self._desk.card(item)
        if card.tenant != known.tenant:
            raise InputError(_NOTHING)
        asked = Asked(card.item, card.tenant, card.decision)
        await oversight.people.require(
            known.name, "review.read", question_entity(asked), known.tenant, mission_id=card.item.mission_id
        )
        return card


def _count(given: str) -> int:
    return min(int(given), MOST) if given.isascii() and given.isdigit() and given != "0" else SHOWN
