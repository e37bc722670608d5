"""The keeper: the small process that owns a set of embedded servers. ``python -m chimera.store.embedded.keeper``.

    starts or takes over both servers -> says so on its output -> restarts one that dies
    -> nobody holds an entry in users/ for the idle time, or SIGTERM, or its folder is gone -> stops both, exits

It holds ``keeper.lock`` while it lives. If it is killed, the servers go on, and the next keeper takes them over.
Only the standard library and this package's small modules are imported: it stays resident.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chimera.core.errors import ChimeraError, StoreUnavailable
from chimera.store.embedded import postgres, valkey
from chimera.store.embedded.account import account_for
from chimera.store.embedded.failures import of_exit, of_os_error
from chimera.store.embedded.layout import Layout
from chimera.store.embedded.locks import is_current, try_lock, users_in
from chimera.store.embedded.processes import end, family, is_alive

_READY_S = 600.0  # recovery after a crash may replay up to max_wal_size
_LOCK_S = 1.0
_RESTARTS = 5
_RESTARTS_WITHIN_S = 60.0
_LOG_MAX = 5 * 1024 * 1024
_LINK_EVERY_S = 3600.0
_KILL = ((signal.SIGKILL, 5.0),)
_Server = postgres.Postgres | valkey.Valkey


class Keeper:
    """The life of one set of servers."""

    def __init__(self, layout: Layout, idle_s: float, lock: int, *, durable: bool) -> None:
        self._layout = layout
        self._idle_s = idle_s
        self._durable = durable
        self._lock = lock
        self._tick_s = min(1.0, max(0.05, idle_s / 10))
        self._servers: list[_Server] = []
        self._pids: dict[str, int] = {}
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._restarts: deque[float] = deque(maxlen=_RESTARTS)
        self._stopping = False
        self._last_use = self._link_made = time.monotonic()
        self._users_seen = 0
        self._wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until nobody needs the servers; ``ready`` is called once, when both answer."""
        try:
            self._take_over()
            ready()
            self._last_use = time.monotonic()
            while not self._stopping and is_current(self._lock, self._layout.keeper_lock):
                self._pause(self._tick_s)
                self._restart_dead()
                self._refresh_link()
                if self._is_unused():
                    break
        finally:
            self._stop_all()

    def _take_over(self) -> None:
        layout = self._layout
        found = family(layout.marker)
        end(found.keepers, layout.marker, _KILL)  # their folder was deleted under them: the lock is ours
        account = account_for(layout, [postgres.program(), valkey.program()])
        for folder in (layout.run, layout.valkey):
            account.own(folder)
        self._servers = [postgres.Postgres(layout, account, durable=self._durable), valkey.Valkey(layout, account)]
        for server in self._servers:
            if (pid := server.running(found)) is not None:
                _log(f"{server.name} {pid} taken over")
                self._pids[server.name] = pid
            else:
                self._start(server)
        for server in self._servers:
            self._until_serving(server)

    def _start(self, server: _Server) -> None:
        marker = self._layout.marker
        end(server.leftovers(family(marker)), marker, server.stop_steps, self._reap)
        if server.log.exists() and server.log.stat().st_size > _LOG_MAX:
            server.log.replace(server.log.with_suffix(".log.1"))
        child = server.start()
        self._children[child.pid] = child
        self._pids[server.name] = child.pid
        _log(f"{server.name} {child.pid} started")

    def _until_serving(self, server: _Server) -> None:
        deadline = time.monotonic() + _READY_S
        retries = server.retries
        while not server.serves():
            if self._stopping:
                raise StoreUnavailable(f"{server.name} was stopped while it started", remedy="Repeat the command.")
            if not self._is_alive(server):
                status = self._status(server)
                if not retries:
                    raise of_exit(server.name, status, server.log, server.log_start)
                retries -= 1
                self._start(server)
            elif time.monotonic() >= deadline:
                raise of_exit(server.name, None, server.log, server.log_start)
            self._pause(0.02)

    def _restart_dead(self) -> None:
        for server in self._servers:
            if self._stopping or self._is_alive(server):
                continue
            _log(f"{server.name} ended with status {self._status(server)}")
            now = time.monotonic()
            if len(self._restarts) == _RESTARTS and now - self._restarts[0] < _RESTARTS_WITHIN_S:
                raise StoreUnavailable(f"{server.name} dies again and again", log=str(server.log))
            self._restarts.append(now)
            self._start(server)
            self._until_serving(server)

    def _is_unused(self) -> bool:
        """Whether nobody has used the servers for the idle time; if so, the gate stays locked.

        Who comes from then on waits at the gate until this process is gone, and starts the next keeper.
        """
        gate = try_lock(self._layout.gate_lock)
        if gate is None:
            return False  # somebody is coming, or stopping us
        users = self._layout.users
        now = time.monotonic()
        came_and_went = users.stat().st_mtime_ns != self._users_seen
        live = users_in(users, prune=True)
        if live or came_and_went:
            self._last_use = now
        self._users_seen = users.stat().st_mtime_ns
        if not live and now - self._last_use >= self._idle_s:
            _log(f"unused for {self._idle_s:g} s")
            return True
        os.close(gate)
        return False

    def _refresh_link(self) -> None:
        if time.monotonic() - self._link_made > _LINK_EVERY_S:
            self._layout.sockets()
            self._link_made = time.monotonic()

    def _stop_all(self) -> None:
        for server in reversed(self._servers):
            if (pid := self._pids.get(server.name)) is not None:
                end([pid], self._layout.marker, server.stop_steps, self._reap)
                _log(f"{server.name} {pid} stopped")
        if is_current(self._lock, self._layout.keeper_lock):
            self._layout.remove_link()  # whoever comes next makes it again

    def _is_alive(self, server: _Server) -> bool:
        self._reap()
        return is_alive(self._pids[server.name], self._layout.marker)

    def _status(self, server: _Server) -> int | None:
        child = self._children.pop(self._pids[server.name], None)
        return child.poll() if child else None

    def _reap(self) -> None:
        for child in self._children.values():
            child.poll()

    def _pause(self, seconds: float) -> None:
        """Wait; a signal (a child's death too) ends the wait."""
        if select.select([self._wake_read], [], [], seconds)[0]:
            os.read(self._wake_read, 4096)

    def _on_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGTERM:
            self._stopping = True


