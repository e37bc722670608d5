"""Budgets: how much may be spent of an asset, by whom or on what, in which time. People set them, agents cannot.

The methods that payments use only read. :meth:`BudgetStore.set` acts as the owner of the ledger (``owner.py``), to whom
alone the database grants it; whoever may ask for that is decided by the permissions, before it is called.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from chimera.commerce.assets import Asset, AssetStore
from chimera.commerce.owner import as_owner, become
from chimera.core.errors import InputError
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Pool, fetch, fetch_one

Scope = Literal["tenant", "category", "pool", "team", "mission", "agent"]
SCOPES: tuple[Scope, ...] = ("tenant", "category", "pool", "team", "mission", "agent")
Period = Literal["total", "day", "week", "month", "rolling"]
PERIODS: tuple[Period, ...] = ("total", "day", "week", "month", "rolling")
MOST_WINDOW_S = 366 * 86_400
_WARN_SHARE = 80
"""Per cent of a cap from which on a budget is called nearly used up."""
_SPENT = """
    SELECT b.id, b.cap, b.held, b.period, b.window_s, ledger_now() AS now,
        CASE WHEN b.period IN ('day', 'week', 'month') AND budget_begin(b.period, ledger_now()) > b.since THEN 0
            WHEN b.period = 'rolling' THEN b.posted - coalesce((SELECT sum(s.amount) FROM budget_spends AS s
                WHERE s.budget_id = b.id AND s.at <= ledger_now() - make_interval(secs => b.window_s)), 0)
            ELSE b.posted END AS posted,
        nullif(budget_begin(b.period, ledger_now()), '-infinity') AS since, b.tenant, b.scope, b.subject, b.asset,
        b.frozen, b.set_by, b.set_at
    FROM budgets AS b WHERE b.tenant = %s ORDER BY b.asset, array_position(%s::text[], b.scope), b.subject, b.period
"""
_RECENT = """
    SELECT b AS id, sum(h.captured - h.refunded) AS spent, min(h.settled_at) AS first
    FROM holds AS h CROSS JOIN unnest(h.budgets) AS b
    WHERE h.state = 'captured' AND h.settled_at > ledger_now() - make_interval(secs => %s) AND b = ANY (%s) GROUP BY b
"""


@dataclass(frozen=True)
class Budget:
    """A budget and how much of it is used, in atomic units of its asset.

    ``held`` is reserved at this moment; ``posted`` was spent within the period or window. ``since``: where the calendar
    period began. ``window_s``: of a rolling one. A budget counts from when it was made.
    """

    id: int
    tenant: str
    scope: Scope
    subject: str
    asset: str
    period: Period
    window_s: int
    cap: int
    held: int
    posted: int
    frozen: bool
    set_by: str
    set_at: datetime
    now: datetime
    since: datetime | None = None
    per_day: int = 0
    """What was spent a day, lately."""

    @property
    def left(self) -> int:
        """What can still be reserved."""
        return 0 if self.frozen else max(0, self.cap - self.held - self.posted)

    @property
    def used_percent(self) -> int:
        """How much of the cap is used or held, rounded down."""
        return 100 * (self.held + self.posted) // self.cap if self.cap else 100

    @property
    def used_up_at(self) -> datetime | None:
        """When nothing would be left if it goes on as lately; None when that is not within this period, or ever."""
        if self.frozen or self.per_day <= 0 or self.period == "rolling":
            return None
        left_s = 86_400 * self.left // self.per_day
        end = self.ends_at
        if left_s > 10 * 366 * 86_400:
            return None
        at = self.now + timedelta(seconds=left_s)
        return at if end is None or at < end else None

    @property
    def ends_at(self) -> datetime | None:
        """When the calendar period ends and the budget is whole again."""
        if self.since is None or self.period not in ("day", "week", "month"):
            return None
        if self.period == "month":
            return (self.since.replace(day=1) + timedelta(days=32)).replace(day=1)
        return self.since + timedelta(days=1 if self.period == "day" else 7)

    @property
    def warning(self) -> str:
        """What somebody should know about it, in a word or none: frozen, used up, nearly used up, running out."""
        if self.frozen:
            return "frozen"
        if self.left == 0:
            return "used up"
        if self.used_percent >= _WARN_SHARE:
            return "nearly used up"
        return "running out" if self.used_up_at is not None and self.ends_at is not None else ""

    @property
    def name(self) -> str:
        """The budget as it is named on the command line: ``agent:ann``, ``tenant``."""
        return f"{self.scope}:{self.subject}" if self.subject else self.scope

    def plain(self) -> dict[str, Any]:
        """The budget as JSON data; units as text."""
        units = {name: str(getattr(self, name)) for name in ("cap", "held", "posted", "left", "per_day")}
        ends, used_up = self.ends_at, self.used_up_at
        return {
            "id": self.id,
            "tenant": self.tenant,
            "scope": self.scope,
            "subject": self.subject,
            "asset": self.asset,
            "period": self.period,
            "window_s": self.window_s,
            **units,
            "frozen": self.frozen,
            "set_by": self.set_by,
            "set_at": self.set_at.isoformat(),
            "ends_at": ends.isoformat() if ends else None,
            "used_up_at": used_up.isoformat() if used_up else None,
            "warning": self.warning,
        }


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

    async def listed(self, tenant: str, *, lately_s: int = 7 * 86_400) -> list[Budget]:
        """The budgets of a tenant with what is used of each now, and what was spent a day within ``lately_s``."""
        rows = await fetch(self._pool, _SPENT, (tenant, list(SCOPES)))
        found = [_budget(row) for row in rows]
        recent = await fetch(self._pool, _RECENT, (lately_s, [budget.id for budget in found]))
        spent = {int(row["id"]): row for row in recent}
        return [_forecast(budget, spent[budget.id]) if budget.id in spent else budget for budget in found]

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


def _budget(row: dict[str, Any]) -> Budget:
    units = {name: int(row[name]) for name in ("cap", "held", "posted")}
    since = row["since"] if row["period"] in ("day", "week", "month") else None
    found: dict[str, Any] = {**row, **units, "since": since}
    return Budget(**found)


def _forecast(budget: Budget, recent: dict[str, Any]) -> Budget:
    """The budget with what was spent a day since the first of the recent payments; at least over one day."""
    over_s = max(86_400, int((budget.now - recent["first"]).total_seconds()))
    return replace(budget, per_day=int(recent["spent"]) * 86_400 // over_s)
