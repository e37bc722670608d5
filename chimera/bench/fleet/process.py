"""One worker process of the benchmark: runs agents that arrive evenly, and says how much later than needed they ended.

Run as ``python -m chimera.bench.fleet.process JSON``; it prints one JSON object.
"""

import asyncio
import json
import os
import random
import resource
import sys
import time
from dataclasses import asdict, dataclass, field

from chimera.app import Roles, open_app
from chimera.bench.fleet.leaf import Leaf, SimulatedTools, SlowModel, mission_id, simulated
from chimera.core.settings import Settings
from chimera.fleet.collector import calm_collector

RUNS_PER_MISSION = 100


@dataclass(frozen=True)
class Load:
    """What one process does: ``runs`` agents that arrive evenly over ``arrive_s`` seconds, from ``at`` on.

    ``median_s``: of a model call. ``at``: seconds since the epoch.
    """

    home: str
    database_url: str
    redis_url: str
    runner: str
    runs: int
    arrive_s: float
    median_s: float
    seed: int
    at: float


@dataclass
class Seen:
    """What one process saw. ``added``: seconds that each run took beyond its model calls, from its arrival on."""

    added: list[float] = field(default_factory=list[float])
    approved: int = 0
    failed: list[str] = field(default_factory=list[str])
    tool_calls: int = 0
    in_flight: int = 0
    cpu_s: float = 0.0
    rss_before_kb: int = 0
    rss_peak_kb: int = 0


async def carry_out(load: Load) -> Seen:
    """Do it."""
    pick = random.Random(load.seed)
    settings = Settings.model_validate(
        {
            "home": load.home,
            "database_url": load.database_url,
            "redis_url": load.redis_url,
            "agent_runner": load.runner,
            "max_parallel": 1_000_000,
            "max_tokens": 10**12,
            "model": "simulated",
        }
    )
    model = SlowModel(script=[]).slow(load.median_s, pick)
    async with open_app(settings, Roles(models={"*": model})) as app:
        context, tools = simulated(app, pick)
        leaves: list[Leaf] = []
        for number in range(-(-load.runs // RUNS_PER_MISSION)):
            leaf = Leaf(context, mission_id(load.seed, number))
            await context.missions.create(leaf.mission_id, leaf.mission)
            leaves.append(leaf)
        return await _measured(load, model, leaves, tools)


async def _measured(load: Load, model: SlowModel, leaves: list[Leaf], tools: SimulatedTools) -> Seen:
    seen, now = Seen(), 0
    loop = asyncio.get_running_loop()
    first = loop.time() + max(load.at - time.time(), 0.0)

    async def one(number: int, due: float) -> None:
        nonlocal now
        now += 1
        seen.in_flight = max(seen.in_flight, now)
        name = f"run-{number}"
        try:
            approved = await leaves[number // RUNS_PER_MISSION].work(name)
            seen.approved += approved
            seen.added.append(loop.time() - due - model.waited(name))
        except Exception as error:  # noqa: BLE001 - counted, and told
            seen.failed.append(f"{type(error).__name__}: {error}"[:200])
        finally:
            now -= 1

    await leaves[0].work("run-warm")
    calm_collector()
    await asyncio.sleep(max(first - loop.time(), 0.0))
    seen.rss_before_kb, cpu = _rss_kb(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for number in range(load.runs):
            due = first + number * load.arrive_s / load.runs
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            group.create_task(one(number, due))
    seen.cpu_s = time.process_time() - cpu
    seen.rss_peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seen.tool_calls = tools.calls - 1  # that of the warm-up
    return seen


def _rss_kb() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1_024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(asyncio.run(carry_out(Load(**json.loads(sys.argv[1])))))) + "\n")
