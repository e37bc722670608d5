"""What the fleet does now, in figures."""

from typing import Any

from chimera.store.latencies import LatencyStore
from chimera.store.pools import PoolStore
from chimera.store.postgres import Pool, fetch
from chimera.store.workers import WorkerStore

_WAITS = """
SELECT p.name AS pool,
    (SELECT extract(epoch FROM clock_timestamp() - min(greatest(r.created_at, r.not_before)))::float8
     FROM runs AS r WHERE r.pool = p.name AND r.state = 'queued') AS oldest_wait_s,
    w.p50 AS wait_p50_s, w.p99 AS wait_p99_s, w.n AS started
FROM pools AS p LEFT JOIN (
    SELECT pool, count(*) AS n, percentile_cont(0.5) WITHIN GROUP (ORDER BY waited) AS p50,
        percentile_cont(0.99) WITHIN GROUP (ORDER BY waited) AS p99
    FROM (
        SELECT pool, greatest(0, extract(epoch FROM started_at - greatest(created_at, not_before)))::float8 AS waited
        FROM runs WHERE started_at > clock_timestamp() - interval '5 minutes' ORDER BY started_at DESC LIMIT 10000
    ) AS recent GROUP BY pool
) AS w ON w.pool = p.name ORDER BY p.name
"""


async def fleet_load(pool: Pool) -> dict[str, list[dict[str, Any]]]:
    """Pools with their runs, agents and queue waits (seconds; of what started within five minutes), and workers.

    A wait is from when a run could start first until a worker claimed it last. ``latencies`` of a pool are what workers
    measured: see :class:`chimera.store.latencies.LatencyStore`.
    """
    measured = await LatencyStore(pool).measured()
    waits = {row["pool"]: row for row in await fetch(pool, _WAITS)}
    pools: list[dict[str, Any]] = []
    for each in await PoolStore(pool).listed():
        agents = {name[7:]: number for name, number in each.load.items() if name.startswith("agents ")}
        states = {name: each.load.get(name, 0) for name in ("running", "queued", "delayed", "waiting", "dead")}
        more = {"room": each.concurrency, "agents": agents, "latencies": measured.get(each.name, {})}
        pools.append({**waits[each.name], **states, **more})
    return {"pools": pools, "workers": await WorkerStore(pool).listed()}
