"""Seats: how many of a process's agents compute at once, however many there are.

An event loop with thousands of runnable tasks takes seconds for a round, and whoever waits for an answer that takes a
few rounds waits for many of them: deadlines of guards pass although nothing is slow. So an agent computes in a
seat only, and leaves it while it waits for a model or a tool. Those who wait for a seat get one in the order they came.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from types import TracebackType

MOST = 64
"""Enough that group commits stay large and the processor busy while some wait for Postgres."""


class Seats:
    """A number of seats, to be had in order."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self.free = asyncio.Semaphore(most)
        self.waiting = 0
        """How many wait for a seat now."""

    @property
    def room(self) -> int:
        """How many more may queue, before those who come wait long enough to be taken for stuck."""
        return max(0, self._most - self.waiting)

    @asynccontextmanager
    async def taken(self) -> AsyncGenerator[None]:
        """Have a seat for the length of the block, also in the tasks that are started in it."""
        seat = _Seat(self)
        await seat.take()
        token = _MINE.set(seat)
        try:
            yield
        finally:
            _MINE.reset(token)
            seat.give_back()


class away:  # noqa: N801 - used as `async with away():`
    """Give the seat back, if there is one, while something outside is waited for; have one again after the block.

    Of several tasks that share a seat, the first that leaves gives it back and the last that returns takes it.
    """

    __slots__ = ("_seat",)

    def __init__(self) -> None:
        self._seat = _MINE.get()

    async def __aenter__(self) -> None:
        if self._seat is not None:
            self._seat.away += 1
            self._seat.give_back()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._seat is None:
            return
        if kind is not None and issubclass(kind, asyncio.CancelledError):  # whoever is told to stop queues for nothing
            self._seat.away -= 1
        else:
            await self._seat.back()


class _Seat:
    """One seat, held or given back."""

    def __init__(self, seats: Seats) -> None:
        self._seats = seats
        self._held = False
        self.away = 0

    async def take(self) -> None:
        self._seats.waiting += 1
        try:
            await self._seats.free.acquire()
        finally:
            self._seats.waiting -= 1
        self._held = True

    async def back(self) -> None:
        self.away -= 1
        if not self.away and not self._held:
            await self.take()

    def give_back(self) -> None:
        if self._held:
            self._held = False
            self._seats.free.release()


_MINE: ContextVar[_Seat | None] = ContextVar("the seat that this task has", default=None)
