"""Waits for a run: until its mission has a result, or asks something that nobody has answered."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from chimera.app import App
from chimera.core.contracts import Event
from chimera.core.tasks import stop
from chimera.nodes.ending import FINAL
from chimera.server.keeper import Keeper

LOOK_S = 0.1
BEAT_S = 15.0
WAIT_MAX_S = 86_400.0


@dataclass(frozen=True)
class Begun:
    """A run that was made, and the news of its mission from then on. ``said``: what became of each answer."""

    thread_id: str
    run_id: str
    mission_id: str | None
    news: "asyncio.Queue[Event]"
    said: dict[str, Any] = field(default_factory=dict[str, Any])


class Waiting:
    """Hears of runs until they are over for their clients."""

    def __init__(self, app: App, keeper: Keeper) -> None:
        self._app = app
        self._keeper = keeper

    async def parts(self, begun: Begun) -> AsyncGenerator[Event | None]:
        """The news of a run until it is over for its client; None from time to time, so that connections stay open.

        Raises:
            ChimeraError: its mission stopped, and can be resumed.
        """
        waiting = asyncio.create_task(self._over(begun.mission_id))
        try:
            while not waiting.done() or not begun.news.empty():
                if not begun.news.empty():
                    yield begun.news.get_nowait()
                    continue
                hearing = asyncio.ensure_future(begun.news.get())
                try:
                    await asyncio.wait({waiting, hearing}, timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
                    if hearing.done():
                        yield hearing.result()
                    elif not waiting.done():
                        yield None
                finally:
                    await stop(hearing)
            waiting.result()
        finally:
            await stop(waiting)

    async def _over(self, mission_id: str | None) -> None:
        """Return when a mission has a result, or nothing goes on in it until somebody does something."""
        if mission_id is None:
            return
        missions, reviews = self._app.context.missions, self._app.context.reviews
        until = asyncio.get_running_loop().time() + WAIT_MAX_S
        while (left := until - asyncio.get_running_loop().time()) > 0 and not self._keeper.closing.is_set():
            await self._keeper.wait(mission_id, left)
            row = await missions.get(mission_id)
            runs = self._keeper.has(mission_id) or await missions.attended(mission_id)
            # A mission that was begun on the command line is taken up there.
            goes_on = row["asked_by"] is not None and await reviews.goes_on(mission_id)
            if row["status"] in FINAL or not (runs or goes_on):
                return
            await asyncio.sleep(LOOK_S)
