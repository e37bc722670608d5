"""What a worker takes on: no more than it can begin with, and nothing once its turn is ending.

Proves FR-354: what it claims and cannot begin with before it dies has lost a try for nothing. Proves FR-344 in part.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from langgraph.runtime import RunControl

from chimera.core.errors import LeaseLost
from chimera.core.seats import MOST, Seats, away
from chimera.fleet.postgres_engine import open_postgres_engine
from chimera.fleet.worker import Body, Worker, WorkerPlan
from chimera.store.checkpoints.group import Lease
from chimera.store.postgres import open_pool
from chimera.store.runs import Claim, NewRun, RunStore

RUNS = 5 * MOST


async def test_a_worker_claims_what_it_can_begin_with(database_url: str) -> None:
    seats, going_on, calling = Seats(), asyncio.Event(), asyncio.Event()
    begun: set[str] = set()

    async def body(claim: Claim, _: RunControl) -> Mapping[str, Any]:
        begun.add(claim.id)
        async with seats.taken():
            await going_on.wait()
            async with away():
                await calling.wait()
        return {}

    @asynccontextmanager
    async def open_body(lease: Lease) -> AsyncGenerator[Body]:
        yield body

    async with open_pool(database_url, 4) as pool, open_postgres_engine(pool, database_url) as engine:
        await RunStore(pool).enqueue([NewRun(f"run-{number}", f"thread-{number}", {}) for number in range(RUNS)])
        worker = Worker(engine, open_body, WorkerPlan("one", concurrency=RUNS), seats=seats)
        working = asyncio.create_task(worker.run())

        async def until(reached: Callable[[], bool]) -> None:
            while not reached():  # noqa: ASYNC110 - a worker tells nobody that it claims nothing
                await asyncio.sleep(0.01)

        async with asyncio.timeout(60):
            await until(lambda: not seats.room)
            await asyncio.sleep(0.3)  # it goes on looking, many times
            assert len(begun) <= 3 * MOST < RUNS
            going_on.set()  # none computes any more, all wait for their models
            await until(lambda: len(begun) == RUNS)
            calling.set()
            await asyncio.gather(*(engine.ended(f"run-{number}", 30) for number in range(RUNS)))
            worker.drain()
            await working


async def test_what_is_claimed_while_the_turn_ends_is_left_to_the_next(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancellation can be lost on its way, as before Python 3.12; then the answer to a claim comes too late."""

    async def body(_: Claim, __: RunControl) -> Mapping[str, Any]:
        return {}

    @asynccontextmanager
    async def open_body(lease: Lease) -> AsyncGenerator[Body]:
        yield body

    async with open_pool(database_url, 4) as pool, open_postgres_engine(pool, database_url) as engine:
        worker = Worker(engine, open_body, WorkerPlan("one", ttl_s=1.0, poll_s=0.1))
        claim, renew = engine.claim, engine.renew

        async def deaf(*given: Any) -> list[Claim]:
            claims = await claim(*given)
            if worker.turns == 1:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)
            return claims

        async def lost(*given: Any) -> str:
            if worker.turns == 1:
                raise LeaseLost("taken away")
            return await renew(*given)

        monkeypatch.setattr(engine, "claim", deaf)
        monkeypatch.setattr(engine, "renew", lost)
        await engine.enqueue([NewRun("run", "thread", {})])
        working = asyncio.create_task(worker.run())
        ended = await engine.ended("run", 30)
        worker.drain()
        await working
    assert ended is not None
    assert (ended.state, worker.turns) == ("done", 2)
