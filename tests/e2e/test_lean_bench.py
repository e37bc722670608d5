"""``chimera bench runners`` measures what it says: one object on standard output, and an exit code that agrees with it.

Proves FR-311. No figure is compared with a time: every kind of run came to the right result.
"""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_benchmark_prints_one_object(child_environment: Callable[..., dict[str, str]]) -> None:
    command = [sys.executable, "-m", "chimera", "bench", "runners", "--quick", "--json"]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, timeout=580, check=False)
    found = json.loads(done.stdout)
    assert found["name"] == "runners"
    kinds = ("lean", "lean_new", "stock_group", "bare", "stock_saver")
    assert all(found["figures"][f"{kind}_python_ms"] > 0 for kind in kinds)
    assert found["figures"]["wrong_results"] == 0
    assert found["pass"] is (done.returncode == 0)
