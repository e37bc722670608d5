"""Pools: agents of one kind, with the limits that keep what goes wrong in one of them inside it."""

from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any, cast

from chimera.core.errors import ConflictError, InputError
from chimera.store.postgres import Pool, fetch, fetch_one
from chimera.store.values import as_json

_FIELDS = ("model", "tools", "concurrency", "tenant_limit", "priority", "weight", "budget_units")


@dataclass(frozen=True)
class AgentPool:
    """A pool. None is no limit of its own: the model of the settings, every tool, any number of a tenant, any cost."""

    name: str
    concurrency: int = 1_000
    model: str | None = None
    tools: list[str] | None = None
    tenant_limit: int | None = None
    priority: int = 0
    weight: int = 1
    budget_units: int | None = None
    spent_units: int = 0
    load: dict[str, int] = field(default_factory=dict[str, int], compare=False)
    """How many runs and agents there are by state, where that was asked for."""

    def allows(self, tools: list[str]) -> bool:
        """Whether agents of the pool may use all these tools; its own list may have patterns such as ``files__*``."""
        allowed = self.tools
        return allowed is None or all(any(fnmatchcase(tool, known) for known in allowed) for tool in tools)

    @property
    def usable(self) -> bool:
        """Whether it takes runs at all: it has room for one, and money left."""
        return self.concurrency > 0 and (self.budget_units is None or self.spent_units < self.budget_units)

    def plain(self) -> dict[str, Any]:
        """The pool as JSON data."""
        return asdict(self)


class PoolStore:
    """Reads and writes the table ``pools``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, new: AgentPool) -> None:
        """Make a pool.

        Raises:
            ConflictError: there is one of that name. InputError: a limit cannot be.
        """
        _check(new.plain())
        rows = await fetch(
            self._pool,
            "INSERT INTO pools (name, model, tools, concurrency, tenant_limit, priority, weight, budget_units) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING name",
            (
                new.name,
                new.model,
                as_json(new.tools) if new.tools is not None else None,
                new.concurrency,
                new.tenant_limit,
                new.priority,
                new.weight,
                new.budget_units,
            ),
        )
        if not rows:
            raise ConflictError(f"there is a pool {new.name} already", remedy="`chimera pools set` changes it.")

    async def change(self, name: str, **changes: Any) -> AgentPool:
        """Change what is named of a pool; it holds for the next claim of every worker.

        Raises:
            InputError: there is no such pool, or a limit cannot be.
        """
        _check(changes)
        for column, value in changes.items():
            if column not in _FIELDS:
                raise InputError(f"a pool has no {column[:40]!r}")
            stored = as_json(value) if column == "tools" and value is not None else value
            query = f"UPDATE pools SET {column} = %s, updated_at = now() WHERE name = %s"  # noqa: S608 - of a fixed list
            await fetch(self._pool, query, (stored, name))
        return await self.get(name)

    async def get(self, name: str) -> AgentPool:
        """A pool by its name.

        Raises:
            InputError: there is none.
        """
        row = await fetch_one(self._pool, "SELECT * FROM pools WHERE name = %s", (name,))
        if row is None:
            raise InputError(f"there is no pool {name[:60]!r}", remedy="`chimera pools ls` lists them.")
        return _read(row)

    async def listed(self) -> list[AgentPool]:
        """All pools with how many runs and agents of each state they have; runs that are done are not counted."""
        rows = await fetch(
            self._pool,
            """
            SELECT p.*, coalesce(n.load, '{}') AS load FROM pools AS p LEFT JOIN (
                SELECT pool, jsonb_object_agg(what, n) AS load FROM (
                    SELECT pool, state AS what, count(*) AS n FROM runs
                    WHERE state IN ('delayed', 'queued', 'running', 'waiting', 'dead') GROUP BY 1, 2
                    UNION ALL SELECT pool, 'agents ' || state, count(*) FROM agents GROUP BY 1, 2
                ) AS counted GROUP BY pool
            ) AS n ON n.pool = p.name ORDER BY p.name
            """,
        )
        return [_read(row) for row in rows]

    async def spend(self, name: str, units: int) -> None:
        """Take money from a pool's budget."""
        await fetch(self._pool, "UPDATE pools SET spent_units = spent_units + %s WHERE name = %s", (units, name))


def _read(row: dict[str, Any]) -> AgentPool:
    kept = {name: row[name] for name in ("name", *_FIELDS, "spent_units")}
    return AgentPool(**kept, load=cast("dict[str, int]", row.get("load") or {}))


_RANGES = {
    "concurrency": (0, 10_000_000),
    "tenant_limit": (0, 10_000_000),
    "priority": (-8, 8),
    "weight": (1, 1_000),
    "budget_units": (0, 2**62),
}


def _check(values: dict[str, Any]) -> None:
    for name, (least, most) in _RANGES.items():
        value = values.get(name)
        if value is not None and not least <= int(value) <= most:
            raise InputError(f"{name} of a pool is from {least} to {most:,}, not {value}")
    name = values.get("name", "x")
    if not name or len(name) > 64 or not all(letter.isalnum() or letter in "_.-" for letter in name):
        raise InputError("the name of a pool has 1 to 64 letters, digits, dots, dashes and underscores")
