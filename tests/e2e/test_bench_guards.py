"""``chimera bench guards`` measures what it says: one object on standard output, and an exit code that agrees with it.

No figure is compared with a time. What must hold at any speed is held: table and Cedar decided the same, no chain was
cut short by a rejection, and no event was lost.
"""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

FIXED = {"chain_mean_ms_1kb", "chain_p99_ms", "authz_per_s", "audit_append_ms"}


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_benchmark_prints_one_object(child_environment: Callable[..., dict[str, str]]) -> None:
    command = [sys.executable, "-m", "chimera", "bench", "guards", "--quick", "--json"]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, timeout=280, check=False)
    found = json.loads(done.stdout)
    assert found["name"] == "guards"
    assert found["figures"].keys() >= FIXED
    assert all(found["figures"][key] > 0 for key in FIXED)
    assert {key: found["figures"][key] for key in ("authz_mismatches", "chain_rejected", "audit_lost")} == {
        "authz_mismatches": 0,
        "chain_rejected": 0,
        "audit_lost": 0,
    }
    assert found["pass"] is (done.returncode == 0)
