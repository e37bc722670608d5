"""Tells the engine what became of runs, many in one statement, and again while Postgres is away."""

import asyncio
from collections import deque

from chimera.core.errors import ChimeraError, StoreError, StoreUnavailable
from chimera.fleet.engine import Engine
from chimera.store.runs import Ending

BATCH = 500
_PAUSE_S = 0.05
_PAUSE_MOST_S = 2.0


class Telling:
    """A queue of endings. It is as long as the worker has runs, at most."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._queue: deque[tuple[Ending, asyncio.Future[None]]] = deque()
        self._some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    async def tell(self, ending: Ending) -> None:
        """Return when it is recorded, or when the fence no longer holds, which makes it somebody else's to tell."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((ending, told))
        self._idle.clear()
        self._some.set()
        await told

    async def told(self) -> None:
        """Return when everything is recorded."""
        await self._idle.wait()

    async def tell_all(self) -> None:
        """Record what comes, until cancelled."""
        while True:
            await self._some.wait()
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            if batch:
                await self._record([ending for ending, _ in batch])
            for _, told in batch:
                if not told.done():
                    told.set_result(None)
            if not self._queue:
                self._some.clear()
                self._idle.set()

    async def _record(self, endings: list[Ending]) -> None:
        pause = _PAUSE_S
        while True:
            try:
                await self._engine.end(endings)
            except StoreUnavailable:
                await asyncio.sleep(pause)  # for as long as the turn lasts, which the lease limits
                pause = min(2 * pause, _PAUSE_MOST_S)
            except StoreError as error:
                await self._part(endings, error)
                return
            else:
                return

    async def _part(self, endings: list[Ending], error: StoreError) -> None:
        """One of them is refused: find out which, and record that one as failed."""
        if len(endings) > 1:
            middle = len(endings) // 2
            await self._record(endings[:middle])
            await self._record(endings[middle:])
        elif endings[0].how != "failed":
            refused = ChimeraError(f"what came out cannot be recorded: {error.message}")
            await self._record([Ending(endings[0].claim, "failed", error=refused.as_dict())])
        else:
            raise error
