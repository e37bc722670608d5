"""What another detector says about texts: asked in a process of its own, one after the other, each with a deadline.

A text without an answer stays without one: a crash, an exception, a late or unreadable answer is counted; it is never a
score.
"""

import asyncio
import json
import math
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from chimera.core.errors import ConfigError

START_S = 60.0
"""Seconds until a detector is ready."""

TEXT_S = 10.0
"""Seconds for one text."""

MAX_RESTARTS = 50
"""A detector that dies more often is given up; the texts that are left count as not answered."""

_LINE = 1_000_000


@dataclass
class Scores:
    """Per text: the score (NaN where there is none), the detector's own yes, and the milliseconds that it took.

    ``failures`` counts what kept it from answering, by kind.
    """

    score: NDArray[np.float64]
    flag: NDArray[np.bool_]
    ms: NDArray[np.float64]
    failures: Counter[str] = field(default_factory=Counter[str])

    @classmethod
    def unanswered(cls, count: int) -> "Scores":
        """No answer yet."""
        return cls(np.full(count, np.nan), np.zeros(count, dtype=bool), np.full(count, np.nan))

    @property
    def answered(self) -> NDArray[np.bool_]:
        """Which texts have a score."""
        return ~np.isnan(self.score)


async def scores_of(
    command: Sequence[str], texts: Sequence[str], *, start_s: float = START_S, text_s: float = TEXT_S
) -> Scores:
    """Ask the program ``command``, which speaks as ``peer_adapters.py`` does, about texts.

    Raises:
        ConfigError: it does not start.
    """
    found = Scores.unanswered(len(texts))
    with tempfile.TemporaryDirectory() as scratch:
        process = await _start(command, scratch, start_s)
        try:
            restarts = 0
            for at, text in enumerate(texts):
                problem = await _ask(process, at, text, found, text_s)
                if problem is None:
                    continue
                found.failures[problem] += 1
                if problem in ("timeout", "crash", "unreadable answer"):
                    await _end(process)
                    restarts += 1
                    if restarts > MAX_RESTARTS:
                        found.failures["given up"] += len(texts) - at - 1
                        break
                    process = await _start(command, scratch, start_s)
        finally:
            await _end(process)
    return found


async def _start(command: Sequence[str], scratch: str, start_s: float) -> asyncio.subprocess.Process:
    said = Path(scratch) / "stderr"
    with said.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            cwd=scratch,
            env=_environment(scratch),
            limit=_LINE,
        )
    ready = b""
    with suppress(TimeoutError, ValueError):
        async with asyncio.timeout(start_s):
            ready = await _stdout(process).readline()
    if not ready:
        await _end(process)
        lines = said.read_text("utf-8", "replace").strip().splitlines()
        raise ConfigError(f"it does not start: {lines[-1][:200] if lines else 'it says nothing'}")
    return process


def _environment(scratch: str) -> dict[str, str]:
    """Little of ours: no keys, no home folder, no hub, no telemetry."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    off = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "OTEL_SDK_DISABLED": "true", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **off, "HOME": scratch}


async def _ask(process: asyncio.subprocess.Process, at: int, text: str, found: Scores, text_s: float) -> str | None:
    """Put one answer into ``found``; what went wrong otherwise."""
    try:
        async with asyncio.timeout(text_s):
            stdin = cast("asyncio.StreamWriter", process.stdin)
            stdin.write(json.dumps({"id": at, "text": text}).encode() + b"\n")
            await stdin.drain()
            line = await _stdout(process).readline()
    except TimeoutError:
        return "timeout"
    except (OSError, ValueError):
        return "crash"
    if not line:
        return "crash"
    try:
        answer: dict[str, Any] = json.loads(line)
        if answer["id"] != at:
            return "unreadable answer"
        if "error" in answer:
            return f"error {answer['error']}"
        score, flag, ms = float(answer["score"]), answer["flag"], float(answer["ms"])
    except (ValueError, KeyError, TypeError):
        return "unreadable answer"
    if not math.isfinite(score) or not isinstance(flag, bool):
        return "no score"
    found.score[at], found.flag[at], found.ms[at] = score, flag, ms
    return None


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    # What it had still to say is read away, so that its end is noticed.
    await process.communicate()


def _stdout(process: asyncio.subprocess.Process) -> asyncio.StreamReader:
    return cast("asyncio.StreamReader", process.stdout)


def adapter_command(python: Path, adapter: str, folder: Path) -> list[str]:
    """The program that asks a detector, run by the Python of its environment and by nothing around it."""
    script = Path(__file__).with_name("peer_adapters.py")
    return [str(python), "-I", "-X", "utf8", str(script), adapter, str(folder)]
