"""Logging in by a provider of OpenID Connect: the way there, and the way back."""

from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from chimera.core.errors import ChimeraError, SignOnFailed
from chimera.server.pages.shell import HEADERS, Endpoint, Section, Shell, own_path
from chimera.server.pages.visitors import keep
from chimera.server.signon.going import Going
from chimera.server.signon.provider import Provider, Registration

COOKIE = "chimera_going"
GOING_S = 600
"""How long somebody may take to log in elsewhere."""
THERE, BACK = "/login/there", "/login/back"
_CODE_MAX = 2_000
_Way = Callable[[Request, Provider], Awaitable[Response]]


class SignOnPage:
    """There and back, where the settings name a provider. What comes back ends in a session that is new."""

    section: Section | None = None

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        registration = Registration.of(shell.app.settings)
        self._provider = Provider(registration, shell.app.context.clock) if registration is not None else None

    def routes(self) -> Sequence[BaseRoute]:
        """What it answers."""
        if self._provider is None or not self._shell.visitors.asks:
            return []
        ways = ((THERE, self._there), (BACK, self._back))
        return [Route(path, self._answering(self._provider, way), methods=["GET"]) for path, way in ways]

    def _answering(self, provider: Provider, way: _Way) -> Endpoint:
        async def answered(request: Request) -> Response:
            try:
                self._shell.visitors.accounts.guessing.admit(request.client.host if request.client else "")
                return await way(request, provider)
            except ChimeraError as error:
                return self._shell.failed(request, None, error)

        return answered

    async def _there(self, request: Request, provider: Provider) -> Response:
        going = Going.begin(own_path(request.query_params.get("next", "/")))
        response = RedirectResponse(await provider.address(going, self._address(request)), 303, HEADERS)
        safe = self._shell.is_safe(request)
        # lax: the provider's redirect comes from another site, and has to bring it along.
        response.set_cookie(COOKIE, going.cookie, GOING_S, path=BACK, httponly=True, samesite="lax", secure=safe)
        return response

    async def _back(self, request: Request, provider: Provider) -> Response:
        told, going = request.query_params, Going.read(request.cookies.get(COOKIE, ""))
        if going is None or not going.is_it(told.get("state", "")):
            raise SignOnFailed(
                "this login did not begin in this browser, or too long ago", remedy="Begin it again: /login."
            )
        code = told.get("code", "")
        if "error" in told or not 0 < len(code) <= _CODE_MAX:
            raise SignOnFailed("the provider did not let you in", remedy="Begin it again: /login.")
        identity = await provider.identity(code, going, self._address(request), told.get("iss"))
        login = await self._shell.app.context.oversight.identities.login(identity)
        response = RedirectResponse(own_path(going.to), 303, HEADERS)
        response.delete_cookie(COOKIE, path=BACK)
        keep(response, login, self._shell.app.settings.server_session_s, safe=self._shell.is_safe(request))
        return response

    def _address(self, request: Request) -> str:
        return f"{self._shell.origin(request)}{BACK}"
