"""One framework at one size: a process of its own runs its ``work.py``, and says in one line what it saw."""

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from chimera.bench.peers.known import FOLDER, Peer
from chimera.core.tasks import stop

START_S = 120.0
"""Longest time for a framework to be imported and opened; it is not measured."""
CLOSE_S = 30.0
"""Longest time for it to close what it opened, once it has answered."""
WORDS_S = 5.0
QUIET = {
    "LANGSMITH_TRACING": "false",
    "OTEL_SDK_DISABLED": "true",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "AGNO_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
}
"""Switches off what frameworks send home or trace."""


@dataclass(frozen=True)
class Load:
    """``in_flight`` runs start at once; as one ends the next starts, until there were ``runs``. Times in seconds."""

    in_flight: int
    runs: int
    median_s: float
    seed: int
    limit_s: float


@dataclass(frozen=True)
class Seen:
    """What a ``work.py`` says; ``benchmarks/peers/shared/measured.py`` has the same fields."""

    done: int = 0
    wrong: int = 0
    errors: int = 0
    error: str = ""
    timed_out: bool = False
    clock_s: float = 0.0
    cpu_s: float = 0.0
    calls: int = 0
    peak_kb: int = 0
    added_ms: tuple[float, float] | tuple[()] = ()


async def ask(peer: Peer, python: Path, load: Load, folder: Path = FOLDER) -> Seen:
    """Run a framework's work in a process of its own, in a folder that is deleted; what goes wrong is an ``error``."""
    with tempfile.TemporaryDirectory(prefix="chimera-peer-", ignore_cleanup_errors=True) as scratch:
        process = await asyncio.create_subprocess_exec(
            str(python),
            str(folder / peer.name / "work.py"),
            json.dumps(asdict(load)),
            cwd=scratch,
            env=_environment(peer, folder, scratch),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=2**24,
        )
        told, patience = asyncio.create_task(_last_words(process)), 0.0
        try:
            async with asyncio.timeout(START_S + load.limit_s + CLOSE_S):
                said = await process.stdout.readline() if process.stdout else b""
            patience = CLOSE_S
        except TimeoutError:
            return Seen(error="it did not answer in time", timed_out=True)
        finally:
            await _end(process, patience)
            await asyncio.wait({told}, timeout=WORDS_S)  # a server that it left behind may hold the pipe open
            words = told.result() if told.done() else ""
            await stop(told)
    return _seen(said, words)


def _seen(said: bytes, words: str) -> Seen:
    try:
        return TypeAdapter(Seen).validate_json(said)
    except ValidationError:
        return Seen(errors=1, error=words or "it ended without a word")


async def _last_words(process: asyncio.subprocess.Process) -> str:
    """The last line on standard error, once the process has closed it."""
    last = b""
    while process.stderr and (chunk := await process.stderr.read(65_536)):
        last = (last + chunk)[-4_000:]
    lines = last.decode(errors="replace").strip().splitlines()
    return lines[-1][:300] if lines else ""


async def _end(process: asyncio.subprocess.Process, patience: float) -> None:
    """Let it close what it opened, for that many seconds; then end it and what it started."""
    try:
        async with asyncio.timeout(patience):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def _environment(peer: Peer, folder: Path, scratch: str) -> dict[str, str]:
    paths = [str(folder / "shared"), *([str(folder.parents[1])] if peer.ours else [])]
    kept: dict[str, Any] = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("CHIMERA_", "PYTHON", "VIRTUAL_ENV", "LANGSMITH_", "LANGCHAIN_", "OTEL_"))
    }
    return {**kept, **QUIET, "HOME": scratch, "TMPDIR": scratch, "PYTHONPATH": os.pathsep.join(paths)}
