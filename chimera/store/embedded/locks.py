"""Advisory locks on files that the kernel lets go of when their holder dies, and the register of users.

A lock file can be deleted and made anew (purge) while somebody waits for it, so after locking, the file is compared
with the one that has the name now: a lock on a deleted file protects nothing.
"""

import fcntl
import os
import secrets
from pathlib import Path

from chimera.store.embedded.failures import of_os_error


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Lock the file, creating it if needed; the descriptor that holds the lock, or None if it has to be tried again."""
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if is_current(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


def is_current(descriptor: int, path: Path) -> bool:
    """Whether the open file is the one that has this name now."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def is_held(path: Path) -> bool:
    """Whether another process holds the file exclusively."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise of_os_error(error, f"the lock {path} cannot be read") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Ticket:
    """This process's entry in the register of users; valid until ``give_back`` or the end of the process.

    An entry that is dropped without ``give_back`` is let go of with a ResourceWarning, like any open file.
    """

    def __init__(self, users: Path) -> None:
        self.path = users / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._file = os.fdopen(_open(self.path), "rb")
        # Nobody else locks a file with a random name, except a reader who looks at it for an instant.
        fcntl.flock(self._file, fcntl.LOCK_EX)

    @property
    def is_valid(self) -> bool:
        """Whether the entry still is in the register; a purge deletes the register."""
        return is_current(self._file.fileno(), self.path)

    def give_back(self) -> None:
        """Leave the register."""
        self.path.unlink(missing_ok=True)
        self._file.close()


def users_in(folder: Path, *, prune: bool = False) -> dict[str, int]:
    """The names and pids of the live entries of the register; ``prune`` removes those whose process has died.

    Only a holder of the gate may prune: an entry exists for an instant before it is locked.
    """
    live: dict[str, int] = {}
    for name in os.listdir(folder) if folder.is_dir() else ():
        path = folder / name
        if is_held(path):
            live[name] = int(name.split("-")[0])
        elif prune:
            path.unlink(missing_ok=True)
    return live


def _open(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.geteuid() == 0:  # root in another user's folder must not leave files there that the user cannot open
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    except OSError as error:
        raise of_os_error(error, f"the lock {path} cannot be made") from error
    return descriptor
