"""What can go wrong with a server of our own, as one line with a remedy.

Two sources: an ``OSError`` of this process, and the last lines that a server wrote before it gave up.
"""

import errno
import re
import shutil
from pathlib import Path
from typing import Any

from chimera.core.errors import StoreError, StoreFull, StoreUnavailable

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_SPACE = 1024 * 1024
_FREE_SPACE = "Free disk space (or set CHIMERA_HOME to a folder on a larger disk), then repeat the command."
_OTHER_FOLDER = "Set CHIMERA_HOME to a folder on a local disk that this account may write."
_PURGE = "Restore the folder from a backup, or start empty: `chimera down --purge` deletes the data."

# What our own questions to a server that is not ready leave in its log.
_NOISE = re.compile(r"the database system is |DETAIL: ")

# (what the server wrote, what it means, remedy); the first match counts. "{0}" is the matched group or line.
_SIGNS: tuple[tuple[str, str, str], ...] = (
    (r"could not look up effective user ID (\d+)", "the user id {0} has no name", "Add the id to /etc/passwd."),
    (r"(lib\S+): cannot open shared object file", "the system library {0} is missing", "Install {0}."),
    (
        r"could not (?:bind|create|listen on) Unix|Failed opening Unix socket|Unix socket.*(?:bind|listen)",
        "its socket cannot be made",
        _OTHER_FOLDER,
    ),
    (
        r"could not (?:create|map|attach).*shared memory|Cannot allocate memory|Can't allocate",
        "there is not enough memory",
        "Free memory, or raise the container's limit (256 MB of shared memory are asked for).",
    ),
    (
        r"lock file \S+ already exists|pre-existing shared memory block",
        "another server works in the same folder",
        "`chimera down` stops it; look for it with `ps -ef | grep postgres` if it was started elsewhere.",
    ),
    (
        r"has (?:wrong ownership|invalid permissions)|could not change permissions|Permission denied",
        "its folder belongs to another account or has wrong permissions",
        "Run as the account that made the folder, or set CHIMERA_HOME to a folder of your own.",
    ),
    (
        r"PANIC: |could not (?:access the server configuration|locate a valid checkpoint)|files are incompatible",
        "its data is damaged",
        _PURGE,
    ),
)


def of_os_error(error: OSError, what: str, **context: Any) -> StoreError:
    """Name an operating system error met while doing ``what`` (a phrase such as "the folder X cannot be made")."""
    reason = error.strerror or type(error).__name__
    if error.errno in _FULL:
        return StoreFull(f"{what}: the disk is full", remedy=_FREE_SPACE, **context)
    return StoreUnavailable(f"{what}: {reason}", remedy=_OTHER_FOLDER, **context)


def of_exit(program: str, status: int | None, log: Path, since: int, **context: Any) -> StoreError:
    """Name why ``program`` ended (or did not get ready: status None), from what it logged after byte ``since``."""
    said = tail(log, since)
    full = any(sign in said for sign in ("No space left on device", "Disk quota exceeded"))
    if full or shutil.disk_usage(log.parent).free < _NO_SPACE:  # the log has no room for the reason either
        return StoreFull(f"{program} cannot start: the disk is full", remedy=_FREE_SPACE, log=str(log), **context)
    for pattern, meaning, remedy in _SIGNS:
        if found := re.search(pattern, said):
            word = found.group(1) if found.re.groups else found.group(0)
            return StoreUnavailable(
                f"{program} cannot start: {meaning.format(word)}", remedy=remedy.format(word), log=str(log), **context
            )
    ended = "does not answer" if status is None else f"ended with status {status}"
    lines = (line.strip() for line in reversed(said.splitlines()) if not _NOISE.search(line))
    last = next(filter(None, lines), "it logged no reason")
    return StoreUnavailable(
        f"{program} {ended}: {last[:300]}",
        remedy=f"Read {log}, then repeat the command.",
        log=str(log),
        **context,
    )


def tail(log: Path, since: int = 0, limit: int = 16_384) -> str:
    """The end of a log file, at most ``limit`` bytes of what was written after byte ``since``."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(since if since <= size else 0, size - limit))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def size_of(log: Path) -> int:
    """The size of a log file in bytes; 0 if there is none."""
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0
