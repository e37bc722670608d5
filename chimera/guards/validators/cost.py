"""What guardrails-ai costs: its import, a call through a Guard, and a direct call of the same check.

Measured on two busy cores (x86-64, Python 3.11, guardrails-ai 0.11): 7 s of CPU and 125 MB for the import; for 1,000
characters of prose 1.2 ms through a Guard, 0.10 ms by the validator and 0.09 ms by the function itself.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

_IMPORT = """
import pathlib, resource, time

def resident():
    table = pathlib.Path("/proc/self/statm")
    return int(table.read_text().split()[1]) * resource.getpagesize() if table.exists() else 0

before = resident()
wall, cpu = time.perf_counter(), time.process_time()
import chimera.guards.validators.checks
print(time.process_time() - cpu, time.perf_counter() - wall, resident() - before)
"""
_TEXT = "The harbour reports two cancelled sailings, three more than last week, and fog until noon. "
_DEADLINE_S = 180.0


def import_cost() -> dict[str, float]:
    """Seconds of CPU and wall time of the import in a fresh interpreter, and its MB (0 where there is no ``/proc``)."""
    command = [sys.executable, "-c", _IMPORT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_DEADLINE_S, check=True)
    cpu, wall, held = (float(number) for number in done.stdout.split()[-3:])
    return {"import_cpu_s": cpu, "import_wall_s": wall, "import_mb": held / 1024**2}


def call_cost(rounds: int = 100, characters: int = 1_000) -> dict[str, float]:
    """Milliseconds of CPU of one look for secrets in ordinary prose: by a Guard, the validator, the function.

    Imports the library, if nothing has yet.
    """
    from chimera.guards.output.finding import examine
    from chimera.guards.output.secrets import find_secrets
    from chimera.guards.validators.checks import Secrets

    from guardrails import Guard  # isort: skip - after our import of it, which silences it

    text = (_TEXT * (characters // len(_TEXT) + 1))[:characters]
    validator = Secrets()
    guard: Any = Guard().use(validator)
    return {
        "guard_ms": _milliseconds(lambda: guard.validate(text), rounds),
        "validator_ms": _milliseconds(lambda: validator.validate(text, {}), rounds),
        "direct_ms": _milliseconds(lambda: examine(text, find_secrets), rounds),
    }


def _milliseconds(work: Callable[[], object], rounds: int) -> float:
    work()
    start = time.process_time()
    for _ in range(rounds):
        work()
    return (time.process_time() - start) / rounds * 1_000
