"""A database with a ledger for the benchmark: budgets of one tenant, and approved payments to reserve."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import make_conninfo

from chimera.commerce.assets import USD, Asset, AssetStore
from chimera.commerce.budget_use import Period, Scope
from chimera.commerce.budgets import BudgetStore, Limit
from chimera.commerce.intents import Intent
from chimera.commerce.ledger import Ledger
from chimera.commerce.rows import intent_of
from chimera.core.clock import SystemClock
from chimera.core.ids import random_ids
from chimera.store.audit import AuditLog
from chimera.store.embedded import EmbeddedServers
from chimera.store.embedded.layout import LEDGER_ROLE
from chimera.store.migrate import migrate
from chimera.store.postgres import Pool, fetch, open_pool

_IDLE_S = 5.0
_POOL = 40
_APPROVED_AT_ONCE = 500
SCOPES: Sequence[tuple[Scope, str, Period, int]] = (
    ("tenant", "", "total", 0),
    ("category", "data", "total", 0),
    ("pool", "p", "total", 0),
    ("agent", "ann", "total", 0),
    ("team", "t", "total", 0),
    ("mission", "m", "total", 0),
    ("tenant", "", "day", 0),
    ("tenant", "", "rolling", 86_400),
)
"""The budgets that a payment can fall into here, the first N of them."""
_PROPOSE = """
    SELECT p.intent FROM unnest(%s::numeric[]) WITH ORDINALITY AS a (amount, n)
    CROSS JOIN LATERAL propose_intent(gen_random_uuid(), %s, 'k' || (n + %s), 'shop', %s, NULL, a.amount, %s, 0,
        'bench', 'data', 'ann', 'p', 't', 'm', 'p1', 86400) AS p
"""


@dataclass(frozen=True)
class Stage:
    """The open database."""

    pool: Pool
    owner: Pool
    """Connections as the ledger's owner, for the way that writes its tables from the client."""
    url: str
    audit: AuditLog
    assets: AssetStore

    def ledger(self) -> Ledger:
        """A ledger as a process has one."""
        return Ledger(self.pool, self.assets, self.audit, random_ids())

    async def budgets(self, tenant: str, count: int, cap: int) -> list[int]:
        """The first so many budgets of a tenant; their ids."""
        store = BudgetStore(self.pool, self.assets, self.audit)
        asset = Asset(USD, "USD", 6)
        wanted = SCOPES[:count]
        limits = [
            Limit(tenant, scope, subject, asset, cap, period, window) for scope, subject, period, window in wanted
        ]
        return [(await store.set(limit, "bench")).id for limit in limits]

    async def approved(self, tenant: str, amounts: Sequence[int]) -> list[Intent]:
        """Payments of a tenant that are ready to be reserved."""
        found: list[Intent] = []
        for place in range(0, len(amounts), _APPROVED_AT_ONCE):  # a busy machine ends a transaction that takes long
            found += await self._approved(tenant, amounts[place : place + _APPROVED_AT_ONCE], place)
        return found

    async def _approved(self, tenant: str, amounts: Sequence[int], place: int) -> list[Intent]:
        texts = [str(amount) for amount in amounts]
        ids = [row["intent"] for row in await fetch(self.pool, _PROPOSE, (texts, tenant, place, USD, USD))]
        for old, new in (("proposed", "screened"), ("screened", "approved")):
            move = "SELECT move_intent(n, ARRAY[%s], %s, 'bench', '') FROM unnest(%s::uuid[]) AS n"
            await fetch(self.pool, move, (old, new, ids))
        rows = await fetch(self.pool, "SELECT * FROM intents WHERE id = ANY (%s)", (ids,))
        return [intent_of(row) for row in rows]


@asynccontextmanager
async def open_stage() -> AsyncGenerator[Stage]:
    """An embedded PostgreSQL in a folder that is deleted afterwards."""
    home = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="chimera-bench-"))
    servers = EmbeddedServers(home, idle_s=_IDLE_S)
    try:
        endpoints = await servers.acquire()
        as_owner = make_conninfo(endpoints.database_url, options=f"-c role={LEDGER_ROLE}")
        async with open_pool(endpoints.database_url, _POOL) as pool:
            await migrate(pool)
            audit = AuditLog(pool, SystemClock())
            async with open_pool(as_owner, _POOL) as owner:
                yield Stage(pool, owner, endpoints.database_url, audit, AssetStore(pool, audit))
    finally:
        try:
            await servers.purge(force=True)
        finally:
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
