"""Who runs the servers: this user, or for root, which PostgreSQL refuses, an account without rights.

Root's servers run as the owner of the data if that is not root, else as the account ``chimera`` if the administrator
made one, else as ``nobody``. That account often cannot pass through the folders above the data or above the virtual
environment (a home of mode 700 is the rule). Nobody's folders are opened up for that: where it is needed, and Linux
allows it, the servers keep the one capability to read through folders, DAC_READ_SEARCH (containers that lack it:
DAC_OVERRIDE), and nothing else of root. PostgreSQL looks for its own programs with access(2), for which the kernel
takes capabilities away from everybody but root unless told not to: SECBIT_NO_SETUID_FIXUP, see capabilities(7).
"""

import contextlib
import ctypes
import os
import pwd
import subprocess
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chimera.core.errors import StoreUnavailable
from chimera.store.embedded.failures import of_os_error
from chimera.store.embedded.layout import Layout

_PR_SET_KEEPCAPS = 8
_PR_SET_SECUREBITS = 28
_KEEP_CAPS, _NO_SETUID_FIXUP = 1 << 4, 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAPABILITY_VERSION_3 = 0x20080522
_CAP_DAC_OVERRIDE = 1
_CAP_DAC_READ_SEARCH = 2


@dataclass(frozen=True)
class Account:
    """The account of the server processes; ``uid`` None means this process's own."""

    uid: int | None = None
    gid: int = 0
    capability: int | None = None

    def own(self, folder: Path) -> None:
        """Make the folder, private to the account."""
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            if self.uid is not None and folder.stat().st_uid != self.uid:
                os.chown(folder, self.uid, self.gid)
        except OSError as error:
            raise of_os_error(error, f"the folder {folder} cannot be made") from error

    def start(self, command: Sequence[str], cwd: Path, log: Path) -> subprocess.Popen[bytes]:
        """Start a program as this account, in a session of its own, with its output appended to the log."""
        try:
            with log.open("ab") as output:
                return subprocess.Popen(
                    command,
                    cwd=cwd,
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    preexec_fn=self.become,  # noqa: PLW1509 the keeper has one thread
                )
        except (OSError, subprocess.SubprocessError) as error:
            cause = error if isinstance(error, OSError) else OSError(1, f"the account {self.uid} cannot be taken on")
            raise of_os_error(cause, f"{command[0]} cannot be started", log=str(log)) from error

    def become(self) -> None:
        """Turn the calling process, a child before its exec, into this account."""
        if self.uid is None:
            return
        libc = ctypes.CDLL(None, use_errno=True)
        secure = _KEEP_CAPS | _NO_SETUID_FIXUP
        if self.capability is not None and libc.prctl(_PR_SET_SECUREBITS, secure, 0, 0, 0):  # refused without SETPCAP
            _check(libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
        os.setgroups([])
        os.setgid(self.gid)
        os.setuid(self.uid)
        if self.capability is not None:
            bits = 1 << self.capability
            header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
            sets = (ctypes.c_uint32 * 6)(bits, bits, bits, 0, 0, 0)  # effective, permitted, inheritable; upper halves
            _check(libc.capset(header, sets))
            _check(libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, self.capability, 0, 0))


def account_for(layout: Layout, programs: Sequence[Path]) -> Account:
    """The account for this set's servers, able to reach the programs and the data.

    Raises:
        StoreUnavailable: this process is root and there is no such account; the remedy says what to open.
    """
    if os.geteuid() != 0:
        return Account()
    plain = _unprivileged(layout)
    capabilities = (_CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE) if sys.platform == "linux" else ()
    for account in (plain, *(replace(plain, capability=number) for number in capabilities)):
        if all(_can(account, [str(program), "--version"], layout.root, program) for program in programs):
            return account
    if not _can(plain, ["/bin/sh", "-c", ":"]):
        raise StoreUnavailable(
            f"root cannot run PostgreSQL, and this process may not change to the account with id {plain.uid}",
            remedy="Run as a normal user, or set CHIMERA_DATABASE_URL and CHIMERA_REDIS_URL to servers of your own.",
        )
    closed = next((p for p in (*reversed(layout.root.parents), *_above(programs)) if not _is_open(p)), layout.root)
    raise StoreUnavailable(
        f"root cannot run PostgreSQL, and the account with id {plain.uid} cannot pass through {closed}",
        remedy=f"Run as a normal user, or let others pass: chmod o+x {closed}",
    )


def _unprivileged(layout: Layout) -> Account:
    for folder in (layout.postgres, layout.root, layout.data_dir):
        with contextlib.suppress(FileNotFoundError):
            owner = folder.stat()
            if owner.st_uid != 0:
                return Account(owner.st_uid, owner.st_gid)
    for name in ("chimera", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise StoreUnavailable(
        "root cannot run PostgreSQL, and there is no account named chimera or nobody",
        remedy="Run as a normal user, or add an account: useradd --system chimera",
    )


def _can(account: Account, command: Sequence[str], *seen: Path) -> bool:
    """Whether the account can run the command and reach some paths; tried, because rules differ between systems."""

    def become_and_look() -> None:
        account.become()
        for path in seen:
            path.stat()
            if not os.access(path, os.X_OK):  # how PostgreSQL asks
                raise PermissionError(path)

    try:
        trial = subprocess.run(
            command,
            cwd="/",
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
            preexec_fn=become_and_look,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return trial.returncode == 0


def _above(programs: Sequence[Path]) -> Generator[Path]:
    for program in programs:
        yield from reversed(program.parents)


def _is_open(folder: Path) -> bool:
    return bool(folder.stat().st_mode & 0o001)


def _environment() -> dict[str, str]:
    """What a server needs to know of this process's environment: no PG* variables, and no secrets."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {"PATH": os.defpath, **kept, "LC_ALL": "C", "TZ": "UTC"}


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
