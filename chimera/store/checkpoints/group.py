"""Group commit: what many tasks want to save is written in one transaction, and each waits until its own is on disk.

The transaction is shared with everything else that is written all the time. The queue is bounded: who comes when it is
full waits for room.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import psycopg

from chimera.core.errors import LeaseLost, StoreError, StoreUnavailable
from chimera.store.checkpoints.rows import Unit, statements
from chimera.store.postgres import Connection, Pool
from chimera.store.together import Together

ROOM_BYTES = 64_000_000
"""The most that waits; whoever comes then waits before it is queued."""
PATIENCE_S = 30.0
"""How long a unit is sent again when the server is gone, as it is when it restarts."""
_PAUSE_S = 0.05
_PAUSE_MOST_S = 1.0


@dataclass(frozen=True)
class Lease:
    """A worker's right to write: its id, and the number of its turn. Void once another number stands there."""

    worker: str
    epoch: int


class GroupCommit:
    """Writes units for the tasks of one event loop.

    ``lease``: checked in every transaction, before its rows. ``patience_s``: see ``PATIENCE_S``.
    """

    def __init__(
        self, pool: Pool, *, lease: Lease | None = None, room_bytes: int = ROOM_BYTES, patience_s: float = PATIENCE_S
    ) -> None:
        self._lease = lease
        self._room_bytes = room_bytes
        self._patience_s = patience_s
        self._together: Together[Connection, tuple[Unit, int], None] = Together(
            pool.turns, self._write, size=itemgetter(1)
        )
        self._bytes = 0
        self._room, self._empty = asyncio.Event(), asyncio.Event()
        self._count(0)

    async def commit(self, unit: Unit) -> None:
        """Return when the unit is on disk. A caller that is cancelled leaves its unit to be written or not.

        Raises:
            LeaseLost: this worker may not write any more. StoreFull: the disk is full. StoreUnavailable: the server
                was away for too long, and nobody knows whether it is on disk. StoreError: it cannot be written.
        """
        size = unit.size
        if not self._room.is_set():
            await self._find_room()
        self._count(size)
        try:
            await self._written(unit, size)
        finally:
            self._count(-size)

    @property
    def waiting_bytes(self) -> int:
        """The size of what is queued or being written."""
        return self._bytes

    async def drain(self) -> None:
        """Return when nothing waits any more."""
        await self._empty.wait()
        await self._together.settled()

    def _count(self, size: int) -> None:
        self._bytes += size
        for event, holds in ((self._room, self._bytes < self._room_bytes), (self._empty, not self._bytes)):
            (event.set if holds else event.clear)()

    async def _find_room(self) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                while not self._room.is_set():
                    await self._room.wait()
        except TimeoutError:
            raise StoreUnavailable(
                f"no room to save a step within {self._patience_s:g} s: Postgres is too slow"
            ) from None

    async def _written(self, unit: Unit, size: int) -> None:
        """Commit the unit; again when the connection is lost, as nobody knows then whether it is on disk."""
        give_up, pause = asyncio.get_running_loop().time() + self._patience_s, _PAUSE_S
        while True:
            try:
                return await self._together.submit((unit, size))
            except StoreError as error:
                if not _is_passing(error) or asyncio.get_running_loop().time() + pause > give_up:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE_MOST_S)

    async def _write(self, connection: Connection, units: Sequence[tuple[Unit, int]]) -> list[None]:
        if self._lease is not None:
            await _check(connection, self._lease)
        for query, columns in statements([unit for unit, _ in units]):
            await connection.execute(query.encode(), columns, binary=True)
        return [None] * len(units)


async def _check(connection: Connection, lease: Lease) -> None:
    """Hold the lease until the end of this transaction: whoever takes it over waits until then."""
    cursor = await connection.execute(
        "SELECT 1 FROM workers WHERE id = %s AND epoch = %s FOR SHARE", (lease.worker, lease.epoch)
    )
    if await cursor.fetchone() is None:
        raise LeaseLost(f"the worker {lease.worker} is no longer in its turn {lease.epoch}")


def _is_passing(error: StoreError) -> bool:
    """Whether the same again can succeed: the server was away, or two transactions met."""
    met = isinstance(error.__cause__, psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected)
    return isinstance(error, StoreUnavailable) or met
