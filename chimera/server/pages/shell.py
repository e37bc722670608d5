"""What all pages share: the templates, the navigation, the headers, and who may see what."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute

from chimera.app import App
from chimera.core.errors import (
    CallerBusy,
    ChimeraError,
    ConflictError,
    FormRefused,
    GuardRejected,
    InputError,
    InvitationOver,
    LoginBusy,
    LoginRefused,
    MissionNotFound,
    SignOnFailed,
    StoreError,
)
from chimera.server.keeper import Keeper
from chimera.server.pages.live import Live
from chimera.server.pages.visitors import Visitor, Visitors, check_form
from chimera.server.pages.words import FILTERS

STATIC = Path(__file__).parent / "static"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with none, a browser says of a form that it comes from nowhere
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_STATUS: tuple[tuple[type[ChimeraError], int], ...] = (
    (LoginBusy, 429),
    (LoginRefused, 403),
    (InvitationOver, 410),
    (FormRefused, 403),
    (SignOnFailed, 502),
    (GuardRejected, 403),
    (ConflictError, 409),
    (CallerBusy, 429),
    (MissionNotFound, 404),
    (InputError, 422),
    (StoreError, 503),
)
Endpoint = Callable[[Request], Awaitable[Response]]
Shown = Callable[[Request, Visitor], Awaitable[Response]]


@dataclass(frozen=True)
class Section:
    """One entry of the navigation. ``roles``: who sees it, ``tenant``: of which; empty: everybody."""

    title: str
    path: str
    roles: frozenset[str] = frozenset()
    tenant: str = ""

    def shown_to(self, known: Visitor) -> bool:
        """Whether somebody sees it. What he may do there is asked when he does it."""
        is_there = not self.tenant or self.tenant == known.tenant
        return is_there and (not self.roles or bool(self.roles & set(known.roles)))


class Page(Protocol):
    """One subject: its routes, and where it stands in the navigation, if it does."""

    section: Section | None

    def routes(self) -> Sequence[BaseRoute]:
        """What it answers."""
        ...


class Shell:
    """Renders pages, and stands before their endpoints."""

    def __init__(self, app: App, keeper: Keeper, visitors: Visitors, live: Live) -> None:
        self.app = app
        self.keeper = keeper
        self.visitors = visitors
        self.live = live
        self.sections: list[Section] = []

    def render(
        self, request: Request, template: str, known: Visitor | None, status: int = 200, **shown: Any
    ) -> HTMLResponse:
        """A template as an answer. ``shown``: what it shows; all of it is escaped."""
        sections = [each for each in self.sections if known is not None and each.shown_to(known)]
        text = (
            _templates()
            .get_template(template)
            .render(
                request=request,
                visitor=known,
                sections=sections,
                asks=self.visitors.asks,
                sign_on=self.app.settings.oidc_title if self.app.settings.oidc_issuer else None,
                path=request.url.path,
                whole="hx-request" not in request.headers,
                **shown,
            )
        )
        return HTMLResponse(text, status, HEADERS)

    def origin(self, request: Request) -> str:
        """How browsers call this server: as the settings say, else as this request did (``Doors`` knows its name)."""
        named = self.app.settings.server_url
        return named.rstrip("/") if named else f"{request.url.scheme}://{request.headers['host']}"

    def is_safe(self, request: Request) -> bool:
        """Whether browsers come over TLS, so that cookies never go without it."""
        return self.origin(request).startswith("https://")

    def reading(self, endpoint: Shown) -> Endpoint:
        """A page that only shows: whoever is not logged in is sent to do so."""

        async def answered(request: Request) -> Response:
            return await self._answered(request, endpoint, changes=False)

        return answered

    def changing(self, endpoint: Shown) -> Endpoint:
        """A request that changes something: it has to come from a page of the visitor's."""

        async def answered(request: Request) -> Response:
            return await self._answered(request, endpoint, changes=True)

        return answered

    async def _answered(self, request: Request, endpoint: Shown, *, changes: bool) -> Response:
        known: Visitor | None = None
        try:
            known = await self.visitors.known(request)
            if known is None:
                return to_login(request)
            if changes:
                await check_form(request, known)
            return await endpoint(request, known)
        except ChimeraError as error:
            return self.failed(request, known, error)

    def failed(self, request: Request, known: Visitor | None, error: ChimeraError) -> Response:
        """An error as an answer: a page for people, and a line for what a page asked for."""
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
        if "hx-request" in request.headers:
            return PlainTextResponse(f"{error.message}. {error.hint}", status, {**HEADERS, "X-Code": error.code})
        return self.render(request, "error.html", known, status, error=error, status_code=status)


def to_login(request: Request) -> Response:
    """Send a browser to the login, and back afterwards; a part of a page that it asked for, too."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if "hx-request" in request.headers:
        return PlainTextResponse("You are logged out.", 401, {**HEADERS, "HX-Redirect": "/login"})
    if request.method != "GET":
        return PlainTextResponse("Log in first.", 401, HEADERS)
    return RedirectResponse(f"/login?next={quote(here, safe='')}", 303, HEADERS)


def own_path(given: str) -> str:
    """Where to go after the login: a path of this server, whatever was asked for."""
    parts = urlsplit(given)
    plain = given.startswith("/") and not given.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return given if plain and given.isprintable() and "\\" not in given else "/"


@cache
def _templates() -> Environment:
    found = Environment(
        loader=PackageLoader("chimera.server.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(FILTERS)
    return found
