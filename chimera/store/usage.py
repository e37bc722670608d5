"""What each mission used: tokens and money, one row per model call."""

from chimera.core.contracts import Usage
from chimera.core.money import Money
from chimera.store.postgres import Pool, fetch, fetch_one


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
        """What the mission used so far."""
        row = await fetch_one(
            self._pool,
            "SELECT count(*) AS calls, coalesce(sum(tokens_in), 0)::bigint AS tokens_in, "
            "coalesce(sum(tokens_out), 0)::bigint AS tokens_out, coalesce(sum(cost_units), 0)::bigint AS units "
            "FROM usage WHERE mission_id = %s",
            (mission_id,),
        )
        if row is None:
            return Usage()
        return Usage(
            calls=row["calls"],
            tokens_in=row["tokens_in"],
            tokens_out=row["tokens_out"],
            cost=Money(units=row["units"]),
        )
