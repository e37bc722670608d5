"""Start a keeper from a user process, and learn how that went."""

import asyncio
import contextlib
import json
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any, BinaryIO

from chimera.core.errors import StoreUnavailable, catalogue
from chimera.store.embedded.failures import of_os_error, tail
from chimera.store.embedded.layout import Layout

_KEEPER = "chimera.store.embedded.keeper"
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "PYTHONPATH")


async def start_keeper(layout: Layout, idle_s: float, *, durable: bool) -> bool:
    """Start a keeper and wait until its servers answer, or until it finds that there is another keeper.

    The caller bounds the time. If the wait is cancelled, the keeper goes on and stops when it is idle.

    Returns:
        False if it ended without a word, as one does that was killed.

    Raises:
        ChimeraError: what the keeper reported.
    """
    output, child_output = os.pipe()
    with os.fdopen(output, "rb") as pipe:
        try:
            starter = _spawn(layout, idle_s, durable, child_output)
        finally:
            os.close(child_output)
        await asyncio.to_thread(_collect, starter)
        report = await _read_to_end(pipe)
    if report:
        _raise_reported(json.loads(report))
    return bool(report)


def silent_end(layout: Layout) -> StoreUnavailable:
    """The error for keepers that end without a word, again and again."""
    log = layout.logs / "keeper.log"
    last = next(reversed(tail(log).strip().splitlines()), "it logged nothing")
    return StoreUnavailable(
        f"the keeper of the embedded servers ended: {last[:300]}",
        remedy=f"Read {log}, then repeat the command.",
        log=str(log),
    )


def _spawn(layout: Layout, idle_s: float, durable: bool, output: int) -> int:
    # -P: a file in the current folder must not be taken for a module.
    command = [sys.executable, "-P", "-m", _KEEPER, layout.marker, str(layout.data_dir), str(idle_s)]
    command += [] if durable else ["hasty"]
    log = layout.logs / "keeper.log"
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, output, 1),
        (os.POSIX_SPAWN_OPEN, 2, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
    ]
    try:
        return os.posix_spawn(sys.executable, command, _environment(), file_actions=actions)
    except OSError as error:
        raise of_os_error(error, "the keeper of the embedded servers cannot be started", log=str(log)) from error


def _environment() -> dict[str, str]:
    """No secrets: the keeper outlives the command that started it. It finds the package where we found it."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    here = str(Path(__file__).parents[3])
    if here != sysconfig.get_path("purelib"):  # a checkout
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (here, kept.get("PYTHONPATH"))))
    return kept


def _collect(starter: int) -> None:
    """Collect the process that forked the keeper and ended at once, so that no zombie of ours is left."""
    with contextlib.suppress(ChildProcessError):  # a child watcher was faster
        os.waitpid(starter, 0)


async def _read_to_end(pipe: BinaryIO) -> bytes:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        return await reader.read()
    finally:
        transport.close()


def _raise_reported(report: dict[str, Any]) -> None:
    error = report.get("error")
    if error is None:
        return
    kinds = {kind.code: kind for kind in catalogue()}
    kind = kinds.get(error.pop("code"), StoreUnavailable)
    raise kind(error.pop("message"), remedy=error.pop("remedy"), **error)
