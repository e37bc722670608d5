"""Proves that a worker with a long queue before it claims no more than it can begin with. Proves FR-354.

What it claims and cannot begin with before it dies has lost a try for nothing.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from langgraph.runtime import RunControl

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
