"""A kill storm: every few seconds a random worker is killed, and another one is started, while runs keep arriving.

In the middle PostgreSQL and NATS can be restarted as well, each once. The workers are real ``chimera worker`` processes
with a real tool that writes files; only the model is simulated.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import accumulate
from typing import Any

from chimera.bench.fleet.crew import Crew, new_runs, open_crew, written
from chimera.bench.fleet.model import CALLS
from chimera.bench.fleet.process import Load
from chimera.bench.fleet.restarts import NatsServer, restart_postgres
from chimera.bench.fleet.servers import Servers
from chimera.core.errors import StoreUnavailable
from chimera.core.tasks import stop
from chimera.fleet.engine import Engine
from chimera.store.postgres import fetch, open_pool
from chimera.store.runs import OPEN

KILL_EVERY_S = 5.0
SETTLE_S = 120.0
"""How long runs may take to end after the last has arrived."""
_RUNS = """
    SELECT id, state, extract(epoch FROM created_at)::float8 AS since, extract(epoch FROM ended_at)::float8 AS till
    FROM runs
"""
# Each run writes a file of its own name, so an effect with the same arguments in the same mission is one too many.
_TWICE = """
    SELECT count(*) - 1 AS more FROM effects WHERE state = 'done'
    GROUP BY mission_id, capability, arguments HAVING count(*) > 1
"""


async def storm(
    servers: Servers, load: Load, workers: int, *, nats: NatsServer | None = None, postgres_too: bool = False
) -> dict[str, Any]:
    """Let runs arrive, kill, and say what became of them. ``nats``: the server of the engine nats, to be restarted."""
    async with open_crew(load, workers) as (crew, engine):
        before = crew.cpu_s() + servers.postgres_cpu_s()
        restarting = [partial(restart_postgres, servers)] if postgres_too else []
        restarting += [nats.restart] if nats is not None else []
        killing = asyncio.create_task(_kill(crew, random.Random(load.seed)))
        restarts = asyncio.create_task(_restart(restarting, load.arrive_s / (len(restarting) + 1)))
        try:
            await _arrive(engine, load)
            await restarts
        finally:
            await stop(killing)
            await stop(restarts)
        if not killing.cancelled():
            killing.result()
        try:
            async with asyncio.timeout(SETTLE_S):
                await asyncio.gather(*(engine.ended(load.run_named(n), SETTLE_S) for n in range(load.runs)))
        except TimeoutError:
            pass  # what has not ended by now is counted as unfinished
        killed, spent = crew.killed, crew.cpu_s() + servers.postgres_cpu_s() - before
    found = await _found(servers, load)
    return {
        **found,
        "kb_per_agent": round(crew.grown_kb * workers / max(found["in_flight"], 1), 1),
        "cpu_ms_per_run": round(spent / load.runs * 1_000, 2),  # with the start of those that took a place
        "kills": killed,
        "restarts": restarts.result(),
    }


async def _arrive(engine: Engine, load: Load) -> None:
    loop = asyncio.get_running_loop()
    first, arrived = loop.time(), 0
    while arrived < load.runs:
        due = min(int((loop.time() - first) / load.arrive_s * load.runs) + 1, load.runs)
        if due > arrived:
            with suppress(StoreUnavailable):  # it is being restarted: asked again soon, which makes nothing twice
                await engine.enqueue(new_runs(load, range(arrived, due)))
                arrived = due
        await asyncio.sleep(0.05)


async def _restart(restarting: Sequence[Callable[[], Awaitable[None]]], every_s: float) -> int:
    """Restart one after the other; how many were."""
    for restart in restarting:
        await asyncio.sleep(every_s)
        await restart()
    return len(restarting)


async def _kill(crew: Crew, pick: random.Random) -> None:
    """Kill one after the other, also one that has just been started; another one takes its place in its own time."""
    async with asyncio.TaskGroup() as group:
        while True:
            await asyncio.sleep(KILL_EVERY_S)
            await crew.kill(pick.randrange(1_000))
            group.create_task(crew.start())


async def _found(servers: Servers, load: Load) -> dict[str, Any]:
    async with open_pool(servers.database_url, 2) as pool:
        rows = await fetch(pool, _RUNS)
        again = await fetch(pool, _TWICE)
    states = Counter(str(row["state"]) for row in rows)
    unfinished = sum(states[state] for state in OPEN)
    ended = {str(row["id"]): float(row["till"] - row["since"]) for row in rows if row["state"] == "done"}
    moves = sorted([(row["since"], 1) for row in rows] + [(row["till"], -1) for row in rows if row["till"]])
    took = sorted(seconds - load.latencies.total(run, CALLS - 1) for run, seconds in ended.items())
    without = max(len(took) - written(servers), 0)
    return {
        "in_flight": max(accumulate(step for _, step in moves)),
        "added": took,
        "lost": load.runs - len(took) - unfinished + without,  # dead, failed, or without their effect
        "unfinished": unfinished,
        "duplicated": sum(int(row["more"]) for row in again),
    }
