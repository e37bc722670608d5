"""Group commit: what many tasks want to save is written in one transaction, and each waits until its own is on disk.

While one transaction is under way, the next batch gathers; so the busier it is, the larger are the batches. The queue
is bounded: who comes when it is full waits for room. What cannot be written is told to whoever waits for it, and to
nobody else, as far as that can be told apart.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg

from chimera.core.errors import LeaseLost, StoreError, StoreFull, StoreUnavailable
from chimera.store.checkpoints.rows import Unit, statements
from chimera.store.postgres import Connection, Pool

ROOM_BYTES = 64_000_000
"""The most that waits; whoever comes then waits before it is queued."""
BATCH_UNITS = 2_000
BATCH_BYTES = 16_000_000
"""The most that goes into one transaction, so that nobody waits behind a huge one."""
PATIENCE_S = 30.0
"""How long a batch is sent again when the server is gone, as it is when it restarts."""
_PAUSE_S = 0.05
_PAUSE_MOST_S = 1.0


@dataclass(frozen=True)
class Lease:
    """A worker's right to write: its id, and the number of its turn. Void once another number stands there."""

    worker: str
    epoch: int


@dataclass(eq=False)
class _Waiting:
    unit: Unit
    done: "asyncio.Future[None]"
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = self.unit.size


class GroupCommit:
    """Writes units for the tasks of one event loop.

    ``lease``: checked in every transaction, before its rows. ``linger_s``: how long a batch gathers before it is sent;
    0 sends at once what is there. ``patience_s``: see ``PATIENCE_S``.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        lease: Lease | None = None,
        linger_s: float = 0.0,
        room_bytes: int = ROOM_BYTES,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._pool = pool
        self._lease = lease
        self._linger_s = linger_s
        self._room_bytes = room_bytes
        self._patience_s = patience_s
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._writer: asyncio.Task[None] | None = None
        self.batches = 0
        """Transactions so far."""
        self.units = 0
        """Units committed so far."""

    async def commit(self, unit: Unit) -> None:
        """Return when the unit is on disk. A caller that is cancelled leaves its unit to be written or not.

        Raises:
            LeaseLost: this worker may not write any more. StoreFull: the disk is full. StoreUnavailable: the server
                was away for too long, and nobody knows whether it is on disk. StoreError: it cannot be written.
        """
        waiting = _Waiting(unit, asyncio.get_running_loop().create_future())
        if not self._room.is_set():
            await self._find_room()
        self._queue.append(waiting)
        self._bytes += waiting.size
        if self._bytes >= self._room_bytes:
            self._room.clear()
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        await waiting.done

    @property
    def waiting_bytes(self) -> int:
        """The size of what is queued or being written."""
        return self._bytes

    async def drain(self) -> None:
        """Return when nothing waits any more."""
        while self._writer is not None:
            await asyncio.wait([self._writer])

    async def _find_room(self) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                while not self._room.is_set():
                    await self._room.wait()
        except TimeoutError:
            raise StoreUnavailable(
                f"no room to save a step within {self._patience_s:g} s: Postgres is too slow"
            ) from None

    async def _write_all(self) -> None:
        try:
            while self._queue:
                if self._linger_s:
                    await asyncio.sleep(self._linger_s)
                await self._settle(self._next_batch())
        finally:
            self._writer = None

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = 0
        while self._queue and len(batch) < BATCH_UNITS and (not batch or size + self._queue[0].size <= BATCH_BYTES):
            batch.append(self._queue.popleft())
            size += batch[-1].size
        return batch

    async def _settle(self, batch: list[_Waiting]) -> None:
        """Write a batch, or each unit by itself where the data of one of them is refused."""
        try:
            await self._written([waiting.unit for waiting in batch])
            for waiting in batch:
                _answer(waiting, None)
        except (StoreUnavailable, StoreFull, LeaseLost) as error:
            for waiting in batch:
                _answer(waiting, error)
        except StoreError as error:
            if len(batch) == 1:
                _answer(batch[0], error)
            else:
                middle = len(batch) // 2
                await self._settle(batch[:middle])
                await self._settle(batch[middle:])
                return  # the halves have given back their room
        except Exception as error:  # noqa: BLE001 - every waiter learns of it; none may believe that it is on disk
            for waiting in batch:
                _answer(waiting, error)
        self._bytes -= sum(waiting.size for waiting in batch)
        if self._bytes < self._room_bytes:
            self._room.set()

    async def _written(self, units: Sequence[Unit]) -> None:
        """Commit the units; again when the connection is lost, as nobody knows then whether they are on disk."""
        loop = asyncio.get_running_loop()
        give_up, pause = loop.time() + self._patience_s, _PAUSE_S
        while True:
            try:
                async with self._pool.connection() as connection, connection.transaction():
                    if self._lease is not None:
                        await _check(connection, self._lease)
                    async with connection.pipeline():
                        for query, columns in statements(units):
                            await connection.execute(query.encode(), columns, binary=True)
            except StoreError as error:
                if not _is_passing(error) or loop.time() + pause > give_up:
                    raise
            else:
                self.batches += 1
                self.units += len(units)
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE_MOST_S)


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


def _answer(waiting: _Waiting, error: Exception | None) -> None:
    if waiting.done.done():  # whoever waited has been cancelled
        return
    if error is None:
        waiting.done.set_result(None)
    else:
        waiting.done.set_exception(error)
