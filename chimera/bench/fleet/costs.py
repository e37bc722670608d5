"""What a run costs in a closed loop, beside the same work on LangGraph alone and on LangGraph with its own saver."""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass, replace

from chimera.bench.fleet.closed import KINDS
from chimera.bench.fleet.process import Load
from chimera.bench.fleet.servers import Servers
from chimera.core.errors import ConflictError

RUNS = {"chimera": 1_500, "bare": 1_500, "stock": 300}
QUICK = 5
"""A quick measurement has so many times fewer runs."""


@dataclass(frozen=True)
class Cost:
    """Of one run: CPU milliseconds of Python and of PostgreSQL, and runs a second of one process."""

    python_ms: float
    postgres_ms: float
    runs_per_s: float

    @property
    def cpu_ms(self) -> float:
        """Both together."""
        return self.python_ms + self.postgres_ms


async def measure_costs(servers: Servers, load: Load, *, quick: bool) -> dict[str, Cost]:
    """The cost of each kind, one after the other.

    Raises:
        ConflictError: a run came to another end than it should.
    """
    return {kind: await _cost(kind, servers, load, RUNS[kind] // (QUICK if quick else 1)) for kind in KINDS}


async def _cost(kind: str, servers: Servers, load: Load, runs: int) -> Cost:
    before = servers.postgres_cpu_s()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "chimera.bench.fleet.closed",
        kind,
        json.dumps(asdict(replace(load, runs=runs, provider=""))),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode or not said:
        raise ConflictError(f"the closed loop of {kind} ended early: {errors.decode('utf-8', 'replace')[-300:]}")
    found = json.loads(said)
    if found["approved"] != runs:
        raise ConflictError(f"{runs - found['approved']} runs of {kind} were not approved")
    return Cost(
        python_ms=found["cpu_s"] / runs * 1_000,
        postgres_ms=(servers.postgres_cpu_s() - before) / runs * 1_000,
        runs_per_s=runs / found["clock_s"],
    )


def cost_figures(costs: dict[str, Cost]) -> dict[str, float]:
    """Each kind's costs, and how they compare."""
    ours, bare, stock = (costs[kind] for kind in KINDS)
    each = {
        f"{kind}_{name}": round(value, 2)
        for kind, cost in costs.items()
        for name, value in (("cpu_ms", cost.cpu_ms), ("runs_per_s", cost.runs_per_s))
    }
    return {
        **each,
        "cpu_ratio_bare": round(ours.cpu_ms / bare.cpu_ms, 2),
        "cpu_ratio_stock": round(stock.cpu_ms / ours.cpu_ms, 2),
        "throughput_ratio_stock": round(ours.runs_per_s / stock.runs_per_s, 2),
    }
