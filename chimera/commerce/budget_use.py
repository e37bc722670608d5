"""What is used of budgets, and how each will go on: for whoever looks, pays or decides. Nothing here sets one."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from chimera.store.postgres import Pool, fetch

Scope = Literal["tenant", "category", "pool", "team", "mission", "agent"]
SCOPES: tuple[Scope, ...] = ("tenant", "category", "pool", "team", "mission", "agent")
Period = Literal["total", "day", "week", "month", "rolling"]
PERIODS: tuple[Period, ...] = ("total", "day", "week", "month", "rolling")
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


async def budgets_of(pool: Pool, tenant: str, *, lately_s: int = 7 * 86_400) -> list[Budget]:
    """The budgets of a tenant with what is used of each now, and what was spent a day within ``lately_s``."""
    found = [_budget(row) for row in await fetch(pool, _SPENT, (tenant, list(SCOPES)))]
    recent = await fetch(pool, _RECENT, (lately_s, [budget.id for budget in found]))
    spent = {int(row["id"]): row for row in recent}
    return [_forecast(budget, spent[budget.id]) if budget.id in spent else budget for budget in found]


def _budget(row: dict[str, Any]) -> Budget:
    units = {name: int(row[name]) for name in ("cap", "held", "posted")}
    since = row["since"] if row["period"] in ("day", "week", "month") else None
    found: dict[str, Any] = {**row, **units, "since": since}
    return Budget(**found)


def _forecast(budget: Budget, recent: dict[str, Any]) -> Budget:
    """The budget with what was spent a day since the first of the recent payments; at least over one day."""
    over_s = max(86_400, int((budget.now - recent["first"]).total_seconds()))
    return replace(budget, per_day=int(recent["spent"]) * 86_400 // over_s)
