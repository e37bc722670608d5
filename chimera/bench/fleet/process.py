"""One worker process of the benchmark: runs agents that arrive evenly, and says how much later than needed they ended.

Run as ``python -m chimera.bench.fleet.process JSON``. It says ``ready`` when it is, begins at the time that it is told
on standard input, in seconds since the epoch, and prints one JSON object in the end.
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
from chimera.bench.fleet.leaf import Leaf, SimulatedTools, simulated
from chimera.bench.fleet.model import Latencies, SlowModel
from chimera.core.ids import derived_id
from chimera.core.settings import Settings
from chimera.fleet.collector import calm_collector

RUNS_PER_MISSION = 100
WARM = 20
"""Runs before it is ready."""


@dataclass(frozen=True)
class Load:
    """What one process does: ``runs`` agents that arrive evenly over ``arrive_s`` seconds.

    ``median_s``: of a model call. ``provider``: base URL of the model, or "" for the one in process. ``nats_url``: of
    the engine nats, or "" for the engine postgres.
    """

    home: str
    database_url: str
    redis_url: str
    runner: str
    runs: int
    arrive_s: float
    median_s: float
    seed: int
    worker: int = 0
    provider: str = ""
    nats_url: str = ""

    @property
    def engine(self) -> str:
        """How runs come to workers."""
        return "nats" if self.nats_url else "postgres"

    def run_named(self, number: object) -> str:
        """The name of a run, which no other worker has."""
        return f"run-{self.worker}-{number}"

    def mission_of(self, number: int) -> str:
        """The id of the mission of a block of runs."""
        return derived_id("bench", self.seed, self.worker, number)

    @property
    def latencies(self) -> Latencies:
        """How long the model takes."""
        return Latencies(self.median_s, self.seed)

    @property
    def settings(self) -> Settings:
        """Of the worker: as many at once as come, and no limit on tokens."""
        return Settings.model_validate(
            {
                "home": self.home,
                "database_url": self.database_url,
                "redis_url": self.redis_url,
                "agent_runner": self.runner,
                "engine": self.engine,
                "nats_url": self.nats_url or None,
                "max_parallel": 1_000_000,
                "max_tokens": 10**12,
                "model_timeout_s": 600,  # one call in a million takes longer than the 60 s that are usual
                "model": "openai:simulated" if self.provider else "simulated",
                "model_base_url": self.provider or None,
                "model_api_key": "none",
            }
        )


@dataclass
class Seen:
    """What one process saw.

    ``added``: seconds that each run took beyond its model calls, from its arrival on. ``began``: seconds from the first
    arrival to the first model call of each run, where the model is in process.
    """

    added: list[float] = field(default_factory=list[float])
    began: list[float] = field(default_factory=list[float])
    approved: int = 0
    failed: list[str] = field(default_factory=list[str])
    tool_calls: int = 0
    in_flight: int = 0
    cpu_s: float = 0.0
    rss_before_kb: int = 0
    rss_peak_kb: int = 0


async def carry_out(load: Load) -> Seen:
    """Do it."""
    model = None if load.provider else SlowModel(script=[]).slow(load.latencies)
    async with open_app(load.settings, Roles(models={"*": model} if model else None)) as app:
        await asyncio.to_thread(app.context.models.check)
        context, tools = simulated(app, random.Random(load.seed))
        leaves = [Leaf(context, load.mission_of(number)) for number in range(-(-load.runs // RUNS_PER_MISSION))]
        for leaf in leaves:
            await context.missions.create(leaf.mission_id, leaf.mission)
        return await _measured(load, leaves, tools, model)


async def _measured(load: Load, leaves: list[Leaf], tools: SimulatedTools, model: SlowModel | None) -> Seen:
    seen, now = Seen(), 0
    loop = asyncio.get_running_loop()

    async def one(number: int, due: float) -> None:
        nonlocal now
        now += 1
        seen.in_flight = max(seen.in_flight, now)
        name = load.run_named(number)
        try:
            approved = await leaves[number // RUNS_PER_MISSION].work(name)
            seen.approved += approved
            seen.added.append(loop.time() - due - load.latencies.total(name))
        except Exception as error:  # noqa: BLE001 - counted, and told
            seen.failed.append(f"{type(error).__name__}: {error}"[:200])
        finally:
            now -= 1

    await asyncio.gather(*(leaves[0].work(load.run_named(f"warm-{number}")) for number in range(WARM)))
    calm_collector()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    begin = float(await asyncio.to_thread(sys.stdin.readline))
    first = loop.time() + begin - time.time()  # after the wait: the other worker may get ready much later
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
    seen.tool_calls = tools.calls - WARM
    seen.began = [at - first for at in model.began[WARM:]] if model else []
    return seen


def _rss_kb() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1_024


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(asyncio.run(carry_out(Load(**json.loads(sys.argv[1])))))) + "\n")
