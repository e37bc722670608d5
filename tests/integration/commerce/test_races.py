"""Budgets under many at once: over many connections, by several ledgers, and by a naive control that overspends.

Proves FR-606 and FR-610 under load: what is granted never passes the cap, and nearly all of it is granted.
"""

import asyncio
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from psycopg.conninfo import make_conninfo

from chimera.commerce.assets import AssetStore
from chimera.commerce.ledger import Ledger
from chimera.core.clock import SystemClock
from chimera.core.errors import OverBudget
from chimera.core.ids import random_ids
from chimera.store.audit import AuditLog
from chimera.store.postgres import Connection, Pool, connect, fetch, fetch_one, open_pool

if TYPE_CHECKING:
    from tests.integration.commerce.conftest import Books  # noqa: TID251 - its type alone

MANY, CONNECTIONS, CAP = 1_000, 16, 50_000


async def naive(connection: Connection, turn: asyncio.Barrier, amounts: list[int]) -> int:
    """What everybody writes first: look what is spent, and add to it if there is room. What it granted."""
    granted = 0
    await turn.wait()
    for amount in amounts:
        row = await (await connection.execute("SELECT spent FROM naive")).fetchone()
        assert row is not None
        if row["spent"] + amount <= CAP:
            await connection.execute("UPDATE naive SET spent = %s", (row["spent"] + amount,))
            granted += amount
    return granted


@pytest.mark.threat(4)
@pytest.mark.timeout(120)
async def test_a_thousand_at_once_do_not_overspend(books: "Books", shared_database_url: str) -> None:
    """Threat 4. 1,000 payments, shared budgets, 16 connections: not one unit too much; the naive control fails."""
    pick = random.Random(4)
    amounts = [pick.randint(1, 199) for _ in range(MANY)]
    tight = await books.budget(CAP)
    wide = [await books.budget(CAP + 20_000, "category", "data"), await books.budget(CAP, period="day")]
    intents = await books.many(amounts)
    reserve = b"SELECT outcome FROM reserve_intents(ARRAY[%s]::uuid[], ARRAY[%s]::bytea[], ARRAY['{}'], 'x')"
    async with AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as opening:
            opened = [opening.create_task(connect(shared_database_url)) for _ in range(CONNECTIONS)]
        connections = [one.result() for one in opened]
        for connection in connections:
            stack.push_async_callback(connection.close)

        async def take(place: int) -> list[str]:
            found: list[str] = []
            for intent in intents[place::CONNECTIONS]:
                cursor = await connections[place].execute(reserve, (intent.id, intent.digest))
                found += [row["outcome"] for row in await cursor.fetchall()]
            return found

        answers = await asyncio.gather(*map(take, range(CONNECTIONS)))
        await connections[0].execute("CREATE TABLE naive AS SELECT 0::bigint AS spent")
        turn = asyncio.Barrier(CONNECTIONS)
        shares = [naive(connections[place], turn, amounts[place::CONNECTIONS]) for place in range(CONNECTIONS)]
        overspent = sum(await asyncio.gather(*shares)) - CAP
        await connections[0].execute("DROP TABLE naive")
    outcomes = [outcome for answer in answers for outcome in answer]
    assert set(outcomes) == {"ok", "over"}
    row = await fetch_one(
        books.pool,
        "SELECT sum(amount) AS held, count(*) AS n FROM intents WHERE tenant = %s AND state = 'reserved'",
        (books.tenant,),
    )
    assert row is not None
    assert row["n"] == outcomes.count("ok")
    assert CAP - 199 < row["held"] <= CAP
    assert [await books.used(number) for number in (tight, *wide)] == [(row["held"], 0)] * 3
    assert overspent > 0, "the control has to fail, or this shows nothing"
    await books.intact()


@pytest.mark.threat(4)
@pytest.mark.timeout(120)
async def test_several_ledgers_that_write_in_batches_do_not_overspend(books: "Books", shared_database_url: str) -> None:
    """Threat 4. The batching writers of four processes' worth of ledgers, in any order, without a deadlock."""
    pick = random.Random(5)
    amounts = [pick.randint(1, 199) for _ in range(400)]
    number = await books.budget(20_000)
    for place in range(1, 401, 7):
        await books.budget(150, "agent", f"agent {place}")
    intents = await books.many(amounts)
    pick.shuffle(intents)
    async with AsyncExitStack() as stack:
        ledgers = [another(await stack.enter_async_context(open_pool(shared_database_url, 3))) for _ in range(4)]
        asked = [ledgers[place % 4].reserve(intent) for place, intent in enumerate([*intents, *reversed(intents)])]
        done = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(one) for one in done} == {bool, OverBudget}
    held, posted = await books.used(number)
    assert (20_000 - 199 < held <= 20_000, posted) == (True, 0)
    rows = await fetch(
        books.pool,
        "SELECT sum(amount) AS held, count(*) AS n FROM intents WHERE tenant = %s AND state = 'reserved'",
        (books.tenant,),
    )
    assert rows == [{"held": held, "n": done.count(True)}]
    await books.intact()


@pytest.mark.threat(4)
async def test_an_overspending_update_is_refused_by_the_table_itself(alone: "Books", database_url: str) -> None:
    """Threat 4. The CHECK is the last stop: not even the owner writes more than the cap."""
    await alone.budget(100)
    async with await connect(make_conninfo(database_url, options="-c role=chimera_ledger")) as connection:
        for change in ("held = 101", "posted = 101", "held = 60, posted = 41", "held = -1", "cap = -1"):
            with pytest.raises(Exception, match="violates check constraint"):
                await connection.execute(f"UPDATE budgets SET {change}".encode())


def another(pool: Pool) -> Ledger:
    """A ledger like that of another process."""
    audit = AuditLog(pool, SystemClock())
    return Ledger(pool, AssetStore(pool, audit), audit, random_ids())
