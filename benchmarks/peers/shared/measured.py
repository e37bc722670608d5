"""Measures one framework at one number of agents in flight, and prints one JSON object. Needs no package.

A framework's ``work.py`` ends with ``main(opened)``; it is started with the load as JSON in its one argument.
"""

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from simulated import Simulated, right

Work = Callable[[str], Awaitable[tuple[str, str]]]
"""Does the run of that name: the agent's answer, and the judge's words."""
Opened = Callable[[Simulated], AbstractAsyncContextManager[Work]]
WARM = 5
COLLECTOR = (100_000, 50, 1_000)
"""With Python's own thresholds its collector walks through every agent's state again and again."""


@dataclass(frozen=True)
class Load:
    """``in_flight`` runs start at once; as one ends the next starts, until there were ``runs``. Times in seconds."""

    in_flight: int
    runs: int
    median_s: float
    seed: int
    limit_s: float


@dataclass
class Seen:
    """What was seen. ``added_ms``: median and 99th percentile of what runs took beyond their model calls' own time."""

    done: int = 0
    wrong: int = 0
    errors: int = 0
    error: str = ""
    timed_out: bool = False
    clock_s: float = 0.0
    cpu_s: float = 0.0
    calls: int = 0
    peak_kb: int = 0
    added_ms: list[float] = field(default_factory=list)


def main(opened: Opened, others_cpu_s: Callable[[], float] = lambda: 0.0) -> None:
    """Measure as the command line asks. ``others_cpu_s``: CPU seconds so far of processes that work for this one."""
    out = os.fdopen(os.dup(1), "w")  # what a framework prints goes to standard error
    os.dup2(2, 1)
    load = Load(**json.loads(sys.argv[1]))

    async def carry_out() -> None:
        model = Simulated(load.seed, load.median_s)
        async with opened(model) as work:
            await asyncio.gather(*(work(f"run-{10**8 + number}") for number in range(WARM)))
            seen, unfinished = await measure(load, model, work, others_cpu_s)
            out.write(json.dumps(asdict(seen)) + "\n")
            out.flush()
            for task in unfinished:
                task.cancel()

    asyncio.run(carry_out())


async def measure(
    load: Load, model: Simulated, work: Work, others_cpu_s: Callable[[], float] = lambda: 0.0
) -> tuple[Seen, set[asyncio.Task[None]]]:
    """What was seen until all runs ended or the time was up, and the tasks that then were not at their end."""
    seen, added = Seen(), list[float]()
    runs = iter(range(load.runs))
    loop = asyncio.get_running_loop()

    async def keep_going(began: float) -> None:
        for number in runs:
            run = f"run-{number}"
            try:
                answer, verdict = await work(run)
                seen.wrong += not right(run, answer, verdict)
                added.append(loop.time() - began - model.waited(run))
            except Exception as error:  # noqa: BLE001 - counted, and the first one told
                seen.errors += 1
                seen.error = seen.error or f"{type(error).__name__}: {error}"[:300]
            began = loop.time()

    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR)
    before, calls = _resident_kb("VmRSS"), model.calls
    _forget_peak()
    cpu, others, began = time.process_time(), others_cpu_s(), loop.time()
    tasks = [asyncio.create_task(keep_going(began)) for _ in range(load.in_flight)]
    _, unfinished = await asyncio.wait(tasks, timeout=load.limit_s)
    seen.clock_s = loop.time() - began
    seen.cpu_s = time.process_time() - cpu + others_cpu_s() - others
    seen.timed_out = bool(unfinished)
    seen.done, seen.calls = len(added), model.calls - calls
    seen.peak_kb = max(_resident_kb("VmHWM") - before, 0)
    added.sort()
    if added:
        seen.added_ms = [added[int((len(added) - 1) * share)] * 1_000 for share in (0.5, 0.99)]
    return seen, unfinished


def _forget_peak() -> None:
    """Let the peak of resident memory start anew; where the system cannot, it is that of the whole process."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _resident_kb(name: str) -> int:
    """Kilobytes of memory, now (VmRSS) or at the peak (VmHWM); 0 where the system does not tell."""
    try:
        told = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in told.splitlines() if line.startswith(f"{name}:")), 0)
