"""The real servers of a measurement, in a folder that is deleted afterwards, and what PostgreSQL used of the CPU."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chimera.store.embedded import EmbeddedServers


@dataclass(frozen=True)
class Servers:
    """An embedded PostgreSQL and Valkey."""

    home: str
    database_url: str
    redis_url: str

    def postgres_cpu_s(self) -> float:
        """CPU seconds that PostgreSQL has used, its ended backends included."""
        total = 0
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                stat = (entry / "stat").read_text("utf-8")
                if "postgres" not in stat or not str((entry / "cwd").readlink()).startswith(self.home):
                    continue
                fields = stat.rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
                if "-D" in (entry / "cmdline").read_text("utf-8").split("\0"):  # the postmaster: those it waited for
                    total += int(fields[13]) + int(fields[14])
            except OSError:
                continue
        return total / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def open_servers() -> AsyncGenerator[Servers]:
    """Start them, and leave nothing behind."""
    home = await asyncio.to_thread(lambda: Path(tempfile.mkdtemp(prefix="chimera-bench-")).resolve())
    embedded = EmbeddedServers(home)
    try:
        found = await embedded.acquire()
        yield Servers(str(home), found.database_url, found.redis_url)
        await embedded.release()
    finally:
        try:
            await embedded.purge(force=True)
        finally:
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
