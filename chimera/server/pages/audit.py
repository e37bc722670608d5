"""The record of the visitor's tenant: search, newest first, each event with its hashes."""

from collections.abc import Sequence
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from chimera.core.errors import InputError
from chimera.server.pages.boards import WATCH, require_shown, whole_number
from chimera.server.pages.shell import Section, Shell
from chimera.server.pages.visitors import Visitor
from chimera.store.audit.kinds import KINDS
from chimera.store.audit.search import Wanted, search_audit
from chimera.store.values import is_uuid

SECTION = Section("Audit", "/audit", WATCH)
WORDS_MAX = 200


class AuditPage:
    """Every decision that was made, and by whom."""

    section: Section | None = SECTION

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def routes(self) -> Sequence[BaseRoute]:
        """What it answers."""
        return [Route("/audit", self._shell.reading(self._page), methods=["GET"])]

    async def _page(self, request: Request, known: Visitor) -> Response:
        require_shown(SECTION, known)
        asked = request.query_params
        kind, mission = asked.get("kind") or None, (asked.get("mission") or "").strip() or None
        if mission is not None and not is_uuid(mission):
            raise InputError("a mission is named by its whole id", remedy="Copy it from the page of the mission.")
        words = asked.get("words", "").replace("\0", "").strip()[:WORDS_MAX] or None
        wanted = Wanted(known.tenant, kind, mission, words, whole_number(asked.get("before")))
        found = await search_audit(self._shell.app.pool, wanted)
        chosen = {"kind": kind or "", "mission": mission or "", "words": words or ""}
        return self._shell.render(
            request,
            "audit.html",
            known,
            events=found.events,
            chosen=chosen,
            before=wanted.before,
            further=f"?{urlencode({**chosen, 'before': found.further})}" if found.further is not None else None,
            kinds=KINDS.values(),
        )
