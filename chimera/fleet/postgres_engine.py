"""The engine that needs nothing but Postgres: NOTIFY wakes workers and callers, and they look by themselves as well."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from chimera.fleet.engine import Ended
from chimera.fleet.outcomes import Outcomes
from chimera.store.checkpoints.group import Lease
from chimera.store.listening import Listener, heard, open_listener
from chimera.store.postgres import Pool
from chimera.store.runs import ARRIVED, ENDED, STOPPED, Claim, Ending, NewRun, RunStore
from chimera.store.workers import WorkerStore


class PostgresEngine:
    """See :class:`chimera.fleet.engine.Engine`."""

    name = "postgres"

    def __init__(self, pool: Pool, listener: Listener, stack: AsyncExitStack) -> None:
        self.runs = RunStore(pool)
        self.workers = WorkerStore(pool)
        self.outcomes = Outcomes(self.runs, listener)
        self._listener = listener
        self._arrived = stack.enter_context(listener.bell(ARRIVED))
        self._stack = stack
        self._asked: dict[str, asyncio.Event] = {}

    async def enqueue(self, runs: Sequence[NewRun]) -> list[str]:
        """Record runs to be carried out; the ids of those that were not known yet.

        Raises:
            InputError: one carries too much, or a pool does not exist.
        """
        return await self.runs.enqueue(runs)

    async def cancel(self, run_id: str) -> str:
        """Cancel a run; its state now, which stays ``running`` until its worker let go of it."""
        return await self.runs.cancel(run_id)

    async def replay(self, run_id: str, deadline_s: float | None = None) -> None:
        """Let a run that failed, is dead or was cancelled run again, with a new deadline or none."""
        await self.runs.replay(run_id, deadline_s)

    async def ended(self, run_id: str, timeout_s: float) -> Ended | None:
        """Wait until a run is over; None when the time is up."""
        return await self.outcomes.wait(run_id, timeout_s)

    async def register(self, worker: str, concurrency: int, pools: Sequence[str] | None, ttl_s: float) -> Lease:
        """Begin a worker's turn.

        Raises:
            ConflictError: another worker of that id is alive.
        """
        if worker not in self._asked:
            self._asked[worker] = self._stack.enter_context(self._listener.bell(STOPPED, worker))
        return await self.workers.register(worker, engine=self.name, concurrency=concurrency, pools=pools, ttl_s=ttl_s)

    async def renew(self, lease: Lease, ttl_s: float) -> str:
        """Keep the lease; ``draining`` when the worker is asked to stop.

        Raises:
            LeaseLost: it was taken away.
        """
        return await self.workers.renew(lease, ttl_s)

    async def leave(self, lease: Lease) -> None:
        """End a worker's turn."""
        await self.workers.leave(lease)

    async def drain(self, worker: str) -> None:
        """Ask a worker to finish its steps, give back the rest and stop."""
        await self.workers.drain(worker)

    async def claim(self, lease: Lease, room: int, pools: Sequence[str] | None) -> list[Claim]:
        """Claim up to ``room`` runs."""
        return await self.runs.claim(lease, room, pools)

    async def begin(self, claim: Claim) -> None:
        """Say that a claimed run begins, of one that was on a worker that was lost."""
        await self.runs.begin(claim)

    async def excuse(self, lease: Lease) -> None:
        """Say that a worker which lost its lease is well: none of its runs is to blame."""
        await self.runs.excuse(lease)

    async def strays(self, lease: Lease, known: Sequence[str]) -> list[Claim]:
        """What the worker has claimed besides the ``known`` ones, as when an answer to a claim was lost."""
        return await self.runs.strays(lease, known)

    async def end(self, endings: Sequence[Ending]) -> dict[str, str]:
        """Say what became of claimed runs; the new states of those whose fence held."""
        return await self.runs.end(endings)

    async def stops(self, worker: str) -> list[tuple[str, int, str]]:
        """Runs that the worker shall let go of: id, fence, ``cancel`` or ``release``."""
        return await self.runs.stops(worker)

    async def sweep(self) -> dict[str, str]:
        """Give the runs of lost workers to others."""
        return await self.runs.sweep()

    async def arrival(self, room: int, pools: Sequence[str] | None, timeout_s: float) -> None:
        """Return when there may be something to claim, at the latest after ``timeout_s``."""
        await heard(self._arrived, timeout_s)

    async def asked(self, worker: str, timeout_s: float) -> None:
        """Return when somebody asked something of the worker, at the latest after ``timeout_s``."""
        await heard(self._asked[worker], timeout_s)


@asynccontextmanager
async def open_postgres_engine(pool: Pool, url: str) -> AsyncGenerator[PostgresEngine]:
    """The engine on a database that has been opened; ``url`` is where it listens.

    Raises:
        StoreUnavailable: the database is away.
    """
    async with AsyncExitStack() as stack:
        listener = await stack.enter_async_context(open_listener(url, (ARRIVED, ENDED, STOPPED)))
        engine = PostgresEngine(pool, listener, stack)
        await stack.enter_async_context(looking(engine.outcomes))
        yield engine


@asynccontextmanager
async def looking(outcomes: Outcomes) -> AsyncGenerator[None]:
    """Look for ends while the block lasts."""
    task = asyncio.create_task(outcomes.keep_looking())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
