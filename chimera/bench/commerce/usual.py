"""How budgets are usually kept: rows locked by ``SELECT ... FOR UPDATE`` from the client, and not locked at all.

The first does the same work on the same tables as the ledger, a statement at a time, in a transaction for each payment.
The second is the naive control: it reads, decides, and writes what it decided.
"""

import asyncio
from collections.abc import Sequence

from chimera.commerce.intents import Intent, digest_of
from chimera.store.postgres import Connection, Pool, connect

_LOCK = "SELECT state, digest, head FROM intents WHERE id = %s FOR UPDATE"
_BUDGETS = "SELECT id, cap, held + posted AS used FROM budgets WHERE id = ANY (%s) ORDER BY id FOR UPDATE"
_HOLD = (
    "INSERT INTO holds (intent, leg, asset, amount, budgets, held_at) "
    "VALUES (%s, 'amount', %s, %s::numeric, %s, clock_timestamp())"
)
_ENTER = (
    "INSERT INTO journal (tenant, key, intent, leg, kind, debit, credit, asset, amount, at, prev_hash, hash) "
    "VALUES (%s, %s, %s, 'amount', 'hold', %s, %s, %s, %s::numeric, clock_timestamp(), %s, %s)"
)


async def reserve_for_update(pool: Pool, intent: Intent, budgets: Sequence[int]) -> bool:
    """Reserve a payment in a transaction of its own; whether there was room. ``pool``: of the ledger's owner."""
    asked, made = intent.asked, f"{intent.id}/amount/hold"
    async with pool.connection() as connection, connection.transaction():
        row = await (await connection.execute(_LOCK.encode(), (intent.id,))).fetchone()
        if row is None or row["state"] != "approved" or bytes(row["digest"]) != intent.digest:
            return False
        rows = await (await connection.execute(_BUDGETS.encode(), (list(budgets),))).fetchall()
        if len(rows) != len(budgets) or any(one["used"] + asked.amount > one["cap"] for one in rows):
            return False
        update = "UPDATE budgets SET held = held + %s::numeric WHERE id = ANY (%s)"
        await connection.execute(update, (asked.amount, list(budgets)))
        await connection.execute(_HOLD.encode(), (intent.id, asked.asset, asked.amount, list(budgets)))
        hashed = digest_of(bytes(row["head"]).hex(), asked.tenant, made, str(asked.amount))
        accounts = (f"reserved:{asked.agent}", f"wallet:{asked.agent}")
        values = (asked.tenant, made, intent.id, *accounts, asked.asset, asked.amount, bytes(row["head"]), hashed)
        await connection.execute(_ENTER.encode(), values)
        await connection.execute(
            "UPDATE intents SET state = 'reserved', head = %s, moved_by = 'bench' WHERE id = %s", (hashed, intent.id)
        )
    return True


async def naive_overspend(url: str, amounts: Sequence[int], cap: int, connections: int) -> int:
    """By how much a budget is overspent that is read and then written, by many at once."""
    opened: list[Connection] = []
    try:
        for _ in range(connections):
            opened.append(await connect(url))  # noqa: PERF401 - those that were opened are closed if one fails
        await opened[0].execute("CREATE TABLE naive AS SELECT 0::bigint AS spent")
        turn = asyncio.Barrier(connections)

        async def take(place: int) -> int:
            await turn.wait()
            granted = 0
            for amount in amounts[place::connections]:
                row = await (await opened[place].execute("SELECT spent FROM naive")).fetchone()
                if row is not None and row["spent"] + amount <= cap:
                    await opened[place].execute("UPDATE naive SET spent = %s", (row["spent"] + amount,))
                    granted += amount
            return granted

        granted = sum(await asyncio.gather(*map(take, range(connections))))
        await opened[0].execute("DROP TABLE naive")
        return max(0, granted - cap)
    finally:
        for connection in opened:
            await connection.close()
