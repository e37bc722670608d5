"""Three replicas under load while one of them fails in every way it can: what is lost, done twice, or slow."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from chimera.bench.mesh.server import MOODS
from chimera.bench.mesh.servers import Remote, remote
from chimera.core.errors import ToolFailed
from chimera.core.settings import Settings
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.servers import ServerSpec

REPLICAS = 3
WORKERS = 6
FAULTS = (*(mood for mood in MOODS if mood != "well"), "killed")
_EVERY_WRITE = 5


@dataclass
class Load:
    """What the workers saw."""

    failed: int = 0
    calls: int = 0
    writes_done: set[str] = field(default_factory=set[str])
    writes_failed: set[str] = field(default_factory=set[str])


async def fault_figures(folder: Path, *, quick: bool) -> dict[str, float]:
    """Failed read-only calls, effects carried out twice or lost, and p99 after ejection over the healthy p99."""
    seconds = 1.0 if quick else 15.0
    figures: dict[str, float] = {}
    whole = Load()
    ratios: list[float] = []
    effects = folder / "effects-under-faults"
    async with AsyncExitStack() as stack:
        servers = await asyncio.gather(*(stack.enter_async_context(remote(effects)) for _ in range(REPLICAS)))
        first, *rest = (server.urls[0] for server in servers)
        spec = ServerSpec(name="web", transport="http", url=first, replicas=rest)
        for fault in FAULTS:
            await asyncio.gather(*(server.mood("well") for server in servers))
            async with ToolMesh([spec], Settings(home=folder)) as mesh:
                await mesh.capabilities()
                await _load(mesh, seconds / 4, f"{fault}-warm", Load())
                healthy = await _load(mesh, seconds, f"{fault}-well", whole)
                during = asyncio.create_task(_load(mesh, seconds, f"{fault}-during", whole))
                await asyncio.sleep(seconds / 4)
                await _break(servers[0], fault)
                await during
                after = await _load(mesh, seconds, f"{fault}-after", whole)
            ratios.append(_p99(after) / _p99(healthy))
            figures |= {f"{fault}_p99_ms": round(_p99(after), 1), f"{fault}_healthy_p99_ms": round(_p99(healthy), 1)}
    done = Counter(effects.read_text("utf-8").split())
    return figures | {
        "calls": whole.calls,
        "failed_calls": whole.failed,
        "duplicate_effects": sum(times > 1 for times in done.values()),
        "lost_effects": len(whole.writes_done - set(done)),
        "failed_writes": len(whole.writes_failed),
        "fault_p99_ratio": round(max(ratios), 2),
    }


async def _break(server: Remote, fault: str) -> None:
    if fault == "killed":
        server.process.kill()
    else:
        await server.mood(fault)


async def _load(mesh: ToolMesh, seconds: float, name: str, whole: Load) -> list[float]:
    """Milliseconds of the read-only calls that ``WORKERS`` made for so long, one after another each."""
    taken: list[float] = []
    end = time.monotonic() + seconds

    async def worker(number: int) -> None:
        for turn in range(1_000_000):
            if time.monotonic() >= end:
                return
            key = f"{name}-{number}-{turn}"
            if turn % _EVERY_WRITE == 0:
                await _write(mesh, key, whole)
                continue
            began = time.monotonic()
            whole.calls += 1
            try:
                await mesh.call("web__read", {"text": key}, scope="bench", idempotency_key=key, deadline_s=20)
            except ToolFailed:
                whole.failed += 1
            taken.append((time.monotonic() - began) * 1_000)

    async with asyncio.TaskGroup() as group:
        for number in range(WORKERS):
            group.create_task(worker(number))
    return taken


async def _write(mesh: ToolMesh, key: str, whole: Load) -> None:
    try:
        await mesh.call("web__write", {"text": key}, scope="bench", idempotency_key=key, deadline_s=5)
        whole.writes_done.add(key)
    except ToolFailed:
        whole.writes_failed.add(key)


def _p99(taken: list[float]) -> float:
    return sorted(taken)[int(len(taken) * 0.99)]
