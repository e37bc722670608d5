"""The key as clients of LangGraph show it: ``x-api-key``."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

_KEY, _BEARER = b"x-api-key", b"authorization"


class ApiKey:
    """ASGI middleware: hands ``x-api-key`` on as a bearer key. With both, or with two, nobody is known."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            keys = [b"Bearer " + key.encode("latin-1") for key in Headers(scope=scope).getlist("x-api-key") if key]
            others = [pair for pair in scope["headers"] if pair[0].lower() != _KEY]
            scope = {**scope, "headers": [*others, *((_BEARER, key) for key in keys)]}
        await self._app(scope, receive, send)
