"""A closed loop: so many runs at once, with calls that take no time, to see what a run costs. One process per kind.

``chimera``: the agents of the benchmark, with guards, judge, record and every step saved before the next. ``bare``: the
same work on LangGraph without any of that, and nothing saved. ``stock``: the same as ``bare``, saved by LangGraph's own
AsyncPostgresSaver before the next step. Run as ``python -m chimera.bench.fleet.closed KIND JSON``.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from chimera.app import Roles, open_app
from chimera.bench.fleet.leaf import Leaf, simulated
from chimera.bench.fleet.model import SlowModel
from chimera.bench.fleet.plain import plain_graph, plain_run
from chimera.bench.fleet.process import RUNS_PER_MISSION, WARM, Load
from chimera.fleet.collector import calm_collector

AT_ONCE = 200
KINDS = ("chimera", "bare", "stock")
Work = Callable[[str], Awaitable[bool]]


@asynccontextmanager
async def work_of(kind: str, load: Load) -> AsyncGenerator[Work]:
    """What does one run, named as it is told."""
    model, pick = SlowModel(script=[]), random.Random(load.seed)
    if kind == "chimera":
        async with open_app(load.settings, Roles(models={"*": model})) as app:
            context, _ = simulated(app, pick)
            leaves = [Leaf(context, load.mission_of(number)) for number in range(-(-load.runs // RUNS_PER_MISSION))]
            for leaf in leaves:
                await context.missions.create(leaf.mission_id, leaf.mission)
            yield lambda name: leaves[int(name.rpartition("-")[2]) // RUNS_PER_MISSION].work(name)
    elif kind == "bare":
        graph = plain_graph(model, pick)
        yield lambda name: plain_run(graph, name)
    else:
        async with AsyncPostgresSaver.from_conn_string(load.database_url) as saver:
            await saver.setup()
            stored = plain_graph(model, pick, saver)
            yield lambda name: plain_run(stored, name)


async def measure(kind: str, load: Load) -> dict[str, float]:
    """CPU and clock seconds of the runs of one kind, and how many were approved."""
    approved = 0
    async with work_of(kind, load) as work:
        await asyncio.gather(*(work(f"run-warm-{number}") for number in range(WARM)))
        calm_collector()
        numbers = iter(range(load.runs))

        async def keep_going() -> None:
            nonlocal approved
            for number in numbers:
                good = await work(f"run-{kind}-{number}")
                approved += good

        cpu, clock = time.process_time(), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(keep_going())
        return {
            "runs": load.runs,
            "approved": approved,
            "cpu_s": time.process_time() - cpu,
            "clock_s": time.perf_counter() - clock,
        }


if __name__ == "__main__":
    given = Load(**json.loads(sys.argv[2]))
    sys.stdout.write(json.dumps(asyncio.run(measure(sys.argv[1], replace(given, median_s=0.0)))) + "\n")
