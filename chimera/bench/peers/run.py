"""``chimera bench peers``: the same work, with the same simulated model, on other frameworks and on Chimera."""

import asyncio
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from chimera.bench.peers.asking import Load, ask
from chimera.bench.peers.environments import python_for
from chimera.bench.peers.figures import FAILED, NOT_TRIED, OK, Row, figures, goals, row_of, table
from chimera.bench.peers.known import BARE, FOLDER, OURS, Peer, chosen_peers
from chimera.core.clock import SystemClock
from chimera.core.errors import ChimeraError, InputError
from chimera.core.figures import Measured, machine, print_json

SEED = 20_261_123
SIZES = (1, 100, 1_000, 10_000)
MAX_SIZE = 100_000
LIMIT_S = 240.0
QUICK_LIMIT_S = 20.0
MEDIAN_S = 0.5


@dataclass(frozen=True)
class Asked:
    """What is compared, and where environments are kept. ``limit_s``: seconds for one framework at one size."""

    only: Sequence[str]
    sizes: Sequence[int]
    work: Path
    limit_s: float = LIMIT_S
    median_s: float = MEDIAN_S
    seed: int = SEED


def asked(only: Sequence[str], sizes: str, work: Path, *, quick: bool, limit_s: float = 0.0) -> Asked:
    """What the options of the command come to; ``quick`` is Chimera and bare LangGraph, a hundred agents.

    ``limit_s``: for one framework at one size, instead of the limit that it would have.

    Raises:
        InputError: ``sizes`` are not numbers of agents, separated by commas.
    """
    named = [name.strip() for given in only for name in given.split(",") if name.strip()]
    try:
        numbers = sorted({int(size) for size in sizes.split(",") if size.strip()})
    except ValueError:
        numbers = [0]
    if any(not 0 < number <= MAX_SIZE for number in numbers):
        raise InputError(
            f"these are no sizes: {sizes[:40]!r}", remedy=f"Give numbers from 1 to {MAX_SIZE:,}, separated by commas."
        )
    if quick:
        return Asked(named or (BARE, OURS), numbers or (100,), work, limit_s or QUICK_LIMIT_S, median_s=0.1)
    return Asked(named, numbers or SIZES, work, limit_s or LIMIT_S)


def main_peers(asked: Asked, *, as_json: bool, quick: bool = False, folder: Path = FOLDER) -> int:
    """Measure and report; the exit code is 0 when every goal holds, else 1.

    Raises:
        InputError: there is no framework of a name. ConfigError: the folder of the frameworks is not there.
    """
    peers = chosen_peers(asked.only, folder)
    found, rows = asyncio.run(measure_peers(asked, peers, quick=quick, folder=folder))
    if as_json:
        print_json(found.plain())
    else:
        sys.stdout.write(table(rows, peers, found.conditions) + f"\n{'FAIL' if found.missed else 'PASS'}\n")
    return 1 if found.missed else 0


async def measure_peers(
    asked: Asked, peers: Sequence[Peer], *, quick: bool = False, folder: Path = FOLDER
) -> tuple[Measured, list[Row]]:
    """Every framework at every size, all of them at one size before the next; what each gave is a row."""
    began, at, load = time.monotonic(), SystemClock().now().isoformat(timespec="seconds"), os.getloadavg()
    pythons, failed = await _pythons(peers, asked.work, folder, _say)
    rows = await _rows(asked, peers, pythons, failed, folder)
    conditions = {
        "at": at,
        "seconds": round(time.monotonic() - began, 1),
        "quick": quick,
        **machine(("chimera-swarm", "langgraph", "langchain-core")),
        "cpu": _processor(),
        "load_at_start": round(load[0], 2),
        "sizes": list(asked.sizes),
        "seed": asked.seed,
        "call_median_s": asked.median_s,
        "limit_s": asked.limit_s,
        "work": "an agent asks its model, calls a tool, asks again, and a second agent judges: three model calls",
        "arrivals": "as many as are in flight at once, and as one ends the next; each size in a process of its own",
        "simulated": ["the model: log-normal latency, sigma 0.4, in process", "the tool: answers at once, in process"],
        "ratios": f"to {BARE} at the same size in this run",
        "peers": {peer.name: _condition(peer, folder, pythons) for peer in peers},
        "rows": [asdict(row) for row in rows],
    }
    return Measured("peers", conditions, figures(rows), goals(rows)), rows


async def _rows(
    asked: Asked, peers: Sequence[Peer], pythons: Mapping[str, Path], failed: Mapping[str, str], folder: Path
) -> list[Row]:
    """A row for each framework and size; who fails at one is not asked for more."""
    out, rows = dict(failed), list[Row]()
    for size in asked.sizes:
        for peer in peers:
            if peer.name in out:
                rows.append(Row(peer.name, size, FAILED if size == asked.sizes[0] else NOT_TRIED, out[peer.name]))
                continue
            _say(f"{peer.name}: {size:,} in flight")
            load = Load(size, runs_for(size), asked.median_s, asked.seed, asked.limit_s)
            machine_load = os.getloadavg()[0]
            row = row_of(peer, load, await ask(peer, pythons[peer.name], load, folder), machine_load)
            rows.append(row)
            if row.state != OK:
                out[peer.name] = f"{size:,} were too many" if row.done else row.why
    return rows


def runs_for(size: int) -> int:
    """How many runs a size is measured over: enough to be more than chance, and where there are many, each once."""
    return size * 10 if size < 10 else size * 3 if size < 1_000 else size


async def _pythons(
    peers: Sequence[Peer], work: Path, folder: Path, say: Callable[[str], None]
) -> tuple[dict[str, Path], dict[str, str]]:
    """The Python of each framework, and of those that have none, why."""
    found: dict[str, Path] = {}
    failed: dict[str, str] = {}
    for peer in peers:
        try:
            here = Path(sys.executable)
            found[peer.name] = here if peer.ours else await python_for(folder / peer.name, work, say)
        except ChimeraError as error:
            failed[peer.name] = error.message
    return found, failed


def _condition(peer: Peer, folder: Path, pythons: Mapping[str, Path]) -> dict[str, str]:
    own = pythons.get(peer.name)
    where = "none" if own is None else "this one" if own == Path(sys.executable) else "its own"
    return {"title": peer.title, "version": _pinned(peer, folder), "environment": where, **peer.missing()}


def _pinned(peer: Peer, folder: Path) -> str:
    """The version that its requirements pin; of Chimera, the version that runs."""
    if peer.ours:
        return machine([peer.package])["versions"].get(peer.package, "")
    try:
        lines = (folder / peer.name / "requirements.txt").read_text("utf-8")
    except OSError:
        return ""
    pin = re.search(rf"^{re.escape(peer.package)}==(\S+)", lines, re.MULTILINE)
    return pin[1] if pin else ""


def _processor() -> str:
    """The name of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _say(words: str) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()
