"""Connections to Postgres, and its errors in the words of our error tree."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from chimera.core.errors import ConflictError, SchemaOutdated, StoreError, StoreFull, StoreUnavailable

Pool = AsyncConnectionPool[psycopg.AsyncConnection[DictRow]]
CONNECT_TIMEOUT_S = 10
POOL_SIZE = 16


@asynccontextmanager
async def store_errors() -> AsyncGenerator[None]:
    """Turn what psycopg raises into a :class:`StoreError` with a code and a remedy.

    The message is the server's first line only: details may quote values of a row.
    """
    try:
        yield
    except (pg.DiskFull, pg.OutOfMemory, pg.ConfigurationLimitExceeded) as error:
        raise StoreFull(f"Postgres has no room left: {_first_line(error)}") from error
    except (pg.UndefinedTable, pg.UndefinedColumn, pg.UndefinedFunction) as error:
        raise SchemaOutdated(f"the database lacks something this version needs: {_first_line(error)}") from error
    except (pg.SerializationFailure, pg.DeadlockDetected) as error:
        raise ConflictError(f"Postgres could not order two changes: {_first_line(error)}") from error
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise StoreUnavailable(f"Postgres cannot be reached: {_first_line(error)}") from error
    except psycopg.Error as error:
        raise StoreError(f"Postgres refused: {_first_line(error)}") from error


@asynccontextmanager
async def open_pool(url: str, size: int = POOL_SIZE) -> AsyncGenerator[Pool]:
    """A pool of autocommit connections with dictionary rows.

    One connection is tried first, because a pool repeats a wrong URL until its time is up.

    Raises:
        StoreUnavailable: nothing answers at ``url``, or it refuses us.
    """
    async with store_errors():
        try:
            probe = await psycopg.AsyncConnection.connect(url, connect_timeout=CONNECT_TIMEOUT_S)
        except psycopg.ProgrammingError as error:  # a URL that is none
            raise StoreUnavailable(f"the database URL cannot be used: {_first_line(error)}") from None
        await probe.close()
        pool: Pool = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=size,
            timeout=CONNECT_TIMEOUT_S,
            open=False,
            kwargs={"autocommit": True, "row_factory": dict_row, "connect_timeout": CONNECT_TIMEOUT_S},
            check=AsyncConnectionPool[psycopg.AsyncConnection[DictRow]].check_connection,
        )
        await pool.open(wait=True, timeout=CONNECT_TIMEOUT_S)
    try:
        yield pool
    finally:
        await pool.close()


async def fetch(pool: Pool, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[DictRow]:
    """Run one statement and return its rows; without rows, an empty list."""
    async with store_errors(), pool.connection() as connection:
        cursor = await connection.execute(query.encode(), values)
        return await cursor.fetchall() if cursor.description else []


async def fetch_one(pool: Pool, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> DictRow | None:
    """Run one statement and return its first row, if there is one."""
    rows = await fetch(pool, query, values)
    return rows[0] if rows else None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
