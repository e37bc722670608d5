"""Whether the process lives, and whether it can serve: asked of the parts themselves, each with a deadline."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from chimera.app import App
from chimera.core.errors import StoreUnavailable
from chimera.store.postgres import fetch_one

CHECK_S = 2.0
LIVE, READY = "/healthz", "/readyz"
Check = Callable[[], Awaitable[None]]
"""Raises, or takes too long, when a part cannot be used."""


class Health:
    """``/healthz``: this process answers. ``/readyz``: 200 when a call could be served now, else 503.

    ``needed``: parts without which nothing can be served; ``helpful``: parts whose absence is told and borne. Nothing
    is said about a part but whether it works: anybody may ask.
    """

    def __init__(self, needed: Mapping[str, Check], helpful: Mapping[str, Check]) -> None:
        self._needed = needed
        self._helpful = helpful
        self.closing = False

    def routes(self) -> list[Route]:
        """The two routes."""
        return [Route(LIVE, self._live, methods=["GET"]), Route(READY, self._ready, methods=["GET"])]

    async def _live(self, _: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def _ready(self, _: Request) -> JSONResponse:
        names = [*self._needed, *self._helpful]
        work = [_works(check) for check in (*self._needed.values(), *self._helpful.values())]
        found = dict(zip(names, await asyncio.gather(*work), strict=True))
        ready = not self.closing and all(found[name] for name in self._needed)
        parts = {name: "ok" if works else "away" for name, works in found.items()}
        body = {"ready": ready, "closing": self.closing, "parts": parts}
        return JSONResponse(body, 200 if ready else 503, {"Cache-Control": "no-store"})


async def _works(check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_S):
            await check()
    except Exception:  # noqa: BLE001 - whatever a part says, it cannot be used
        return False
    return True


def health_of(app: App) -> Health:
    """Health of an installation: Postgres is needed; without Redis work goes on, and live events are lost."""

    async def postgres() -> None:
        if await fetch_one(app.pool, "SELECT 1 AS alive") is None:
            raise StoreUnavailable

    return Health({"postgres": postgres}, {"redis": app.context.events.ping})
