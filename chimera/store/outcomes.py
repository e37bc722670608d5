"""What was used for which words, and whether it worked, by tenant."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from chimera.store.postgres import Pool, fetch
from chimera.store.values import as_stored

HALF_LIFE_S = 30 * 24 * 3600.0
FORGOTTEN = timedelta(days=180)
"""After six half-lives nothing is left to say."""


class OutcomeStore:
    """Reads and writes the table ``tool_outcomes``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def count(self, tenant: str, tool: str, stems: Sequence[str], worked: bool, at: datetime) -> None:
        """Count one outcome of a tool for each of the stems; what was counted before has faded by then."""
        faded = "power(0.5, greatest(extract(epoch FROM %(at)s - o.counted_at), 0)::float8 / %(half)s)"
        values: dict[str, Any] = {
            "tenant": as_stored(tenant),
            "tool": tool,
            "stems": sorted(set(map(as_stored, stems))),
            "worked": float(worked),
            "failed": float(not worked),
            "at": at,
            "half": HALF_LIFE_S,
            "old": at - FORGOTTEN,
        }
        await fetch(
            self._pool,
            "WITH gone AS (DELETE FROM tool_outcomes WHERE tenant = %(tenant)s AND tool = %(tool)s "  # noqa: S608
            "AND counted_at < %(old)s AND stem <> ALL(%(stems)s)) "
            "INSERT INTO tool_outcomes AS o (tenant, stem, tool, worked, failed, counted_at) "
            "SELECT %(tenant)s, said.stem, %(tool)s, %(worked)s, %(failed)s, %(at)s "
            "FROM unnest(%(stems)s::text[]) AS said(stem) ORDER BY said.stem "
            "ON CONFLICT (tenant, stem, tool) DO UPDATE SET "
            f"worked = o.worked * {faded} + EXCLUDED.worked, failed = o.failed * {faded} + EXCLUDED.failed, "
            "counted_at = greatest(o.counted_at, EXCLUDED.counted_at)",
            values,
        )

    async def of(self, tenant: str, stems: Sequence[str]) -> list[dict[str, Any]]:
        """What is known of the tools that were used for any of the stems."""
        return await fetch(
            self._pool,
            "SELECT stem, tool, worked, failed, counted_at FROM tool_outcomes WHERE tenant = %s AND stem = ANY(%s)",
            (as_stored(tenant), sorted(set(map(as_stored, stems)))),
        )
