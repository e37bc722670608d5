"""What it costs to put a decision on the record: many writers that share transactions, and one transaction for each."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

from chimera.core.clock import SystemClock
from chimera.core.settings import Settings
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.audit.signing import load_signer
from chimera.store.embedded import EmbeddedServers
from chimera.store.migrate import migrate
from chimera.store.postgres import Pool, open_pool

WRITERS = 200
_IDLE_S = 5.0
_DEADLINE_S = 300.0


async def appending(*, quick: bool) -> dict[str, float]:
    """Milliseconds for each event, with 200 writers at once on an embedded PostgreSQL of its own, and as it is alone.

    ``audit_append_ms`` is the time of the clock that an event adds (the run divided by its events), and
    ``audit_append_cpu_ms`` the CPU time of this process. ``audit_alone_ms`` is the same work with one transaction for
    each event, by as many writers. ``audit_wait_p99_ms`` is how long one writer waits. ``audit_lost`` must be none.
    """
    each = 10 if quick else 100
    async with _database() as (pool, settings), asyncio.timeout(_DEADLINE_S):
        signer = await asyncio.to_thread(load_signer, settings)
        shared = AuditLog(pool, SystemClock(), signer)
        await _write(lambda: shared, "warm", WRITERS, 1)
        together = await _write(lambda: shared, "together", WRITERS, each)
        alone = await _write(lambda: AuditLog(pool, SystemClock(), signer), "alone", WRITERS, max(1, each // 10))
        lost = WRITERS * each - await shared.verify("together")
    return {
        "audit_append_ms": _ms(together.seconds / together.events),
        "audit_append_cpu_ms": _ms(together.cpu / together.events),
        "audit_wait_p99_ms": _ms(together.p99),
        "audit_alone_ms": _ms(alone.seconds / alone.events),
        "audit_alone_cpu_ms": _ms(alone.cpu / alone.events),
        "audit_speedup": round(alone.seconds / alone.events / (together.seconds / together.events), 1),
        "audit_events": together.events,
        "audit_lost": lost,
    }


class _Run:
    """Times of one run, in seconds."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.seconds = self.cpu = 0.0

    @property
    def events(self) -> int:
        """How many events were written."""
        return len(self.waits)

    @property
    def p99(self) -> float:
        """How long one of a hundred writers waited at least."""
        return quantiles(self.waits, n=100, method="inclusive")[98]


async def _write(log: Callable[[], AuditLog], tenant: str, writers: int, each: int) -> _Run:
    """Let many writers append one event after the other."""
    run = _Run()

    async def writer(number: int) -> None:
        mine = log()
        for place in range(each):
            data: dict[str, Any] = {
                "edge": "tool_call",
                "action": "allow",
                "rules": [],
                "reasons": [],
                "payload": f"{place:016x}",
            }
            began = time.perf_counter()
            await mine.append(AuditEvent(kind="guard.decision", actor=f"agent:{number}", tenant=tenant, data=data))
            run.waits.append(time.perf_counter() - began)

    began, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for number in range(writers):
            group.create_task(writer(number))
    run.seconds, run.cpu = time.perf_counter() - began, time.process_time() - cpu
    return run


@asynccontextmanager
async def _database() -> AsyncGenerator[tuple[Pool, Settings]]:
    """An embedded PostgreSQL in a folder that is deleted afterwards."""
    home = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="chimera-bench-"))
    servers = EmbeddedServers(home, idle_s=_IDLE_S)
    try:
        endpoints = await servers.acquire()
        async with open_pool(endpoints.database_url) as pool:
            await migrate(pool)
            yield pool, Settings(home=home)
    finally:
        try:
            await servers.purge(force=True)
        finally:
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 4)
