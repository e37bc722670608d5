"""Agents that sleep on disk in the middle of their work, most of them for long, and some that wake up every second.

One agent is run; the checkpoint after its tool call, and its run, are then copied as often as agents are wanted. The
copies wake up by time, on real ``chimera worker`` processes, and go on from there: a model call and the end.
"""

import asyncio
from pathlib import Path
from typing import Any

from chimera.bench.fleet.crew import new_runs, open_crew
from chimera.bench.fleet.process import Load
from chimera.bench.fleet.servers import Servers
from chimera.store.postgres import Connection, connect, take_time

WAKE_PER_S = 100
LEAD_S = 5.0
SETTLE_S = 60.0
_STEP = 4
"""The checkpoint to copy: the one after the result of the tool was judged."""
_COPIES = """
    INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
    SELECT 'parked-' || n, checkpoint_ns, checkpoint_id, NULL, type, checkpoint, metadata
    FROM checkpoints, generate_series(1, %(agents)s) AS n
    WHERE thread_id = %(thread)s AND checkpoint_ns = '' AND metadata->>'step' = %(step)s
"""
_BLOBS = """
    INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    SELECT 'parked-' || n, b.checkpoint_ns, b.channel, b.version, b.type, b.blob
    FROM checkpoints AS c, jsonb_each_text(c.checkpoint->'channel_versions') AS v, checkpoint_blobs AS b,
        generate_series(1, %(agents)s) AS n
    WHERE c.thread_id = %(thread)s AND c.checkpoint_ns = '' AND c.metadata->>'step' = %(step)s
        AND b.thread_id = c.thread_id AND b.checkpoint_ns = '' AND b.channel = v.key AND b.version = v.value
"""
_RUNS = """
    INSERT INTO runs (id, thread_id, pool, tenant, state, max_failures, not_before, payload)
    SELECT 'parked-' || n, 'parked-' || n, pool, tenant, 'delayed', max_failures,
        CASE WHEN n <= %(wake)s THEN now() + make_interval(secs => %(lead)s + n / %(rate)s)
             ELSE now() + interval '30 days' END,
        payload
    FROM runs, generate_series(1, %(agents)s) AS n WHERE id = %(run)s
"""
_FOUND = """
    SELECT id, state, extract(epoch FROM ended_at - not_before)::float8 AS took
    FROM runs WHERE id LIKE 'parked-%%' AND not_before < now() + interval '1 day'
"""


async def parked(servers: Servers, load: Load, workers: int, agents: int) -> dict[str, Any]:
    """Park ``agents``, wake ``load.runs`` of them up one after the other, and say how long each took and cost."""
    async with open_crew(load, workers) as (crew, engine):
        (first,) = new_runs(load, [0])
        await engine.enqueue([first])
        if (ended := await engine.ended(first.id, SETTLE_S)) is None or ended.state != "done":
            raise TimeoutError(f"the agent to copy did not end: {ended}")
        before = sum(map(_rss_kb, crew.pids))
        connection = await connect(servers.database_url)
        try:
            size = await _size(connection)
            await _copy(connection, load, first.thread_id, first.id, agents)
            size = await _size(connection) - size
            grown = sum(map(_rss_kb, crew.pids)) - before
            spent = crew.cpu_s() + servers.postgres_cpu_s()
            rows = await _woken(connection, load)
            spent = crew.cpu_s() + servers.postgres_cpu_s() - spent
        finally:
            await connection.close()
    took = sorted(row["took"] for row in rows if row["state"] == "done")
    return {
        "added": took,
        "lost": load.runs - len(took),
        "duplicated": 0,
        "in_flight": agents,
        "kb_per_agent": round(max(grown, 0) / agents, 3),
        "cpu_ms_per_run": round(spent / load.runs * 1_000, 2),
        "disk_kb_per_agent": round(size / 1_024 / agents, 1),
    }


async def _copy(connection: Connection, load: Load, thread: str, run: str, agents: int) -> None:
    about = {"agents": agents, "thread": thread, "step": str(_STEP), "run": run}
    timing = {"wake": load.runs, "lead": LEAD_S, "rate": float(WAKE_PER_S)}
    async with connection.transaction():
        await take_time(connection)
        for query in (_COPIES, _BLOBS):
            await connection.execute(query.encode(), about)
    await connection.execute(b"ANALYZE checkpoints, checkpoint_blobs")
    async with connection.transaction():
        await take_time(connection)
        await connection.execute(_RUNS.encode(), {**about, **timing})
    await connection.execute(b"ANALYZE runs")


async def _woken(connection: Connection, load: Load) -> list[Any]:
    loop = asyncio.get_running_loop()
    until = loop.time() + LEAD_S + load.runs / WAKE_PER_S + SETTLE_S
    while True:
        await asyncio.sleep(1.0)
        rows = await (await connection.execute(_FOUND.encode())).fetchall()
        if loop.time() > until or all(row["state"] == "done" for row in rows):
            return rows


async def _size(connection: Connection) -> int:
    cursor = await connection.execute(
        b"SELECT sum(pg_total_relation_size(t)) AS size "
        b"FROM unnest('{checkpoints,checkpoint_blobs,runs}'::regclass[]) AS t"
    )
    row = await cursor.fetchone()
    return int(row["size"]) if row else 0


def _rss_kb(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1]) * 4
