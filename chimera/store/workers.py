"""The leases of workers: one row each, by the database's clock alone."""

from collections.abc import Sequence
from typing import Any

from chimera.core.errors import ConflictError, InputError, LeaseLost
from chimera.store.checkpoints.group import Lease
from chimera.store.postgres import Pool, fetch, fetch_one
from chimera.store.runs import STOPPED
from chimera.store.values import as_json


class WorkerStore:
    """Reads and writes the table ``workers``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def register(
        self, worker: str, *, engine: str, concurrency: int, pools: Sequence[str] | None, ttl_s: float
    ) -> Lease:
        """Begin a turn of a worker.

        Raises:
            ConflictError: a worker of that id is alive.
        """
        row = await fetch_one(
            self._pool,
            "INSERT INTO workers AS w (id, epoch, state, engine, pools, concurrency, expires_at) "
            "VALUES (%s, 1, 'running', %s, %s, %s, clock_timestamp() + make_interval(secs => %s)) "
            "ON CONFLICT (id) DO UPDATE SET epoch = w.epoch + 1, state = 'running', engine = excluded.engine, "
            "pools = excluded.pools, concurrency = excluded.concurrency, started_at = now(), "
            "expires_at = excluded.expires_at "
            "WHERE w.state IN ('stopped', 'lost') OR w.expires_at < clock_timestamp() RETURNING epoch",
            (worker, engine, as_json(list(pools)) if pools is not None else None, concurrency, ttl_s),
        )
        if row is None:
            raise ConflictError(
                f"another worker with the id {worker[:80]} is alive",
                remedy="Give each worker an id of its own, or none; a dead worker's id is free when its lease ran out.",
            )
        return Lease(worker, row["epoch"])

    async def renew(self, lease: Lease, ttl_s: float) -> str:
        """Keep the lease; return the worker's state, which is draining when it was asked to stop.

        Raises:
            LeaseLost: it was taken away.
        """
        row = await fetch_one(
            self._pool,
            "UPDATE workers SET expires_at = clock_timestamp() + make_interval(secs => %s) "
            "WHERE id = %s AND epoch = %s AND state IN ('running', 'draining') RETURNING state",
            (ttl_s, lease.worker, lease.epoch),
        )
        if row is None:
            raise LeaseLost(f"the worker {lease.worker} is no longer in its turn {lease.epoch}")
        return str(row["state"])

    async def leave(self, lease: Lease) -> None:
        """End the turn: what it still has can be given to others at once."""
        await fetch(
            self._pool,
            "UPDATE workers SET state = 'stopped', epoch = epoch + 1, expires_at = clock_timestamp() "
            "WHERE id = %s AND epoch = %s",
            (lease.worker, lease.epoch),
        )

    async def drain(self, worker: str) -> None:
        """Ask a worker to finish the steps that it is in, give back the rest and stop.

        Raises:
            InputError: no such worker is alive.
        """
        row = await fetch_one(
            self._pool,
            "UPDATE workers SET state = 'draining' WHERE id = %s AND state IN ('running', 'draining') "
            "RETURNING pg_notify(%s, id)",
            (worker, STOPPED),
        )
        if row is None:
            raise InputError(f"no worker {worker[:80]!r} is alive", remedy="`chimera top` shows the workers.")

    async def listed(self) -> list[dict[str, Any]]:
        """The workers that are alive or were lost within the hour, with what they carry."""
        return await fetch(
            self._pool,
            "SELECT w.id, w.epoch, w.state, w.engine, w.pools, w.concurrency, w.started_at, "
            "extract(epoch FROM w.expires_at - clock_timestamp())::float8 AS lease_s, "
            "(SELECT count(*) FROM runs AS r WHERE r.worker = w.id AND r.state = 'running') AS running "
            "FROM workers AS w WHERE w.expires_at > clock_timestamp() - interval '1 hour' ORDER BY w.id",
        )
