"""Which processes belong to a set of embedded servers, and how to end them.

A pid in a file proves nothing: after a crash or a restarted container it may belong to anything. So processes are
recognized by the marker in their command line (``Layout.marker``), read from /proc, or from ``ps`` where there is none.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PROC = Path("/proc")
_HAS_PROC = (_PROC / "self" / "cmdline").exists()
Step = tuple[signal.Signals, float]


@dataclass
class Family:
    """The running processes of one set, by pid: the keepers, postmasters (backends apart), Valkeys, and initdbs."""

    keepers: list[int] = field(default_factory=list[int])
    postmasters: list[int] = field(default_factory=list[int])
    backends: list[int] = field(default_factory=list[int])
    valkeys: list[int] = field(default_factory=list[int])
    builders: list[int] = field(default_factory=list[int])

    def all(self) -> list[int]:
        """Every pid of the family."""
        return [*self.keepers, *self.builders, *self.postmasters, *self.backends, *self.valkeys]


def family(marker: str) -> Family:
    """Find the processes whose command line carries the marker; this process is not among them."""
    found = Family()
    for pid, command in _commands():
        if marker not in command or pid == os.getpid():
            continue
        if "chimera.store.embedded.keeper" in command:
            found.keepers.append(pid)
        elif f"{marker}.initdb" in command:
            found.builders.append(pid)
        elif command.startswith(f"postgres: {marker}"):
            found.backends.append(pid)
        elif f"cluster_name={marker}" in command:
            found.postmasters.append(pid)
        elif "valkey" in command:
            found.valkeys.append(pid)
    return found


def is_alive(pid: int, marker: str) -> bool:
    """Whether the pid, which was a process of the set, still is (a zombie is not)."""
    if _HAS_PROC:
        return marker in _command(pid)
    try:
        os.kill(pid, 0)  # asked every second: too often for `ps`
    except ProcessLookupError:
        return False
    return True


def end(pids: Iterable[int], marker: str, steps: Sequence[Step], reap: Callable[[], object] = lambda: None) -> None:
    """Send each step's signal and wait up to its seconds; return when all are gone or the steps are used up.

    ``reap`` is called while waiting, for a parent to collect its dead children.
    """
    left = list(pids)
    for number, seconds in steps:
        for pid in left:
            _signal(pid, number)
        deadline = time.monotonic() + seconds
        while True:
            reap()
            left = [pid for pid in left if is_alive(pid, marker)]
            if not left:
                return
            if time.monotonic() >= deadline:
                break
            time.sleep(0.01)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _commands() -> list[tuple[int, str]]:
    if _HAS_PROC:
        return [(int(name), _command(int(name))) for name in os.listdir(_PROC) if name.isdigit()]
    listing = subprocess.run(["ps", "-axo", "pid=,command="], capture_output=True, text=True, timeout=10, check=False)
    rows = (line.strip().partition(" ") for line in listing.stdout.splitlines())
    return [(int(pid), command.strip()) for pid, _, command in rows if pid.isdigit()]


def _command(pid: int) -> str:
    """The command line with spaces between the words; empty for a dead process or a zombie."""
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
