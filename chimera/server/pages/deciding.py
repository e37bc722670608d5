"""What reviewers do: approve, reject, edit, ask back, hand on, take back, one by one or many at once."""

import json
from collections.abc import Sequence
from typing import Any, Literal, cast

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from chimera.core.contracts import ReviewDecision, ReviewItem
from chimera.core.errors import InputError
from chimera.guards.bulk import Alike
from chimera.guards.decisions import Answered
from chimera.review.answers import editable, why_unusable
from chimera.server.pages.changed import changed_lines
from chimera.server.pages.planning import edited_plan, shown_plan
from chimera.server.pages.queue import QueuePage
from chimera.server.pages.shell import Section, Shell
from chimera.server.pages.visitors import Visitor

_REASON_MAX, _EDIT_MAX = 4_000, 500_000
_FIELDS_MAX = 2_000
"""A plan has up to 200 tasks, of up to seven fields each."""
Moves = Literal["claim", "release", "ask", "reassign", "escalate"]


class DecidingPage:
    """The forms of the queue."""

    section: Section | None = None

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._queue = QueuePage(shell)
        self._decisions = shell.app.context.oversight.decisions

    def routes(self) -> Sequence[BaseRoute]:
        """What it answers."""
        change = self._shell.changing
        return [
            Route("/reviews/bulk", change(self._bulk), methods=["POST"]),
            Route("/reviews/undo", change(self._undo), methods=["POST"]),
            Route("/reviews/{item}/decide", change(self._decide), methods=["POST"]),
            Route("/reviews/{item}/compare", change(self._compare), methods=["POST"]),
            Route("/reviews/{item}/move", change(self._move), methods=["POST"]),
        ]

    async def _decide(self, request: Request, known: Visitor) -> Response:
        """One answer. What comes back says what became of it, and until when it can be taken back."""
        form, card = await _form(request), await self._queue.seen(known, request.path_params["item"])
        action = _one_of(form, "action", ("approve", "reject", "edit"))
        said: dict[str, Any] = {"action": action, "reviewer": known.name, "reason": _text(form, "reason", _REASON_MAX)}
        if action == "edit":
            said["payload"] = await self._edited(card.item, form)
        if action == "reject" and not said["reason"]:
            raise InputError("a rejection needs a reason", remedy="It goes back to whoever did the work.")
        found = await self._decisions.answer(
            card.item.id, ReviewDecision.model_validate(said), version=_version(form), grace_s=self._grace()
        )
        return self._shell.render(request, "decided.html", known, answered=found, words=_words(found))

    async def _compare(self, request: Request, known: Visitor) -> Response:
        """What an edit would change, and whether it can be used."""
        form, card = await _form(request), await self._queue.seen(known, request.path_params["item"])
        edited = await self._edited(card.item, form)
        decision = ReviewDecision(action="edit", reviewer=known.name, payload=edited)
        lines = changed_lines(editable(card.item) or {}, edited)
        return self._shell.render(
            request, "compared.html", known, lines=lines, why=why_unusable(card.item, decision), card=card
        )

    async def _move(self, request: Request, known: Visitor) -> Response:
        """Claim it, let go, ask back, hand on or up; the card as it then stands."""
        form, card = await _form(request), await self._queue.seen(known, request.path_params["item"])
        desk, item, why = self._decisions.desk, card.item.id, _text(form, "why", _REASON_MAX)
        match _one_of(form, "to_do", ("claim", "release", "ask", "reassign", "escalate")):
            case "claim":
                await desk.claim(item, known.name)
            case "release":
                await desk.release(item, known.name)
            case "ask":
                await desk.ask(item, known.name, why)
            case "reassign":
                to = _text(form, "to", 200)
                await desk.reassign(item, known.name, to, why, version=_version(form))
            case _:
                await desk.escalate(item, known.name, why, version=_version(form))
        return await self._queue.shown(request, known, item)

    async def _bulk(self, request: Request, known: Visitor) -> Response:
        """One answer to all questions of a point and a kind, as far as they may be answered so."""
        form = await _form(request)
        point, kind = _text(form, "point", 40), _text(form, "kind", 40)
        action = cast("Literal['approve', 'reject']", _one_of(form, "action", ("approve", "reject")))
        done = await self._decisions.bulk.decide(
            Alike(known.tenant, point, kind), action, known.name, _text(form, "reason", _REASON_MAX)
        )
        return self._shell.render(request, "decided_many.html", known, done=done, action=action)

    async def _undo(self, request: Request, known: Visitor) -> Response:
        """Take an answer back, or a bulk decision."""
        form = await _form(request)
        item, batch = _text(form, "item", 60), _text(form, "batch", 60)
        if item:
            card = await self._queue.seen(known, item)
            back = await self._decisions.desk.undo(known.name, item_id=card.item.id)
        else:
            for asked in (await self._shell.app.context.reviews.of_batch(batch))[:1]:
                await self._queue.seen(known, asked.item.id)
            back = await self._decisions.desk.undo(known.name, batch=batch)
        return self._shell.render(request, "undone.html", known, count=len(back))

    async def _edited(self, item: ReviewItem, form: FormData) -> dict[str, Any]:
        """What goes on instead: a plan by its fields, everything else as JSON."""
        if shown_plan(item) is None:
            return _as_json(form)
        tools = await self._shell.app.context.tools.capabilities()
        return edited_plan(item, {name: str(value) for name, value in form.items()}, (tool.name for tool in tools))

    def _grace(self) -> float:
        return self._shell.app.context.reviews.rules.grace_s


async def _form(request: Request) -> FormData:
    return await request.form(max_files=0, max_fields=_FIELDS_MAX, max_part_size=_EDIT_MAX)


def _text(form: FormData, name: str, most: int) -> str:
    return str(form.get(name, "")).strip()[:most]


def _one_of(form: FormData, name: str, known: Sequence[str]) -> str:
    given = _text(form, name, 40)
    if given not in known:
        raise InputError(f"{name} is one of {', '.join(known)}")
    return given


def _version(form: FormData) -> int | None:
    given = _text(form, "version", 20)
    return int(given) if given.isascii() and given.isdigit() else None


def _as_json(form: FormData) -> dict[str, Any]:
    try:
        found: object = json.loads(_text(form, "payload", _EDIT_MAX))
    except (ValueError, RecursionError):
        raise InputError("the edit is no JSON", remedy="Look for a missing comma or quote.") from None
    if not isinstance(found, dict):
        raise InputError("the edit is no JSON object")
    return cast("dict[str, Any]", found)


def _words(found: Answered) -> str:
    if found.state == "late":
        return "Too late: the mission had ended or gone on. Your answer is kept, and nothing comes of it."
    if found.state == "agreed":
        return f"You agreed. {found.missing} more have to."
    return {"approve": "Approved", "reject": "Rejected", "edit": "Edited"}[found.decision.action]
