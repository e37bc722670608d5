"""Books to test with: a ledger with two assets of a chain, budgets, and payments as far along as a test needs them."""

import asyncio
import itertools
import json
import pickle
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chimera.commerce.assets import Asset, AssetStore, on_chain
from chimera.commerce.budgets import BudgetStore, Limit
from chimera.commerce.intents import Intent, IntentState, Proposal
from chimera.commerce.ledger import Ledger
from chimera.commerce.rows import intent_of
from chimera.commerce.verify import verify_ledger
from chimera.core.clock import SystemClock
from chimera.core.ids import random_ids
from chimera.store.audit import AuditLog
from chimera.store.postgres import Pool, fetch, open_pool

COIN = on_chain("ETH", 31337, 18)
TOKEN = on_chain("USDC", 31337, 6, "0x" + "ab" * 20)
S = IntentState
WAY = {
    S.SCREENED: (S.PROPOSED,),
    S.APPROVED: (S.SCREENED, S.ESCALATED),
    S.SIGNED: (S.RESERVED,),
    S.BROADCAST: (S.SIGNED,),
    S.CONFIRMED: (S.BROADCAST,),
}


class Books:
    """The books of one tenant."""

    coin: Asset = COIN
    token: Asset = TOKEN

    def __init__(self, pool: Pool, tenant: str) -> None:
        self.pool = pool
        self.tenant = tenant
        audit = AuditLog(pool, SystemClock())
        self.assets = AssetStore(pool, audit)
        self.ledger = Ledger(pool, self.assets, audit, random_ids())
        self.budgets = BudgetStore(pool, self.assets, audit)
        self._numbers = itertools.count()

    async def ready(self) -> "Books":
        for asset in (COIN, TOKEN):
            await self.assets.add(asset, "ada")
        return self

    async def budget(self, cap: int, scope: Any = "tenant", subject: str = "", **more: Any) -> int:
        limit = Limit(self.tenant, scope, subject, more.pop("asset", TOKEN), cap, **more)
        return (await self.budgets.set(limit, "ada")).id

    def asks(self, amount: int = 100, **fields: Any) -> Proposal:
        number = next(self._numbers)
        known: dict[str, Any] = {
            "tenant": self.tenant,
            "key": f"k{number}",
            "payee": "0x" + "cd" * 20,
            "asset": TOKEN.id,
            "chain_id": 31337,
            "amount": amount,
            "fee_asset": COIN.id,
            "fee_cap": 0,
            "purpose": "data for the briefing",
            "category": "data",
            "agent": "ann",
            "policy_version": "p1",
            "ttl_s": 600,
        }
        return Proposal(**{**known, **fields})

    async def at(self, state: IntentState, amount: int = 100, **fields: Any) -> Intent:
        """A payment that has come as far as a state on the straight way."""
        intent = await self.ledger.propose(self.asks(amount, **fields))
        for step in (S.SCREENED, S.APPROVED, S.RESERVED, S.SIGNED, S.BROADCAST, S.CONFIRMED, S.CAPTURED):
            if intent.state == state:
                return intent
            await self.step(intent, step)
            intent = await self.ledger.intent(intent.id)
        assert intent.state == state
        return intent

    async def step(self, intent: Intent, to: IntentState) -> None:
        if to == S.RESERVED:
            await self.ledger.reserve(intent)
        elif to == S.CAPTURED:
            await self.ledger.capture(intent.id)
        else:
            await self.ledger.move(intent.id, to, *WAY[to], by="ada")

    async def state(self, intent: Intent) -> IntentState:
        return (await self.ledger.intent(intent.id)).state

    async def many(self, amounts: list[int]) -> list[Intent]:
        """Approved payments, a statement for each step of all of them."""
        first = self.asks(1)
        query = """
            SELECT p.intent FROM unnest(%s::numeric[]) WITH ORDINALITY AS a (amount, n)
            CROSS JOIN LATERAL propose_intent(gen_random_uuid(), %s, %s || n, %s, %s, %s, a.amount, %s, 0, 'many',
                'data', 'agent ' || n, '', '', '', 'p1', 600) AS p
        """
        about = (self.tenant, f"{first.key} of ", first.payee, first.asset, first.chain_id, first.fee_asset)
        ids = [row["intent"] for row in await fetch(self.pool, query, ([str(each) for each in amounts], *about))]
        for old, new in ((S.PROPOSED, S.SCREENED), (S.SCREENED, S.APPROVED)):
            move = "SELECT move_intent(n, ARRAY[%s], %s, 'ada', '') FROM unnest(%s::uuid[]) AS n"
            await fetch(self.pool, move, (str(old), str(new), ids))
        rows = await fetch(self.pool, "SELECT * FROM intents WHERE id = ANY (%s)", (ids,))
        return [intent_of(row) for row in rows]

    async def used(self, number: int) -> tuple[int, int]:
        """What a budget holds and has spent."""
        (found,) = [one for one in await self.budgets.listed(self.tenant) if one.id == number]
        return found.held, found.posted

    async def intact(self) -> None:
        found = await verify_ledger(self.pool, self.tenant)
        assert found.faults == []


