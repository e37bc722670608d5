"""What stands before everything that the server offers: requests have to mean this server, and to be of a sane size."""

from collections.abc import Collection
from urllib.parse import urlsplit

from mcp.server.transport_security import RequestBodyLimitMiddleware
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from chimera.core.errors import InputError
from chimera.server.bearer import refusal

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Doors:
    """ASGI middleware: refuses what a web page could make a browser send (DNS rebinding), and what is too large.

    ``hosts``: what the ``Host`` of a request may be, with its port or for any port; ``origins``: which web pages may
    call. A request without ``Origin`` comes from no web page. ``open_to_all``: paths that are asked without a name.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Collection[str],
        origins: Collection[str],
        max_bytes: int,
        open_to_all: Collection[str],
    ) -> None:
        self._hosts = {host.lower() for host in hosts}
        self._origins = {origin.lower().rstrip("/") for origin in origins}
        self._open = frozenset(open_to_all)
        self._app = RequestBodyLimitMiddleware(app, max_bytes)
        self._plain = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403, 413 or 421."""
        if scope["type"] != "http":
            await self._plain(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["path"] not in self._open and not self._is_meant(headers.getlist("host")):
            error = InputError("this server has another name", remedy="Add the name to CHIMERA_SERVER_HOSTS.")
            await refusal(421, error)(scope, receive, send)
        elif not all(origin.lower().rstrip("/") in self._origins for origin in headers.getlist("origin")):
            error = InputError("web pages of that origin may not call", remedy="Add it to CHIMERA_SERVER_ORIGINS.")
            await refusal(403, error)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_meant(self, given: list[str]) -> bool:
        if len(given) != 1:
            return False
        host = given[0].lower()
        return host in self._hosts or without_port(host) in self._hosts


def without_port(host: str) -> str:
    """The name of a ``Host`` header; of an IPv6 address with its brackets."""
    try:
        parts = urlsplit(f"//{host}")
        name = parts.hostname or ""
        _ = parts.port
    except ValueError:
        return ""
    return f"[{name}]" if ":" in name else name
