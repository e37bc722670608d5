"""The user's side of the embedded servers: come, go, stop them, delete them."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncGenerator
from pathlib import Path

from chimera.core.errors import StoreError, StoreUnavailable
from chimera.store.embedded.failures import of_os_error
from chimera.store.embedded.layout import Endpoints, Layout
from chimera.store.embedded.locks import Ticket, is_held, try_lock, users_in
from chimera.store.embedded.processes import end, family
from chimera.store.embedded.spawn import silent_end, start_keeper
from chimera.store.embedded.status import ServersStatus, read_status
from chimera.store.embedded.wire import postgres_version, valkey_version

_POLL_S = 0.03
_STOP_S = 90.0
_SILENT_KEEPERS = 3
_KEEPER_STOP_S = 45.0
_LAST_STEPS = ((signal.SIGINT, 10.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0))


class EmbeddedServers:
    """PostgreSQL and Valkey in ``DATA_DIR/embedded``, shared with every other process that names the same folder.

    Args:
        data_dir: the folder; made if missing.
        idle_s: the servers stop after nobody has used them for so long. Whoever starts them decides.
        start_timeout_s: the longest wait in ``acquire``: initdb on a slow disk, or recovery after a crash.
        durable: without it, what was committed outlives the servers, but not the machine: for tests. Whoever starts
            them decides.
    """

    def __init__(
        self, data_dir: Path, *, idle_s: float = 60.0, start_timeout_s: float = 120.0, durable: bool = True
    ) -> None:
        self._layout = Layout(data_dir)
        self._idle_s = idle_s
        self._durable = durable
        self._start_timeout_s = start_timeout_s
        self._ticket: Ticket | None = None

    async def acquire(self) -> Endpoints:
        """Register this process as a user, and return when both servers answer; may be repeated, to repair them.

        Raises:
            StoreFull: no space for the data.
            SchemaNewer: the data was made by a newer PostgreSQL.
            SchemaOutdated: the data was made by an older PostgreSQL.
            StoreUnavailable: anything else, with a remedy and the log's place in the context.
        """
        if self._ticket is not None and not self._ticket.is_valid:
            self._give_back()
        newcomer = self._ticket is None
        try:
            async with asyncio.timeout(self._start_timeout_s):
                if newcomer:
                    async with _locked(self._layout, self._layout.gate_lock, shared=True):
                        self._ticket = Ticket(self._layout.users)
                await self._until_serving()
        except BaseException as error:
            if newcomer:
                self._give_back()
            if isinstance(error, TimeoutError):
                raise StoreUnavailable(
                    f"the embedded servers did not answer within {self._start_timeout_s:g} s",
                    remedy="Repeat the command: recovery may take long. If it stays so, `chimera down --force`.",
                    log=str(self._layout.logs),
                ) from error
            raise
        return self._layout.endpoints()

    async def release(self) -> None:
        """Leave; the servers stop when nobody has used them for the idle time. Harmless when not acquired."""
        if self._ticket is None:
            return
        try:
            orphaned = not is_held(self._layout.keeper_lock) and bool(family(self._layout.marker).all())
            if orphaned:  # the keeper was killed: without a new one nobody would ever stop the servers
                async with asyncio.timeout(self._start_timeout_s):
                    await self._start_keeper()
        except (StoreError, TimeoutError):
            return  # nothing of ours is lost; the next acquire tries again and says what is wrong
        finally:
            self._give_back()

    def status(self) -> ServersStatus:
        """What there is and what runs; starts nothing and never fails for want of a folder."""
        return read_status(self._layout)

    async def stop(self, *, force: bool = False) -> None:
        """Stop both servers now; harmless when none runs. This process is no user any more.

        Raises:
            StoreError: other processes use them, and ``force`` is not set.
        """
        if self._layout.root.is_dir():
            async with self._stopped(force):
                pass

    async def purge(self, *, force: bool = False) -> None:
        """Stop both servers and delete their data, logs and locks; what else is in the data folder stays.

        Raises:
            StoreError: other processes use them, and ``force`` is not set.
        """
        layout = self._layout
        doomed = layout.data_dir / f"{layout.root.name}.purged-{os.getpid()}"
        if layout.root.is_dir():
            async with self._stopped(force):
                layout.remove_link()
                try:
                    layout.root.rename(doomed)
                except OSError as error:
                    raise of_os_error(error, f"{layout.root} cannot be deleted") from error
        for folder in layout.data_dir.glob(f"{layout.root.name}.purged-*"):
            try:
                await asyncio.to_thread(shutil.rmtree, folder)
            except OSError as error:
                raise of_os_error(error, f"{folder} cannot be deleted") from error

    async def _until_serving(self) -> None:
        silent = 0
        while True:
            if not is_held(self._layout.keeper_lock):
                silent += not await self._start_keeper()
                if silent == _SILENT_KEEPERS:
                    raise silent_end(self._layout)
            elif await asyncio.to_thread(_serve, self._layout.sockets()):
                return
            else:
                await asyncio.sleep(_POLL_S)  # the keeper is starting or restarting them

    async def _start_keeper(self) -> bool:
        async with _locked(self._layout, self._layout.spawn_lock):
            if is_held(self._layout.keeper_lock):
                return True
            return await start_keeper(self._layout, self._idle_s, durable=self._durable)

    @contextlib.asynccontextmanager
    async def _stopped(self, force: bool) -> AsyncGenerator[None]:
        """Keep everybody out, stop what runs, and hold it so for the length of the block."""
        layout = self._layout
        try:
            async with asyncio.timeout(_STOP_S), _locked(layout, layout.gate_lock):
                self._refuse_if_used(force)
                self._give_back()
                async with self._keeper_gone():
                    await asyncio.to_thread(end, family(layout.marker).all(), layout.marker, _LAST_STEPS)
                    yield
        except TimeoutError as error:
            raise StoreUnavailable(
                f"the embedded servers did not stop within {_STOP_S:g} s",
                remedy=f"Look at {layout.logs}, and for processes with {layout.marker} in their command line.",
                log=str(layout.logs),
            ) from error

    def _refuse_if_used(self, force: bool) -> None:
        own = self._ticket.path.name if self._ticket else None
        others = {name: pid for name, pid in users_in(self._layout.users, prune=True).items() if name != own}
        if others and not force:
            pids = sorted(set(others.values()))
            raise StoreError(
                f"the embedded servers are in use by process {', '.join(map(str, pids))}",
                remedy="End those commands first, or repeat with --force.",
                pids=pids,
            )

    @contextlib.asynccontextmanager
    async def _keeper_gone(self) -> AsyncGenerator[None]:
        """Ask the keeper to stop its servers and itself; kill it if it does not; keep its place empty."""
        layout = self._layout
        lock = try_lock(layout.keeper_lock)
        if lock is None:
            keepers = family(layout.marker).keepers
            steps = ((signal.SIGTERM, _KEEPER_STOP_S), (signal.SIGKILL, 5.0))
            await asyncio.to_thread(end, keepers, layout.marker, steps)
        while lock is None:
            await asyncio.sleep(_POLL_S)
            lock = try_lock(layout.keeper_lock)
        try:
            yield
        finally:
            os.close(lock)

    def _give_back(self) -> None:
        if self._ticket is not None:
            self._ticket.give_back()
            self._ticket = None


@contextlib.asynccontextmanager
async def _locked(layout: Layout, path: Path, *, shared: bool = False) -> AsyncGenerator[None]:
    """Hold a lock of the set for the length of the block, waiting for it as long as the caller's deadline allows."""
    layout.make()
    while (descriptor := try_lock(path, shared=shared)) is None:
        await asyncio.sleep(_POLL_S / 3)
        layout.make()  # a purge may have been what we waited for
    try:
        yield
    finally:
        os.close(descriptor)


def _serve(sockets: Path) -> bool:
    return postgres_version(sockets) is not None and valkey_version(sockets) is not None