@pytest.fixture
async def books(shared_database_url: str) -> AsyncGenerator[Books]:
    """The books of a tenant of this test's own."""
    async with open_pool(shared_database_url, 8) as pool:
        yield await Books(pool, f"t{random_ids()()[:8]}").ready()


@pytest.fixture
def new_books() -> "Callable[[Pool], Awaitable[Books]]":
    """Opens the books of a database."""
    return lambda pool: Books(pool, "default").ready()


@pytest.fixture
async def alone(pool: Pool) -> Books:
    """Books in a database of this test's own, whose clock it may set."""
    return await Books(pool, "default").ready()


DOOMED = Path(__file__).with_name("doomed.py")
Doom = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
def doom(shared_database_url: str, tmp_path: Path) -> Doom:
    """Has jobs done by processes that are killed at points of their own (``doomed.py``), and says how they ended.

    ``parts``: what those processes reach in this one, by its name.
    """

    async def run(what: str, jobs: list[str], points: list[int], parts: dict[str, Any], **more: Any) -> dict[str, Any]:
        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                length = int.from_bytes(await reader.readexactly(4), "big")
                part, method, values, named = pickle.loads(await reader.readexactly(length))
                try:
                    answer: tuple[bool, Any] = (True, await getattr(parts[part], method)(*values, **named))
                except Exception as error:  # noqa: BLE001 - told to whoever asked
                    answer = (False, error)
                told = pickle.dumps(answer)
                writer.write(len(told).to_bytes(4, "big") + told)
                await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                pass  # it was killed meanwhile
            finally:
                writer.close()

        place = tmp_path / "parts"
        order = {"what": what, "jobs": jobs, "points": points, "url": shared_database_url, "place": str(place), **more}
        async with await asyncio.start_unix_server(meet, place):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(DOOMED), json.dumps(order)), stdout=asyncio.subprocess.PIPE
            )
            try:
                said, _ = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
        assert process.returncode == 0
        return json.loads(said)

    return run


Clock = Callable[[str], Awaitable[None]]


@pytest.fixture
def clock_is(alone: Books) -> Clock:
    """Sets the ledger's clock to an SQL expression; only the owner of its functions can do that."""

    async def move(expression: str) -> None:
        async with alone.pool.connection() as connection, connection.transaction():
            await connection.execute("GRANT CREATE ON SCHEMA public TO chimera_ledger")
            await connection.execute("SET LOCAL ROLE chimera_ledger")
            await connection.execute(
                "CREATE OR REPLACE FUNCTION ledger_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
                f"$$ SELECT {expression} $$".encode()
            )

    return move


@pytest.fixture
def later(clock_is: Clock) -> Clock:
    """Sets the ledger's clock forward by an interval."""

    async def move(by: str) -> None:
        await clock_is(f"clock_timestamp() + interval '{by}'")

    return move
