"""Where the embedded servers keep their things, and how clients reach them.

    DATA_DIR/embedded/
      postgres/ valkey/    the data, owned by the account that runs the servers
      run/                 the two sockets
      logs/                keeper.log postgres.log valkey.log
      users/               one locked file for every process that uses the servers
      gate.lock            held for an instant by who comes, and all the time by who stops the servers
      keeper.lock          held by the keeper as long as it lives
      spawn.lock           held by the one process that starts a keeper

A unix socket's path may have 103 bytes (macOS; Linux has 107). The servers bind relative to their own folder, so
depth does not matter to them; clients of a deep folder go through a symbolic link in a private folder under /tmp.
"""

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from chimera.core.errors import StoreUnavailable
from chimera.store.embedded.failures import of_os_error

PG_SOCKET = ".s.PGSQL.5432"
VALKEY_SOCKET = "valkey.sock"
ROLE = "chimera"
LEDGER_ROLE = "chimera_ledger"
DATABASE = "chimera"
_SOCKET_PATH_MAX = 103
_LINK_PARENTS = tuple(dict.fromkeys((Path("/tmp"), Path(tempfile.gettempdir()))))  # noqa: S108 what is there is checked


@dataclass(frozen=True)
class Endpoints:
    """The urls of the two servers, as psycopg and redis-py take them."""

    database_url: str
    redis_url: str


class Layout:
    """All paths of one set of embedded servers."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self.root = self.data_dir / "embedded"
        self.postgres = self.root / "postgres"
        self.valkey = self.root / "valkey"
        self.run = self.root / "run"
        self.logs = self.root / "logs"
        self.users = self.root / "users"
        self.gate_lock = self.root / "gate.lock"
        self.keeper_lock = self.root / "keeper.lock"
        self.spawn_lock = self.root / "spawn.lock"

    @cached_property
    def marker(self) -> str:
        """A word that is in the command line of every process of this set, and of no other set."""
        return "chimera-" + hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]

    def make(self) -> None:
        """Create the folders that a user process needs; raises StoreError where that is impossible."""
        # Root runs the servers as another account, which has to be able to pass through (not to look around).
        mode = 0o711 if os.geteuid() == 0 else 0o700
        try:
            for folder in (self.data_dir, self.root):
                folder.mkdir(mode=mode, parents=True, exist_ok=True)
            for folder in (self.logs, self.users):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise of_os_error(error, f"the data folder {self.root} cannot be made") from error

    def endpoints(self) -> Endpoints:
        """The urls that reach the servers from this process; makes the short link where one is needed."""
        folder = str(self.sockets())
        return Endpoints(
            database_url=f"postgresql://{ROLE}@/{DATABASE}?host={quote(folder, safe='/')}&port=5432",
            redis_url=f"unix://{quote(folder, safe='/')}/{VALKEY_SOCKET}?db=0",
        )

    def sockets(self) -> Path:
        """A path of the folder with the sockets that is short enough to connect through."""
        return self.run if _fits(self.run) else self._short_link()

    def remove_link(self) -> None:
        """Remove this process's short link, if one was needed."""
        for parent in _LINK_PARENTS:
            link = self._link_in(parent)
            if link.is_symlink() and os.readlink(link) == str(self.run):
                link.unlink()

    def _short_link(self) -> Path:
        for parent in _LINK_PARENTS:
            link = self._link_in(parent)
            if _fits(link) and _private_folder(link.parent):
                try:
                    _point(link, self.run)
                except OSError as error:
                    raise of_os_error(error, f"the link {link} to the sockets cannot be made") from error
                return link
        raise StoreUnavailable(
            f"the path of {self.run} is too long for a socket, and no private folder for a short link can be made",
            remedy="Set CHIMERA_HOME to a shorter path, or remove a folder of yours in /tmp that others may write.",
        )

    def _link_in(self, parent: Path) -> Path:
        return parent / f"chimera-{os.geteuid()}" / self.marker.removeprefix("chimera-")


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / PG_SOCKET)) <= _SOCKET_PATH_MAX


def _private_folder(folder: Path) -> bool:
    """Make the folder, or check that it is ours alone: its name can be guessed, so somebody may have been first."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077


def _point(link: Path, target: Path) -> None:
    try:
        if os.readlink(link) == str(target):
            os.utime(link, follow_symlinks=False)  # so that cleaners of /tmp see it in use
            return
    except FileNotFoundError:
        pass
    fresh = link.with_name(f"{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
