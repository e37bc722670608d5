"""Search over all tools that are known: the index, what was used before, and a dense model if there is one."""

import asyncio
from collections.abc import Iterable, Sequence

from chimera.core.clock import Clock
from chimera.store.outcomes import OutcomeStore
from chimera.tools.discovery.dense import Dense
from chimera.tools.discovery.documents import ToolDocument
from chimera.tools.discovery.index import Allowed, Hit, Nearness, ToolIndex
from chimera.tools.discovery.outcomes import STEMS_MAX, Outcomes
from chimera.tools.discovery.words import stems

CATCH_UP_S = 3.0
"""What a search spends on vectors of tools that are new; those that are left are made by the next ones."""
LOOKED_AT = 60
"""Hits that are ranked; whoever asks sees the first of them that he may use."""


class Finder:
    """The index of one process. It is searched and changed off the event loop, by one at a time."""

    def __init__(self, outcomes: OutcomeStore, clock: Clock, dense: Dense | None = None) -> None:
        self._index = ToolIndex()
        self._outcomes = outcomes
        self._clock = clock
        self._dense = dense
        self._alone = asyncio.Lock()

    async def put(self, server: str, documents: Iterable[ToolDocument]) -> None:
        """Replace what a server has."""
        found = list(documents)
        async with self._alone:
            await asyncio.to_thread(self._index.put, server, found)
        if self._dense is not None:
            self._dense.put({one.name: one.text() for one in found})

    async def drop(self, server: str) -> None:
        """Forget a server."""
        async with self._alone:
            self._index.drop(server)

    async def search(self, query: str, allowed: Allowed, tenant: str) -> list[Hit]:
        """What answers a request best, best first, for one tenant; up to ``LOOKED_AT``."""
        outcomes = await self._used(query, tenant)
        vectors = None
        if self._dense is not None:
            await self._dense.catch_up(CATCH_UP_S)
            vectors = await self._near(query, allowed, self._dense)
        async with self._alone:
            return await asyncio.to_thread(self._index.search, query, LOOKED_AT, allowed, vectors, outcomes)

    async def _near(self, query: str, allowed: Allowed, dense: Dense) -> Sequence[Nearness] | None:
        async with self._alone:
            look = await asyncio.to_thread(self._index.look, query, allowed)
        return await dense.near(query, [entry.document.name for entry in look.entries])

    async def _used(self, query: str, tenant: str) -> Outcomes:
        """What is known of the tools that were used for words of this request."""
        asked = list(dict.fromkeys(stems(query)))[:STEMS_MAX]
        found = Outcomes(now=lambda: self._clock.now().timestamp())
        for row in await self._outcomes.of(tenant, asked) if asked else []:
            found.counted(row["tool"], row["stem"], row["worked"], row["failed"], row["counted_at"].timestamp())
        return found
