"""The pages as a part of the server: every page there is, in the order of the navigation."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from sse_starlette.sse import EventSourceResponse
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from chimera.app import App
from chimera.server.callers import Caller
from chimera.server.keeper import Keeper
from chimera.server.pages.admin import AdminPage
from chimera.server.pages.audit import AuditPage
from chimera.server.pages.deciding import DecidingPage
from chimera.server.pages.fleet import FleetPage
from chimera.server.pages.incidents import IncidentsPage
from chimera.server.pages.live import Live
from chimera.server.pages.login import LoginPage
from chimera.server.pages.missions import MissionsPage
from chimera.server.pages.money import MoneyPage
from chimera.server.pages.queue import QueuePage
from chimera.server.pages.shell import HEADERS, STATIC, Page, Shell
from chimera.server.pages.signon import SignOnPage
from chimera.server.pages.tools import ToolsPage
from chimera.server.pages.visitors import Visitor, Visitors
from chimera.server.parts import Part

PAGES: Sequence[Callable[[Shell], Page]] = (
    QueuePage,
    DecidingPage,
    MissionsPage,
    FleetPage,
    MoneyPage,
    ToolsPage,
    IncidentsPage,
    AuditPage,
    LoginPage,
    SignOnPage,
    AdminPage,
)
"""Every page. One with a ``section`` is in the navigation."""
_KEEP_ALIVE_S = 15


class _Static(StaticFiles):
    """Files that browsers keep for an hour."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update({**HEADERS, "Cache-Control": "max-age=3600"})
        return response


async def pages_part(app: App, keeper: Keeper, everybody: Caller | None) -> Part:
    """The pages. ``everybody``: who visitors are where nobody is asked."""
    oversight, live = app.context.oversight, Live()
    roles: tuple[str, ...] = ()
    if everybody is not None:
        await oversight.people.look(everybody.tenant, everybody.name)  # the local user is there from the first look on
        found = await oversight.principals.find(everybody.tenant, everybody.name)
        roles = found.roles if found is not None else ()
    shell = Shell(app, keeper, Visitors(oversight.accounts, everybody, roles), live)
    pages = [made(shell) for made in PAGES]
    shell.sections.extend(page.section for page in pages if page.section is not None)

    async def first(_request: Request, _known: Visitor) -> Response:
        return RedirectResponse(shell.sections[0].path, 303, HEADERS)

    async def changes(_request: Request, _known: Visitor) -> Response:
        return EventSourceResponse(live.changes(), ping=_KEEP_ALIVE_S, headers={"X-Content-Type-Options": "nosniff"})

    @asynccontextmanager
    async def opened() -> AsyncGenerator[None]:
        async with live.open(app.database_url):
            yield

    routes: list[BaseRoute] = [
        Route("/", shell.reading(first), methods=["GET"]),
        Route("/live", shell.reading(changes), methods=["GET"]),
        Mount("/static", _Static(directory=STATIC)),
        *[route for page in pages for route in page.routes()],
    ]
    return Part("pages", routes, opened)
