"""Waiting for the ends of many runs at once: one look for all of them, when something was told or now and then."""

import asyncio
from contextlib import suppress

from chimera.core.errors import StoreError
from chimera.fleet.engine import Ended
from chimera.store.listening import Listener, heard
from chimera.store.runs import ENDED, RunStore

LOOK_S = 2.0
"""How often whoever waits looks by itself, should a notification be lost."""
_AT_ONCE = 1_000
_BREATH_S = 0.01  # what ends within a moment is looked at together


class Outcomes:
    """Those who wait in this process for runs to end."""

    def __init__(self, runs: RunStore, listener: Listener) -> None:
        self._runs = runs
        self._listener = listener
        self._waiting: dict[str, set[asyncio.Future[Ended]]] = {}
        self._due: set[str] = set()
        self._wake = asyncio.Event()

    async def wait(self, run_id: str, timeout_s: float) -> Ended | None:
        """The end of a run; None when the time is up."""
        ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(run_id, set()).add(ended)
        self._look_at(run_id)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    return await ended
            return None
        finally:
            self._waiting[run_id].discard(ended)
            if not self._waiting[run_id]:
                del self._waiting[run_id]

    def _look_at(self, run_id: str | None) -> None:
        """Look soon: at a run that somebody waits for, or at all of them."""
        if run_id is None:
            self._due |= self._waiting.keys()
        elif run_id in self._waiting:
            self._due.add(run_id)
        else:
            return
        self._wake.set()

    async def keep_looking(self) -> None:
        """Tell those who wait what ended, until cancelled."""
        loop = asyncio.get_running_loop()
        all_at = loop.time() + LOOK_S
        with self._listener.calls(ENDED, self._look_at):
            while True:
                await heard(self._wake, max(all_at - loop.time(), 0))
                if loop.time() >= all_at:
                    self._due |= self._waiting.keys()
                    all_at = loop.time() + LOOK_S
                due, self._due = self._due & self._waiting.keys(), set[str]()
                with suppress(StoreError):  # looked at again soon
                    await self._look(sorted(due))
                await asyncio.sleep(_BREATH_S)

    async def _look(self, ids: list[str]) -> None:
        for start in range(0, len(ids), _AT_ONCE):
            for row in await self._runs.over(ids[start : start + _AT_ONCE]):
                ended = Ended(row["state"], row["outcome"], row["error"])
                for future in self._waiting.get(row["id"], ()):
                    if not future.done():
                        future.set_result(ended)
