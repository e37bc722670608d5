"""Three replicas under load while one of them fails in every way it can: what is lost, done twice, or slow.

Three more that are well are asked in turn with them once the failing one is set aside: how slow the machine is at that
time slows both, and their 99th percentile is what the other's is measured by.
"""

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
    seconds = 0.6 if quick else 8.0
    figures: dict[str, float] = {}
    whole = Load()
    ratios: list[float] = []
    effects = folder / "effects-under-faults"
    async with AsyncExitStack() as stack:
        servers = await asyncio.gather(
            *(stack.enter_async_context(remote(effects)) for _ in range(2 * REPLICAS)),
        )
        failing, well = servers[:REPLICAS], servers[REPLICAS:]
        specs = [_spec("web", failing), _spec("control", well)]
        for fault in FAULTS:
            await asyncio.gather(*(server.mood("well") for server in failing))
            async with ToolMesh(specs, Settings(home=folder)) as mesh:
                await mesh.capabilities()
                await _load(mesh, seconds / 4, f"{fault}-warm", Load())
                during = asyncio.create_task(_load(mesh, seconds, f"{fault}-during", whole))
                await asyncio.sleep(seconds / 4)
                await _break(failing[0], fault)
                await during
                after, healthy = await _load(mesh, 2 * seconds, f"{fault}-after", whole, beside=True)
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


def _spec(name: str, servers: list[Remote]) -> ServerSpec:
    first, *others = (server.urls[0] for server in servers)
    return ServerSpec(name=name, transport="http", url=first, replicas=others)


async def _break(server: Remote, fault: str) -> None:
    if fault == "killed":
        server.process.kill()
    else:
        await server.mood(fault)


async def _load(
    mesh: ToolMesh, seconds: float, name: str, whole: Load, *, beside: bool = False
) -> tuple[list[float], list[float]]:
    """Milliseconds of the read-only calls that ``WORKERS`` made for so long, one after another each.

    ``beside``: each is followed by one of the replicas that are well, whose times are the second list.
    """
    taken, controls = list[float](), list[float]()
    end = time.monotonic() + seconds

    async def read(server: str, key: str, times: list[float]) -> None:
        began = time.monotonic()
        whole.calls += 1
        try:
            await mesh.call(f"{server}__read", {"text": key}, scope="bench", idempotency_key=key, deadline_s=20)
        except ToolFailed:
            whole.failed += 1
        times.append((time.monotonic() - began) * 1_000)

    async def worker(number: int) -> None:
        for turn in range(1_000_000):
            if time.monotonic() >= end:
                return
            key = f"{name}-{number}-{turn}"
            if turn % _EVERY_WRITE == 0:
                await _write(mesh, key, whole)
                continue
            await read("web", key, taken)
            if beside:
                await read("control", key, controls)

    async with asyncio.TaskGroup() as group:
        for number in range(WORKERS):
            group.create_task(worker(number))
    return taken, controls


async def _write(mesh: ToolMesh, key: str, whole: Load) -> None:
    try:
        await mesh.call("web__write", {"text": key}, scope="bench", idempotency_key=key, deadline_s=5)
        whole.writes_done.add(key)
    except ToolFailed:
        whole.writes_failed.add(key)


def _p99(taken: list[float]) -> float:
    return sorted(taken)[int(len(taken) * 0.99)]
