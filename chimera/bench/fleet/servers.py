"""The real servers of a measurement, in a folder that is deleted afterwards, and what PostgreSQL used of the CPU."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from chimera.store.embedded import EmbeddedServers


@dataclass
class Servers:
    """An embedded PostgreSQL and Valkey."""

    home: str
    database_url: str
    redis_url: str
    _before_s: float = 0.0

    def forget_postgres(self) -> None:
        """PostgreSQL is about to be restarted: keep in mind what it has used."""
        self._before_s = self.postgres_cpu_s()

    def postgres_cpu_s(self) -> float:
        """CPU seconds that PostgreSQL has used, its ended backends and its runs before a restart included."""
        total = 0
        for entry, fields in processes():
            try:
                if "postgres" not in fields[0] or not str((entry / "cwd").readlink()).startswith(self.home):
                    continue
                # Of the postmaster, also what those used that it has waited for.
                total += ticks(fields, waited="-D" in (entry / "cmdline").read_text("utf-8").split("\0"))
            except OSError:
                continue
        return self._before_s + total / os.sysconf("SC_CLK_TCK")


def processes() -> Iterator[tuple[Path, list[str]]]:
    """All processes of this machine: each with the fields of its ``stat``, its name first and its state second."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name, _, rest = (entry / "stat").read_text("utf-8").rpartition(")")
        except OSError:
            continue
        yield entry, [name, *rest.split()]


def ticks(fields: Sequence[str], *, waited: bool) -> int:
    """CPU ticks that a process has used; ``waited``: with its ended children."""
    return sum(map(int, fields[12 : 16 if waited else 14]))


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
