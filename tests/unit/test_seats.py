"""Seats: few compute at once, in the order they came, and whoever waits outside takes nobody's place.

Proves FR-369.
"""

import asyncio

import pytest

from chimera.core.seats import Seats, away


class Desk:
    """Counts who computes."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def compute(self, rounds: int = 3) -> None:
        """Be busy for some rounds of the loop."""
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(rounds):
            await asyncio.sleep(0)
        self.now -= 1


async def test_no_more_compute_at_once_than_there_are_seats() -> None:
    seats, desk, served = Seats(2), Desk(), list[int]()

    async def agent(number: int) -> None:
        async with seats.taken():
            served.append(number)
            await desk.compute()

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(agent(number))
    assert desk.most == 2
    assert served == list(range(20))


async def test_whoever_waits_outside_takes_nobodys_place() -> None:
    seats, desk, answered = Seats(1), Desk(), asyncio.Event()
    outside = 0

    async def agent() -> None:
        nonlocal outside
        async with seats.taken():
            await desk.compute()
            async with away():
                outside += 1
                if outside == 10:
                    answered.set()
                await answered.wait()
            await desk.compute()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(agent())
    assert desk.most == 1


async def test_tasks_that_share_a_seat_have_it_again_when_the_last_is_back() -> None:
    seats, first, second = Seats(1), asyncio.Event(), asyncio.Event()
    began = asyncio.Event()

    async def call(answer: asyncio.Event) -> None:
        async with away():
            await answer.wait()

    async def agent() -> None:
        async with seats.taken(), asyncio.TaskGroup() as group:
            group.create_task(call(first))
            group.create_task(call(second))

    async def another() -> None:
        async with seats.taken():
            began.set()
            await done.wait()

    done = asyncio.Event()
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        sharing = group.create_task(agent())
        group.create_task(another())
        await began.wait()
        first.set()
        second.set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not sharing.done()  # both are back, and wait for the seat that somebody else has
        done.set()


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_a_seat_is_free_again_whatever_happened_outside(error: type[BaseException]) -> None:
    seats = Seats(1)
    with pytest.raises(error):
        async with seats.taken(), away():
            raise error
    async with asyncio.timeout(5), seats.taken():
        pass


async def test_a_call_that_failed_goes_on_in_its_seat() -> None:
    seats, desk = Seats(1), Desk()

    async def refused() -> None:
        async with away():
            await asyncio.sleep(0)
            raise ValueError("refused")

    async def agent() -> None:
        async with seats.taken():
            for _ in range(3):
                with pytest.raises(ValueError, match="refused"):
                    await refused()
                await desk.compute()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(agent())
    assert desk.most == 1


async def test_without_a_seat_there_is_none_to_give_back() -> None:
    async with away():
        pass
