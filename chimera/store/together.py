"""Whoever writes or asks at the same time in one process shares a transaction: who gets the turn acts for all."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from chimera.core.errors import StoreFull, StoreUnavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")
MOST = 2_000
"""Items of one transaction."""


class Together(Generic[Item, Answer]):
    """Hands items that come at the same time to ``write`` in one call, one call at a time, in the order they came.

    ``write`` answers each item, in order. When it fails for several, each is written alone, unless the store itself
    has failed; so an item that cannot be written fails for whoever brought it.
    """

    def __init__(self, write: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]]) -> None:
        self._write = write
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._turn = asyncio.Lock()
        self._settling: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Answer:
        """Return the answer once the item is written; raises what ``write`` raised for it.

        Who is cancelled leaves the item to be written or not, and takes nobody else's along.
        """
        mine: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, mine))
        async with self._turn:
            while not mine.done():
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                self._settling = asyncio.create_task(self._settle(batch))
                await asyncio.shield(self._settling)
        return await mine

    async def settled(self) -> None:
        """Return when nothing is being written, also of those who were cancelled in the middle of it."""
        while self._settling is not None and not self._settling.done():
            await asyncio.wait([self._settling])

    async def _settle(self, batch: Sequence[tuple[Item, "asyncio.Future[Answer]"]]) -> None:
        try:
            answers = await self._write([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - told to all who wait: none may believe that it was written
            if len(batch) > 1 and not isinstance(error, StoreUnavailable | StoreFull):
                for one in batch:
                    await self._settle([one])
                return
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # read once here, so that a waiter that went away leaves no warning
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)
