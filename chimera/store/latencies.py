"""How long the parts of steps take, as each worker measured it: one row for each pool and part, and none for a step."""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from chimera.core.timing import PARTS, WINDOW_S, Counts, Part, percentile
from chimera.store.checkpoints.group import Lease
from chimera.store.postgres import Pool, fetch

Measured = dict[str, dict[str, dict[str, Any]]]
"""Pool, part, and of it ``n`` and the percentiles ``p50_s``, ``p95_s``, ``p99_s`` in seconds."""
_SHARES = {"p50_s": 0.5, "p95_s": 0.95, "p99_s": 0.99}


class LatencyStore:
    """Reads and writes the table ``latencies``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def put(self, lease: Lease, measured: Mapping[tuple[str, Part], Counts]) -> None:
        """Replace what a worker measured, while its turn lasts; what it no longer measured is taken away."""
        keys = list(measured)
        await fetch(
            self._pool,
            """
            WITH mine AS (SELECT id FROM workers WHERE id = %(worker)s AND epoch = %(epoch)s FOR SHARE),
            new AS (SELECT * FROM unnest(%(pools)s::text[], %(parts)s::text[], %(counts)s::jsonb[])
                AS n (pool, part, counts)),
            gone AS (
                DELETE FROM latencies AS l USING mine WHERE l.worker = mine.id
                AND NOT EXISTS (SELECT FROM new AS n WHERE n.pool = l.pool AND n.part = l.part)
            )
            INSERT INTO latencies (worker, pool, part, counts, measured_at)
            SELECT mine.id, n.pool, n.part, n.counts, clock_timestamp() FROM new AS n, mine
            ON CONFLICT (worker, pool, part) DO UPDATE SET counts = excluded.counts, measured_at = excluded.measured_at
            """,
            {
                "worker": lease.worker,
                "epoch": lease.epoch,
                "pools": [pool for pool, _ in keys],
                "parts": [part for _, part in keys],
                "counts": [json.dumps(measured[key]) for key in keys],
            },
        )

    async def measured(self, pool: str | None = None) -> Measured:
        """What all workers measured within the last minutes, together."""
        rows = await fetch(
            self._pool,
            "SELECT pool, part, counts FROM latencies WHERE (%(pool)s::text IS NULL OR pool = %(pool)s) "
            "AND measured_at > clock_timestamp() - make_interval(secs => %(window)s)",
            {"pool": pool, "window": WINDOW_S},
        )
        totals: defaultdict[tuple[str, str], Counts] = defaultdict(dict)
        for row in rows:
            total = totals[row["pool"], row["part"]]
            for place, number in row["counts"].items():
                total[int(place)] = total.get(int(place), 0) + number
        found: Measured = {name: {} for name, _ in sorted(totals)}
        for (name, part), counts in sorted(totals.items(), key=lambda item: PARTS.index(item[0][1])):
            figures = {key: percentile(counts, share) for key, share in _SHARES.items()}
            found[name][part] = {"n": sum(counts.values()), **figures}
        return found
