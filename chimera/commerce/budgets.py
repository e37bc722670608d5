"""Budgets: how much may be spent of an asset, by whom or on what, in which time. People set them, agents cannot.

The methods that payments use only read. :meth:`BudgetStore.set` acts as the owner of the ledger (``owner.py``), to whom
alone the database grants it; whoever may ask for that is decided by the permissions, before it is called.
"""

from dataclasses import dataclass

from chimera.commerce.assets import Asset, AssetStore
from chimera.commerce.budget_use import PERIODS, SCOPES, Budget, Period, Scope, budgets_of
from chimera.commerce.owner import as_owner, become
from chimera.core.errors import InputError
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Pool, fetch_one

MOST_WINDOW_S = 366 * 86_400


@dataclass(frozen=True)
class Limit:
    """A budget as it is asked for. ``cap``: atomic units; ``window_s``: of a rolling one, else 0."""

    tenant: str
    scope: Scope
    subject: str
    asset: Asset
    cap: int
    period: Period = "total"
    window_s: int = 0
    frozen: bool = False


class BudgetStore:
    """Reads and writes the table ``budgets``."""

    def __init__(self, pool: Pool, assets: AssetStore, audit: AuditLog) -> None:
        self._pool = pool
        self._assets = assets
        self._audit = audit

    async def set(self, limit: Limit, by: str) -> Budget:
        """Make a budget, or give one another cap; it holds from the next payment on, in all processes.

        A cap below what is used takes nothing back, and nothing more is spent until it fits again.

        Raises:
            InputError: such a budget cannot be. GuardRejected: the connected database role may not set one.
        """
        check_limit(limit)
        async with as_owner(self._pool) as (connection, me):
            cursor = await connection.execute(
                "SELECT id FROM set_budget(%s, %s, %s, %s, %s, %s, %s::numeric, %s, %s)",
                (
                    *(limit.tenant, limit.scope, limit.subject, limit.asset.id, limit.period, limit.window_s),
                    *(limit.cap, limit.frozen, by[:200]),
                ),
            )
            row = await cursor.fetchone()
            await become(connection, me)
            about = {"scope": limit.scope, "subject": limit.subject, "asset": limit.asset.id, "period": limit.period}
            data = {**about, "window_s": limit.window_s, "cap": str(limit.cap), "frozen": limit.frozen}
            await self._audit.append_within(
                connection, AuditEvent(kind="money.budget", actor=by[:200], tenant=limit.tenant, data=data)
            )
        made = row["id"] if row else 0
        return next(budget for budget in await self.listed(limit.tenant) if budget.id == made)

    async def listed(self, tenant: str) -> list[Budget]:
        """The budgets of a tenant with what is used of each now."""
        return await budgets_of(self._pool, tenant)

    async def find(self, limit: Limit) -> Budget | None:
        """The budget that a limit names, if there is one."""
        row = await fetch_one(
            self._pool,
            "SELECT id FROM budgets WHERE (tenant, scope, subject, asset, period, window_s) = (%s, %s, %s, %s, %s, %s)",
            (limit.tenant, limit.scope, limit.subject, limit.asset.id, limit.period, limit.window_s),
        )
        if row is None:
            return None
        return next((one for one in await self.listed(limit.tenant) if one.id == row["id"]), None)


def check_limit(limit: Limit) -> None:
    """Let a limit pass that can be one.

    Raises:
        InputError: it cannot.
    """
    limit.asset.checked(limit.cap, positive=False)
    if limit.scope not in SCOPES or limit.period not in PERIODS:
        raise InputError(f"a budget is of {', '.join(SCOPES)}, and over {', '.join(PERIODS)}")
    if (limit.scope == "tenant") != (limit.subject == "") or len(limit.subject) > 300:
        raise InputError("a budget names whose it is, and that of a tenant names nobody", remedy="Such as agent:NAME.")
    if (limit.period == "rolling") != (limit.window_s > 0) or limit.window_s > MOST_WINDOW_S:
        raise InputError("a rolling budget, and no other, has a window of at most 366 days")
