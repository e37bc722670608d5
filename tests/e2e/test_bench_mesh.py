"""``chimera bench mesh`` measures what it says: one object on standard output, nothing lost and nothing done twice.

No figure is compared with a time. What must hold at any speed is held.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chimera.bench.mesh.calls import scale_figures
from chimera.bench.mesh.server import TOOLS

FIXED = {"call_overhead", "http_speedup", "stdio_speedup", "failed_calls", "duplicate_effects", "fault_p99_ratio"}
SEARCH = {"search_p95_ms_500", "search_p95_ms_40k", "index_40k_s", "update_server_s"}


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_250_servers_are_connected_at_once_and_each_answers(tmp_path: Path) -> None:
    """Proves FR-559. A call to one that does not answer would raise."""
    figures = await scale_figures(tmp_path, quick=False)
    assert (figures["connected_http"], figures["connected_stdio"], figures["connected"]) == (200, 50, 250)
    assert figures["tools_listed"] == 250 * len(TOOLS)
    assert 0 < figures["connected_mb"] < figures["mb_per_stdio_server"] * 50


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_benchmark_prints_one_object(child_environment: Callable[..., dict[str, str]]) -> None:
    command = [sys.executable, "-m", "chimera", "bench", "mesh", "--quick", "--json"]
    data = {key: os.environ[key] for key in ("CHIMERA_DATA",) if key in os.environ}
    env = child_environment(**data)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=880, check=False)
    found = json.loads(done.stdout)
    figures = found["figures"]
    assert found["name"] == "mesh"
    assert figures.keys() >= FIXED
    assert (figures.keys() >= SEARCH) is bool(data)
    assert figures["connected"] == figures["connected_http"] + figures["connected_stdio"]
    assert (figures["failed_calls"], figures["duplicate_effects"], figures["lost_effects"]) == (0, 0, 0)
    assert figures["calls"] > 100
    assert found["pass"] is (done.returncode == 0)
