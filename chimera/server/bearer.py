"""The door of what needs a key: no request passes without one that counts, at this moment, of somebody enrolled."""

import json
import logging
import math
from collections.abc import Callable, Mapping

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from chimera.core.errors import CallerBusy, CallerUnknown, ChimeraError
from chimera.server.callers import Caller, Callers

_LOG = logging.getLogger(__name__)
_KEY_MAX = 200


class KnownUser(AuthenticatedUser):
    """A caller as the SDK's sessions know him: a session belongs to the key that opened it, and to no other."""

    def __init__(self, caller: Caller) -> None:
        # Not the key itself: whoever gets hold of this object must not be able to call with it.
        super().__init__(
            AccessToken(token="", client_id=caller.key, scopes=[], subject=f"{caller.tenant}/{caller.name}")
        )
        self.caller = caller


Refuse = Callable[[int, ChimeraError, Mapping[str, str]], Response]
"""Tells a failure in the form that clients of an interface read: status, error and headers."""


class Bearer:
    """ASGI middleware: asks who calls, and lets nobody else in. ``refuse``: how whoever is not let in is told."""

    def __init__(self, app: ASGIApp, callers: Callers, refuse: Refuse | None = None) -> None:
        self._app = app
        self._callers = callers
        self._refuse: Refuse = refuse or refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its caller as ``scope["user"]``, or answer 401, 429 or 503."""
        if scope["type"] != "http":
            return
        try:
            caller = await self._callers.known(_key(Headers(scope=scope)))
        except CallerUnknown as error:
            _LOG.warning("a call was refused: %s", error)
            await self._refuse(401, error, {"WWW-Authenticate": 'Bearer realm="chimera", error="invalid_token"'})(
                scope, receive, send
            )
        except CallerBusy as error:
            wait = math.ceil(float(error.context.get("wait_s", 1)))
            await self._refuse(429, error, {"Retry-After": str(max(wait, 1))})(scope, receive, send)
        except ChimeraError as error:
            _LOG.warning("nobody can be let in: %s", error)
            await self._refuse(503, error, {"Retry-After": "5"})(scope, receive, send)
        else:
            await self._app({**scope, "user": KnownUser(caller)}, receive, send)


class Everybody:
    """ASGI middleware in the place of :class:`Bearer` where nobody is asked: all who reach it are one caller."""

    def __init__(self, app: ASGIApp, caller: Caller) -> None:
        self._app = app
        self._user = KnownUser(caller)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as this caller's."""
        await self._app({**scope, "user": self._user}, receive, send)


def refusal(status: int, error: ChimeraError, headers: Mapping[str, str] | None = None) -> Response:
    """An error as an HTTP answer."""
    body = json.dumps({"error": {"code": error.code, "message": error.message, "remedy": error.hint}})
    return Response(body, status, headers, media_type="application/json")


def _key(headers: Headers) -> str:
    """The key of a request.

    Raises:
        CallerUnknown: there is none, or more than one.
    """
    given = headers.getlist("authorization")
    scheme, _, key = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not 0 < len(key.strip()) <= _KEY_MAX:
        raise CallerUnknown("the request has no key")
    return key.strip()
