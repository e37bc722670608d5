"""Connections to Postgres, and its errors in the words of our error tree."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from select import POLLIN, poll
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from chimera.core.errors import SchemaOutdated, StoreError, StoreFull, StoreUnavailable
from chimera.core.tasks import stop
from chimera.store.together import Turns
from chimera.store.values import reads_as_meant

Connection = psycopg.AsyncConnection[DictRow]
CONNECT_TIMEOUT_S = 10
ANSWER_TIMEOUT_S = 60.0
"""The longest use of a connection, if not said otherwise: a server that hangs must not hang a mission."""
TRANSACTION_S = 20.0
"""The longest transaction: what a process that stalls in the middle of one holds, the others get back after it."""
POOL_SIZE = 16
_TRANSACTION_TIMEOUT_SINCE = 170_000
_UNORDERED = (pg.SerializationFailure, pg.DeadlockDetected)
_TRIES = 4
_BACKOFF_S = 0.02


@asynccontextmanager
async def store_errors(within_s: float | None = None) -> AsyncGenerator[None]:
    """Turn what psycopg raises, and silence for longer than ``within_s`` seconds, into a :class:`StoreError`.

    The message is the server's first line only: details may quote values of a row.
    """
    within_s = within_s or ANSWER_TIMEOUT_S
    limit = asyncio.timeout(within_s)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise StoreUnavailable(f"Postgres did not answer within {within_s:g} s") from error
    except (pg.DiskFull, pg.OutOfMemory, pg.ConfigurationLimitExceeded) as error:
        raise StoreFull(f"Postgres has no room left: {_first_line(error)}") from error
    except (pg.UndefinedTable, pg.UndefinedColumn, pg.UndefinedFunction) as error:
        raise SchemaOutdated(f"the database lacks something this version needs: {_first_line(error)}") from error
    except _UNORDERED as error:  # an error of the store like others: nothing was changed, and it can be done again
        raise StoreError(f"Postgres could not order two changes: {_first_line(error)}") from error
    except (psycopg.OperationalError, pg.TransactionTimeout, PoolTimeout) as error:
        raise StoreUnavailable(f"Postgres cannot be reached: {_first_line(error)}") from error
    except psycopg.Error as error:
        raise StoreError(f"Postgres refused: {_first_line(error)}") from error


class Pool(AsyncConnectionPool[Connection]):
    """Connections whose users see our errors, and no endless wait; LangGraph's saver uses it like any other."""

    def __init__(self, url: str, size: int) -> None:
        super().__init__(
            url,
            min_size=1,
            max_size=size,
            timeout=CONNECT_TIMEOUT_S,
            open=False,
            kwargs={"autocommit": True, "row_factory": dict_row, "connect_timeout": CONNECT_TIMEOUT_S},
            check=self.usable,
            configure=_limit_transactions,
        )
        self._looking: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def connection(
        self, timeout: float | None = None, *, within_s: float | None = None
    ) -> AsyncGenerator[Connection]:
        """Use a connection for at most ``within_s`` seconds; ``timeout`` is the wait for a free one.

        Raises:
            StoreError: Postgres failed, refused or did not answer in time.
        """
        async with store_errors(within_s), super().connection(timeout) as connection:
            yield connection

    async def usable(self, connection: Connection) -> None:
        """Refuse a connection that is lost, without asking the server: one that has ended it has said so.

        Where one is lost others often are, as after a restart. They are looked for at once: a caller who meets them
        one by one waits for each twice as long as for the one before.
        """
        said = poll()
        said.register(connection.fileno(), POLLIN)
        if not said.poll(0):
            return
        try:
            await self.check_connection(connection)
        except psycopg.Error:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self.check())
            raise

    async def close(self, timeout: float = 5.0) -> None:
        """Close all connections."""
        if self._looking is not None:
            await stop(self._looking)
        await super().close(timeout)

    @cached_property
    def turns(self) -> Turns[Connection]:
        """The transactions that everything shares which is written all the time."""
        return Turns(self._transaction)

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[Connection]:
        """A transaction whose statements wait for each other's answers only where somebody reads one."""
        async with self.connection() as connection, connection.pipeline():  # an error in it rolls it back
            await connection.execute(b"BEGIN")
            yield connection
            await connection.execute(b"COMMIT")


@asynccontextmanager
async def open_pool(url: str, size: int = POOL_SIZE) -> AsyncGenerator[Pool]:
    """A pool of autocommit connections with dictionary rows.

    One connection is tried first, because a pool repeats a wrong URL until its time is up.

    Raises:
        StoreUnavailable: nothing answers at ``url``, or it refuses us, or it is no URL of a Postgres.
    """
    await (await connect(url)).close()
    pool = Pool(url, size)
    try:
        async with store_errors():
            await pool.open(wait=True, timeout=CONNECT_TIMEOUT_S)
        yield pool
    finally:
        await pool.close()


async def connect(url: str) -> Connection:
    """A connection of its own, beside the pool: autocommit, dictionary rows.

    Raises:
        StoreUnavailable: nothing answers at ``url``, or it refuses us, or it is no URL of a Postgres.
    """
    if not _is_usable(url):
        # Raised where nothing is being handled: libpq quotes the URL with its password, and a cause would show it.
        raise StoreUnavailable(
            "the database URL cannot be read",
            remedy="Write CHIMERA_DATABASE_URL as postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and special "
            "characters of the password in percent-encoding (@ is %40, / is %2F).",
        )
    try:
        async with store_errors(2 * CONNECT_TIMEOUT_S):  # a name may have several addresses, and each its own wait
            return await Connection.connect(
                url, autocommit=True, row_factory=dict_row, connect_timeout=CONNECT_TIMEOUT_S
            )
    except UnicodeError as error:
        raise StoreUnavailable("the host in the database URL is no host name") from error


async def fetch(pool: Pool, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[DictRow]:
    """Run one statement and return its rows; without rows, an empty list.

    One that Postgres could not order among others is repeated: it is a transaction of its own, and left nothing behind.
    """
    for waits in range(1, _TRIES):
        try:
            return await _fetch(pool, query, values)
        except StoreError as error:
            if not isinstance(error.__cause__, _UNORDERED):
                raise
        await asyncio.sleep(_BACKOFF_S * waits)
    return await _fetch(pool, query, values)


async def _fetch(pool: Pool, query: str, values: Sequence[Any] | Mapping[str, Any]) -> list[DictRow]:
    async with pool.connection() as connection:
        cursor = await connection.execute(query.encode(), values)
        return await cursor.fetchall() if cursor.description else []


async def fetch_one(pool: Pool, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> DictRow | None:
    """Run one statement and return its first row, if there is one."""
    rows = await fetch(pool, query, values)
    return rows[0] if rows else None


async def take_time(connection: Connection) -> None:
    """Let the transaction that has just begun be a long one."""
    if connection.info.server_version >= _TRANSACTION_TIMEOUT_SINCE:
        await connection.execute("SET LOCAL transaction_timeout = 0")


async def _limit_transactions(connection: Connection) -> None:
    # Not idle_in_transaction_session_timeout: after a pipeline, as executemany is one, that one is not counted.
    if connection.info.server_version >= _TRANSACTION_TIMEOUT_SINCE:
        await connection.execute(f"SET transaction_timeout = {TRANSACTION_S * 1000:.0f}".encode())


def _is_usable(url: str) -> bool:
    """Whether libpq reads the URL, and as it was meant."""
    try:
        conninfo_to_dict(url)
    except (psycopg.Error, UnicodeError):
        return False
    return reads_as_meant(url)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
