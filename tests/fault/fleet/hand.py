"""A worker process for the tests of the engines.

An order has the plan of the worker, its engine, where Postgres and NATS are, and by how much its clock is wrong. What a
run does is in its payload: it naps in steps, fails, or kills its process. Every start and every end is a row of the
table ``marks``, every effect a row of ``ledger`` that can be there once.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl

from chimera.core.errors import ChimeraError
from chimera.fleet.engine import Engine
from chimera.fleet.nats_engine import open_nats_engine
from chimera.fleet.postgres_engine import open_postgres_engine
from chimera.fleet.worker import Body, Worker, WorkerPlan
from chimera.store.checkpoints.group import GroupCommit, Lease
from chimera.store.checkpoints.rows import Unit
from chimera.store.postgres import Pool, fetch, open_pool
from chimera.store.runs import Claim


def body_of(pool: Pool, lease: Lease) -> Body:
    """What a run does here."""
    group = GroupCommit(pool, lease=lease)

    async def mark(claim: Claim, what: str) -> None:
        await fetch(
            pool,
            "INSERT INTO marks (run, worker, turn, pid, what) VALUES (%s, %s, %s, %s, %s)",
            (claim.id, lease.worker, lease.epoch, os.getpid(), what),
        )

    async def body(claim: Claim, control: RunControl) -> Mapping[str, Any]:
        await mark(claim, "start")
        payload = claim.payload
        if payload.get("poison"):
            os.kill(os.getpid(), signal.SIGKILL)
        if payload.get("fails", 0) >= claim.attempts:
            await asyncio.sleep(payload.get("nap_s", 0.0))
            raise ChimeraError("not this time") if payload.get("good", True) else RuntimeError("broken")
        for step in range(payload.get("steps", 1)):
            if control.drain_requested:
                raise GraphDrained("drained")
            await asyncio.sleep(payload.get("nap_s", 0.0))
            if payload.get("saves"):
                row = (claim.thread_id, "", f"{claim.attempts:04}-{step:04}", None, '{"v": 4}', "{}")
                await group.commit(Unit((row,)))
        await fetch(pool, "INSERT INTO ledger (run) VALUES (%s) ON CONFLICT DO NOTHING", (claim.id,))
        await mark(claim, "end")
        return {"said": "done" * payload.get("says", 1), "attempts": claim.attempts}

    return body


@asynccontextmanager
async def open_engine(name: str, pool: Pool, database_url: str, nats_url: str) -> AsyncGenerator[Engine]:
    """The engine of that name."""
    opened = (
        open_nats_engine(pool, database_url, nats_url) if name == "nats" else open_postgres_engine(pool, database_url)
    )
    async with opened as engine:
        yield engine


async def work(order: dict[str, Any]) -> None:
    """Be a worker until drained."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(order["database_url"], 4))
        engine = await stack.enter_async_context(
            open_engine(order["engine"], pool, order["database_url"], order["nats_url"])
        )

        @asynccontextmanager
        async def open_body(lease: Lease) -> AsyncGenerator[Body]:
            yield body_of(pool, lease)

        worker = Worker(engine, open_body, WorkerPlan(**order["plan"]))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.drain)
        await worker.run()


def set_wrong(seconds: float, after_s: float) -> None:
    """Have this process's clock be wrong, from some seconds after now on."""
    real, since = time.time, time.monotonic() + after_s
    time.time = lambda: real() + (seconds if time.monotonic() >= since else 0.0)


def live(order: dict[str, Any], _say: Callable[..., None]) -> None:
    """Carry out an order."""
    set_wrong(order["clock_s"], order["moved_after_s"])
    asyncio.run(work(order))
