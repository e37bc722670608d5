"""The server processes of ``chimera bench mesh``, and their moods."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import httpx

from chimera.tools.mesh.servers import ServerSpec

_START_S = 60.0
_MODULE = "chimera.bench.mesh.server"


@dataclass(frozen=True)
class Remote:
    """A server process with its endpoints."""

    process: asyncio.subprocess.Process
    ports: list[int]

    @property
    def urls(self) -> list[str]:
        """Where its endpoints are."""
        return [f"http://127.0.0.1:{port}/mcp/" for port in self.ports]

    async def mood(self, name: str, *places: int) -> None:
        """Treat requests so from now on, at some endpoints or at all."""
        async with httpx.AsyncClient(timeout=10) as client:
            for port in [self.ports[place] for place in places] or self.ports:
                (await client.put(f"http://127.0.0.1:{port}/mood/{name}")).raise_for_status()


@asynccontextmanager
async def remote(effects: Path, endpoints: int = 1) -> AsyncGenerator[Remote]:
    """A server over HTTP, as long as the block lasts or until it is killed."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", _MODULE, "http", str(effects), str(endpoints)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the SDK logs each client that hangs up, and some are made to
    )
    try:
        async with asyncio.timeout(_START_S):
            line = await cast("asyncio.StreamReader", process.stdout).readline()
        yield Remote(process, [int(port) for port in line.split()])
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def local(name: str, effects: Path) -> ServerSpec:
    """The same server over stdio."""
    return ServerSpec(name=name, transport="stdio", command=sys.executable, args=["-m", _MODULE, "stdio", str(effects)])


def memory_mb(process: int | str = "self") -> float:
    """What a process holds in memory, this one if no other is named."""
    pages = int(Path(f"/proc/{process}/statm").read_text("utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def children_mb() -> float:
    """What the processes that this one started hold in memory, with theirs; what several share counts for each."""
    parents: dict[int, int] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            parents[int(file.parent.name)] = int(file.read_text("utf-8", "replace").rpartition(")")[2].split()[1])
    ours, found = {os.getpid()}, set[int]()
    while ours:
        ours = {process for process, parent in parents.items() if parent in ours}
        found |= ours
    total = 0.0
    for process in found:
        with suppress(OSError):
            total += memory_mb(process)
    return total
