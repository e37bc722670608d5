"""Whoever writes or asks at the same time in one process shares a transaction, whatever it is about.

While one transaction is under way, what comes next gathers; so the busier it is, the more each of them carries. Where
many share one, the next begins a little later still: a transaction costs as much as several of the items in it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

from chimera.core.errors import LeaseLost, StoreFull, StoreUnavailable

Place = TypeVar("Place")
Item = TypeVar("Item")
Answer = TypeVar("Answer")
MOST = 2_000
"""Items of one kind in one transaction."""
MOST_BYTES = 16_000_000
"""Their size, so that nobody waits behind a huge one."""
MANY, SPACED_S = 8, 0.02
"""From the beginning of a transaction that carries many items to that of the next one; fewer never wait for it."""
_GONE = (StoreUnavailable, StoreFull)


class Turns(Generic[Place]):
    """One transaction after the other, each for all that waits when it begins. ``opened`` opens one."""

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[Place]]) -> None:
        self._opened = opened
        self._asking: dict[Together[Place, Any, Any], None] = {}
        self._acting: asyncio.Task[None] | None = None
        self._next = 0.0

    def ask(self, together: "Together[Place, Any, Any]") -> None:
        """Take its items along as soon as possible."""
        self._asking[together] = None
        if self._acting is None:
            self._acting = asyncio.create_task(self._act())

    async def settled(self) -> None:
        """Return when nothing is being written, also of those who were cancelled in the middle of it."""
        while self._acting is not None:
            await asyncio.wait([self._acting])

    async def _act(self) -> None:
        try:
            time = asyncio.get_running_loop().time
            while self._asking:
                await asyncio.sleep(max(self._next - time(), 0.0))
                began = time()
                carried = await self._carry_out(())
                self._next = began + SPACED_S if carried >= MANY else 0.0
        finally:
            self._acting = None

    async def _carry_out(self, batches: "Sequence[_Batch[Place]]") -> int:
        """Write the batches, or what waits once the transaction is open, as a whole; else each as far as it can be.

        Returns:
            How many items they had.
        """
        try:
            async with self._opened() as place:
                batches = batches or self._gathered()
                answers = [await batch.together.write(place, batch.items) for batch in batches]
        except Exception as error:  # noqa: BLE001 - told to all who wait: none may believe that it was written
            batches = batches or self._gathered()
            for part in _parts(batches, error):
                await self._carry_out([part])
        else:
            for batch, found in zip(batches, answers, strict=True):
                batch.settle(found)
        return sum(len(batch.items) for batch in batches)

    def _gathered(self) -> "list[_Batch[Place]]":
        asking, self._asking = sorted(self._asking, key=lambda each: each.last), {}
        batches = [each.take() for each in asking]
        self._asking.update((each, None) for each in asking if each.waits)
        return batches


class Together(Generic[Place, Item, Answer]):
    """Hands items of one kind that come at the same time to ``write`` in one call, in the order they came.

    ``write`` answers each item, in order, in a transaction that others write in as well. When it fails, each item that
    cannot be written fails for whoever brought it, and for nobody else; when the store itself has failed, all do.
    ``kept``: told of items and answers once they are on disk, before those who wait are. ``size``: bytes of an item.
    ``last``: written after what others write, as it holds what other processes wait for.
    """

    def __init__(
        self,
        turns: Turns[Place],
        write: Callable[[Place, Sequence[Item]], Awaitable[Sequence[Answer]]],
        *,
        kept: Callable[[Sequence[Item], Sequence[Answer]], None] | None = None,
        size: Callable[[Item], int] | None = None,
        last: bool = False,
    ) -> None:
        self.write = write
        self.kept = kept
        self.last = last
        self._turns = turns
        self._size = size
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []

    async def submit(self, item: Item) -> Answer:
        """Return the answer once the item is written; raises what ``write`` raised for it.

        Who is cancelled leaves the item to be written or not, and takes nobody else's along.
        """
        mine: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, mine))
        self._turns.ask(self)
        return await mine

    async def settled(self) -> None:
        """Return when nothing is being written, also of those who were cancelled in the middle of it."""
        await self._turns.settled()

    @property
    def waits(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._waiting)

    def take(self) -> "_Batch[Place]":
        """What goes into one transaction."""
        count = MOST
        if self._size is not None:
            size = count = 0
            while count < min(len(self._waiting), MOST) and size < MOST_BYTES:
                size += self._size(self._waiting[count][0])
                count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return _Batch(self, batch)


class _Batch(Generic[Place]):
    """Items of one kind in one transaction, and who waits for them."""

    def __init__(
        self, together: Together[Place, Any, Any], waiting: Sequence[tuple[Any, "asyncio.Future[Any]"]]
    ) -> None:
        self.together = together
        self.items = [item for item, _ in waiting]
        self._waiting = waiting

    def settle(self, answers: Sequence[Any]) -> None:
        """Give each its answer."""
        if self.together.kept is not None:
            self.together.kept(self.items, answers)
        for (_, future), answer in zip(self._waiting, answers, strict=True):
            if not future.done():  # whoever waited may have been cancelled
                future.set_result(answer)

    def fail(self, error: Exception) -> None:
        """Tell everybody."""
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(error)
                future.exception()  # read once here, so that a waiter that goes away now leaves no warning

    def halves(self) -> "list[_Batch[Place]]":
        """The same in two."""
        middle = len(self._waiting) // 2
        return [_Batch(self.together, half) for half in (self._waiting[:middle], self._waiting[middle:])]


def _parts(batches: "Sequence[_Batch[Place]]", error: Exception) -> "Sequence[_Batch[Place]]":
    """What to write each by itself after all of it failed together; who has nothing more to hope for is told."""
    if not isinstance(error, _GONE):
        if len(batches) > 1:
            return batches
        if len(batches[0].items) > 1 and not isinstance(error, LeaseLost):
            return batches[0].halves()
    for batch in batches:
        batch.fail(error)
    return ()
