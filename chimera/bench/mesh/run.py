"""``chimera bench mesh``: search, calls, many servers at once, and faults."""

import asyncio
import tempfile
import time
from pathlib import Path

from chimera.bench.mesh.calls import AT_ONCE, call_figures, scale_figures
from chimera.bench.mesh.faults import FAULTS, REPLICAS, WORKERS, fault_figures
from chimera.bench.mesh.search import measure_search
from chimera.bench.mesh.server import WORK_S
from chimera.core.clock import SystemClock
from chimera.core.errors import InputError
from chimera.core.figures import Goal, Measured, machine, report

GOALS: dict[str, Goal] = {
    "search_p95_ms_500": ("<=", 30),
    "search_p95_ms_40k": ("<=", 60),
    "index_40k_s": ("<=", 60),
    "update_server_s": ("<=", 1),
    "call_overhead": ("<=", 0.2),
    "http_speedup": (">=", 8),
    "stdio_speedup": (">=", 50),
    "failed_calls": ("==", 0),
    "duplicate_effects": ("==", 0),
    "fault_p99_ratio": ("<=", 2),
}
_VERSIONS = ("chimera-swarm", "langchain-mcp-adapters", "mcp", "httpx", "httpx-aiohttp", "aiohttp")


def main_mesh(*, quick: bool, as_json: bool) -> int:
    """Measure and report; the exit code is 0 when every goal holds, else 1."""
    return report(asyncio.run(measure_mesh(quick=quick)), as_json=as_json)


async def measure_mesh(*, quick: bool) -> Measured:
    """All figures of the mesh, in one run on one machine."""
    began, at = time.monotonic(), SystemClock().now().isoformat(timespec="seconds")
    with tempfile.TemporaryDirectory(prefix="chimera-bench-") as name:
        folder = Path(name)
        figures, searched = await _searched(quick=quick)
        figures |= await call_figures(folder, quick=quick)
        figures |= await scale_figures(folder, quick=quick)
        figures |= await fault_figures(folder, quick=quick)
    conditions = {
        "at": at,
        "seconds": round(time.monotonic() - began, 1),
        "quick": quick,
        **machine(_VERSIONS),
        "peer": "a bare session of the MCP SDK, and the adapters' MultiServerMCPClient as it comes, in the same run",
        "overhead": "single calls of a tool that does no work, in turn with the bare session's",
        "healthy_p99": "of three replicas that are well, asked in turn with the three of which one fails",
        "search": searched,
        "calls_at_once": AT_ONCE,
        "tool_works_s": WORK_S,
        "replicas": REPLICAS,
        "workers_under_faults": WORKERS,
        "faults": list(FAULTS),
        "simulated": ["the tools' work; servers, transports and processes are real, on loopback"],
    }
    return Measured("mesh", conditions, figures, GOALS)


async def _searched(*, quick: bool) -> tuple[dict[str, float], str]:
    """The figures of searching, and of what."""
    try:
        return await asyncio.to_thread(measure_search, quick=quick), "tools made of real ones, without a dense model"
    except InputError as error:
        return {}, f"not measured: {error.message}"
