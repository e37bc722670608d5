"""Few agents compute at once, in the order they came, and whoever waits outside takes nobody's place.

Proves FR-369.
"""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from chimera.core.seats import MOST, Seats, away
from chimera.fleet.dispatch import AgentRun, LocalDispatch


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

    async with asyncio.timeout(40), asyncio.TaskGroup() as group:
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
    async with asyncio.timeout(40), asyncio.TaskGroup() as group:
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
    async with asyncio.timeout(40), seats.taken():
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

    async with asyncio.timeout(40), asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(agent())
    assert desk.most == 1


async def test_without_a_seat_there_is_none_to_give_back() -> None:
    async with away():
        pass


class Room(TypedDict, total=False):
    """What the agents of the next test have for a state."""

    result: dict[str, str]


@pytest.mark.parametrize(("leaves", "most"), [(False, MOST), (True, 2 * MOST)])
async def test_agents_compute_in_seats_and_leave_them_while_they_wait(leaves: bool, most: int) -> None:
    """What runs agents gives each a seat, whatever graph it has."""
    desk, others = Desk(), asyncio.Event()
    outside = 0

    async def work(state: Room) -> Room:
        nonlocal outside
        if not leaves:
            await desk.compute(rounds=50)
            return {"result": {"status": "done"}}
        async with away():
            outside += 1
            desk.most = max(desk.most, outside)
            if outside == 2 * MOST:
                others.set()
            await others.wait()
        return {"result": {"status": "done"}}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Room)
    builder.add_node("work", work)
    builder.add_edge(START, "work")
    dispatch = LocalDispatch(builder.compile(checkpointer=InMemorySaver()), limit=1_000)
    context = SimpleNamespace(settings=SimpleNamespace(agent_runner="stock"))
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for number in range(2 * MOST):
            group.create_task(dispatch.run(AgentRun(str(number), {"result": {}}, 5), context))
    assert desk.most == most
