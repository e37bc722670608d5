"""What each mission used: tokens and money, one row per model call."""

from functools import reduce
from operator import add

from chimera.core.contracts import Usage
from chimera.core.money import Money
from chimera.store.postgres import Pool, fetch


class UsageLog:
    """Reads and writes the table ``usage``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, call_id: str, mission_id: str, role: str, model: str, usage: Usage) -> None:
        """Record one model call; the same ``call_id`` counts once."""
        await fetch(
            self._pool,
            "INSERT INTO usage (id, mission_id, role, model, tokens_in, tokens_out, cost_units, cost_asset) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (
                call_id,
                mission_id,
                role,
                model,
                usage.tokens_in,
                usage.tokens_out,
                usage.cost.units,
                usage.cost.asset,
            ),
        )

    async def total(self, mission_id: str) -> Usage:
        """What the mission used so far.

        Raises:
            InputError: its calls were paid in different assets, which have no sum.
        """
        rows = await fetch(
            self._pool,
            "SELECT count(*) AS calls, sum(tokens_in) AS tokens_in, sum(tokens_out) AS tokens_out, "
            "sum(cost_units) AS units, cost_asset FROM usage WHERE mission_id = %s GROUP BY cost_asset",
            (mission_id,),
        )
        parts = [
            Usage(
                calls=row["calls"],
                tokens_in=int(row["tokens_in"]),  # a sum of bigints is numeric, so that it cannot overflow
                tokens_out=int(row["tokens_out"]),
                cost=Money(units=int(row["units"]), asset=row["cost_asset"]),
            )
            for row in rows
        ]
        return reduce(add, parts) if parts else Usage()
