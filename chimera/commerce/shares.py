"""How several payers on one chain share the payments: each goes on with those of some wallets, and nobody twice.

The shares are advisory locks of a connection of its own, so those of a process that is killed are free at once. They
save work and decide nothing: two payers that go on with the same payment, as after a lost connection, do no harm.
"""

import hashlib
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

from chimera.core.errors import StoreError
from chimera.store.postgres import Connection, Pool, connect, store_errors

SHARES = 64
SHARE = f"hashtext(i.tenant || '/' || i.agent) & {SHARES - 1}"
"""The share of a payment ``i``, in SQL: all of a wallet are of one."""
_HERE = SHARES
"""Not a share: whoever is there has it, together with all others."""
_COUNT = b"""
    SELECT count(DISTINCT pid) AS payers FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted
    AND classid = %s AND objid = %s AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_TAKE = b"""
    SELECT s FROM unnest(%s::integer[]) AS s WHERE pg_try_advisory_lock(%s, s) LIMIT %s
"""
_LEAVE = b"SELECT pg_advisory_unlock(%s, s) FROM unnest(%s::integer[]) AS s"


class Shares:
    """The shares of one payer."""

    def __init__(self, pool: Pool, chain_id: int) -> None:
        self._pool = pool
        digest = hashlib.sha256(f"chimera payers of chain {chain_id}".encode()).digest()
        self._place = int.from_bytes(digest[:4], "big") >> 1
        self._connection: Connection | None = None
        self._mine: set[int] = set()

    async def mine(self) -> list[int]:
        """The shares of this payer now: as many as are its part, as soon as they are free.

        Raises:
            StoreUnavailable: the database cannot be asked; others have what was this payer's.
        """
        try:
            if self._connection is None:
                self._connection = await connect(cast("str", self._pool.conninfo))
                async with store_errors():
                    await self._connection.execute(b"SELECT pg_advisory_lock_shared(%s, %s)", (self._place, _HERE))
            async with store_errors():
                await self._balance(self._connection)
        except (StoreError, TimeoutError):
            await self.leave()
            raise
        return sorted(self._mine)

    async def leave(self) -> None:
        """Leave all to others."""
        self._mine.clear()
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _balance(self, connection: Connection) -> None:
        row = await (await connection.execute(_COUNT, (self._place, _HERE))).fetchone()
        part = -(-SHARES // max(1, int(row["payers"]) if row else 1))
        if len(self._mine) > part:
            more = sorted(self._mine)[part:]
            await connection.execute(_LEAVE, (self._place, more))
            self._mine -= set(more)
        elif len(self._mine) < part:
            others = [share for share in range(SHARES) if share not in self._mine]
            random.shuffle(others)  # two payers that look at the same time do not try the same ones
            cursor = await connection.execute(_TAKE, (others, self._place, part - len(self._mine)))
            self._mine |= {int(row["s"]) for row in await cursor.fetchall()}


@asynccontextmanager
async def shares_of(pool: Pool, chain_id: int) -> AsyncGenerator[Shares]:
    """The shares of a payer, which are left at the end."""
    shares = Shares(pool, chain_id)
    try:
        yield shares
    finally:
        await shares.leave()
