"""``chimera bench commerce`` measures what it says: one object on stdout, and an exit code that agrees with it.

Proves FR-619. No figure is compared with a time. What must hold at any speed is held: nothing is overspent, the books
verify, and the naive control overspends.
"""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

MEASURED = {"reserve_speedup", "reserve_p99_ms_1", "reserve_p99_ms_8", "overspent_budgets", "naive_overspend_units"}


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_benchmark_prints_one_object(child_environment: Callable[..., dict[str, str]]) -> None:
    command = [sys.executable, "-m", "chimera", "bench", "commerce", "--quick", "--json"]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, timeout=280, check=False)
    found = json.loads(done.stdout)
    assert found["name"] == "commerce"
    assert found["figures"].keys() >= MEASURED
    assert {key: found["figures"][key] for key in ("overspent_budgets", "ledger_faults")} == {
        "overspent_budgets": 0,
        "ledger_faults": 0,
    }
    assert found["figures"]["naive_overspend_units"] > 0
    assert found["figures"]["reserve_speedup"] > 1
    assert found["pass"] is (done.returncode == 0)