def main(arguments: list[str]) -> int:
    """Run a keeper for the folder; the arguments are marker (for the process list), data folder, idle seconds.

    A fourth one, ``hasty``, has the servers not wait for the disk.
    """
    _marker, data_dir, idle_s, *more = arguments
    os.umask(0o077)
    if os.fork():
        os._exit(0)  # whoever started us collects this one; we belong to init
    os.setsid()  # no terminal and no process group takes us along
    for descriptor in map(int, os.listdir("/dev/fd")):  # somebody may wait for the end of a pipe that we inherited
        if descriptor > 2:
            with contextlib.suppress(OSError):
                os.close(descriptor)
    layout = Layout(Path(data_dir))
    try:
        lock = _take_lock(layout.keeper_lock)
        if lock is None:
            _report({"busy": True})
            return 0
        Keeper(layout, float(idle_s), lock, durable="hasty" not in more).run(lambda: _report({"ready": True}))
    except ChimeraError as error:
        return _fail(error)
    except OSError as error:
        _log(traceback.format_exc())
        return _fail(of_os_error(error, "the embedded servers cannot be kept", log=str(layout.logs / "keeper.log")))
    return 0


def _take_lock(path: Path) -> int | None:
    deadline = time.monotonic() + _LOCK_S  # a look at the lock by somebody else lasts an instant; another keeper stays
    while (lock := try_lock(path)) is None and time.monotonic() < deadline:
        time.sleep(0.005)
    return lock


def _fail(error: ChimeraError) -> int:
    _log(f"{error} ({error.hint})")
    _report({"error": error.as_dict()})
    return 1


def _report(message: dict[str, Any]) -> None:
    """Tell the process that started us, once; it waits for the end of our output."""
    os.write(1, json.dumps(message).encode())
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)


def _log(text: str) -> None:
    with contextlib.suppress(OSError):  # a full disk must not keep us from stopping the servers
        sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} keeper {os.getpid()} {text}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
