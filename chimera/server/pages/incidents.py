"""Incidents: what critical things agents tried, whom that holds back, and the human who lets them go on."""

from collections.abc import Sequence
from contextlib import suppress

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from chimera.core.errors import InputError
from chimera.server.pages.boards import WATCH, require_shown
from chimera.server.pages.shell import HEADERS, Section, Shell
from chimera.server.pages.visitors import Visitor
from chimera.store.audit.owasp import risk_of, risks
from chimera.store.incidents import Incident

SECTION = Section("Incidents", "/incidents", WATCH)


class IncidentsPage:
    """The incidents of the visitor's tenant."""

    section: Section | None = SECTION

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._oversight = shell.app.context.oversight

    def routes(self) -> Sequence[BaseRoute]:
        """What it answers."""
        read, change = self._shell.reading, self._shell.changing
        return [
            Route("/incidents", read(self._listed), methods=["GET"]),
            Route("/incidents/{incident}", read(self._one), methods=["GET"]),
            Route("/incidents/{incident}/release", change(self._release), methods=["POST"]),
        ]

    async def _listed(self, request: Request, known: Visitor) -> Response:
        require_shown(SECTION, known)
        everything = request.query_params.get("all") == "1"
        found = await self._oversight.incidents.listed(tenant=known.tenant, released=everything)
        first = sorted(found, key=lambda one: one.state != "open")
        return self._shell.render(request, "incidents.html", known, incidents=first, everything=everything)

    async def _one(self, request: Request, known: Visitor) -> Response:
        found = await self._found(request, known)
        risk = risk_of(found.rule)
        about = f"{risk} {risks()[risk]}" if risk else ""
        return self._shell.render(request, "incident.html", known, incident=found, risk=about)

    async def _release(self, request: Request, known: Visitor) -> Response:
        found = await self._found(request, known)
        reason = str((await request.form()).get("reason", ""))
        await self._oversight.decisions.release(found.id, known.name, reason)
        return RedirectResponse(f"/incidents/{found.id}", 303, HEADERS)

    async def _found(self, request: Request, known: Visitor) -> Incident:
        """The incident of a request; of another tenant there is none.

        Raises:
            InputError: there is none. GuardRejected: the visitor sees no incidents.
        """
        require_shown(SECTION, known)
        named = request.path_params["incident"]
        with suppress(InputError):  # in the same words, whether nobody has it or another tenant
            found = await self._oversight.incidents.find(named)
            if found.id == named and found.tenant == known.tenant:
                return found
        raise InputError("no such incident", remedy="The page of incidents lists them.")
