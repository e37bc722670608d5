"""What a call costs through the mesh, next to a bare MCP session and to the adapters' client as it comes."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.sessions import Connection

from chimera.bench.mesh.servers import children_mb, local, memory_mb, remote
from chimera.core.settings import Settings
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.servers import ServerSpec

Call = Callable[[int], Awaitable[Any]]
AT_ONCE = 8
TOOL = "echo"
"""It does no work, so that nothing hides what a call costs."""
_ARGUMENTS = {"text": "x" * 256}
_WARM_UP = 20
_ROUNDS = 2
"""The mesh and the plain client take turns in these, so that a busy machine slows both."""


async def call_figures(folder: Path, *, quick: bool) -> dict[str, float]:
    """Overhead over a bare session at p50; calls a second of the mesh over those of a session per call."""
    settings, effects = Settings(home=folder), folder / "effects"
    async with remote(effects) as server:
        web = ServerSpec(name="web", transport="http", url=server.urls[0])
        bare: Connection = {"transport": "streamable_http", "url": server.urls[0]}
        http = await _compare(web, bare, settings, alone=150 if quick else 2_000, plain=20 if quick else 200)
    piped = local("piped", effects)
    started: Connection = {"transport": "stdio", "command": piped.command, "args": piped.args}
    stdio = await _compare(piped, started, settings, alone=150 if quick else 2_000, plain=4 if quick else 16)
    return {
        "call_overhead": round(max(http["overhead"], stdio["overhead"]), 3),
        "http_speedup": round(http["speedup"], 1),
        "stdio_speedup": round(stdio["speedup"], 1),
        "http_call_p50_ms": round(http["p50_ms"], 2),
        "http_bare_p50_ms": round(http["bare_p50_ms"], 2),
        "stdio_call_p50_ms": round(stdio["p50_ms"], 2),
        "stdio_bare_p50_ms": round(stdio["bare_p50_ms"], 2),
        "http_calls_per_s": round(http["per_s"], 1),
        "stdio_calls_per_s": round(stdio["per_s"], 1),
    }


async def _compare(
    spec: ServerSpec, connection: Connection, settings: Settings, *, alone: int, plain: int
) -> dict[str, float]:
    """The three ways to one server. Single calls of the first two alternate, and so does which of them is first, so
    that a busy machine and what the call before leaves behind slow both.
    """
    client = MultiServerMCPClient({spec.name: connection})
    async with ToolMesh([spec], settings) as mesh, client.session(spec.name) as session:
        await mesh.capabilities()

        async def ours(number: int) -> None:
            await mesh.call(f"{spec.name}__{TOOL}", _ARGUMENTS, scope="bench", idempotency_key=str(number))

        async def bare(number: int) -> None:
            await session.call_tool(TOOL, _ARGUMENTS)

        for number in range(_WARM_UP):
            await ours(number)
            await bare(number)
        times: dict[str, list[float]] = {"ours": [], "bare": []}
        for number in range(alone):
            pair = (("ours", ours), ("bare", bare))
            for name, call in pair if number % 2 else reversed(pair):
                began = time.perf_counter()
                await call(number)
                times[name].append(time.perf_counter() - began)
        tool = {tool.name: tool for tool in await client.get_tools()}[TOOL]

        async def stock(number: int) -> None:
            await tool.ainvoke(_ARGUMENTS)

        ours_s = stock_s = 0.0
        for _ in range(_ROUNDS):
            ours_s += await _seconds(ours, alone // _ROUNDS)
            stock_s += await _seconds(stock, plain // _ROUNDS)
    p50, bare_p50 = (statistics.median(times[name]) for name in ("ours", "bare"))
    return {
        "overhead": p50 / bare_p50 - 1,
        "p50_ms": p50 * 1_000,
        "bare_p50_ms": bare_p50 * 1_000,
        "per_s": alone / ours_s,
        "speedup": (alone / ours_s) / (plain / stock_s),
    }


async def _seconds(call: Call, count: int) -> float:
    """How long so many calls take, ``AT_ONCE`` at once."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with turn:
            await call(number)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(one(number))
    return time.perf_counter() - began


async def scale_figures(folder: Path, *, quick: bool) -> dict[str, float]:
    """Many servers connected at once from one process: its memory, theirs, and the time until all told their tools."""
    http, stdio = (12, 2) if quick else (200, 50)
    settings, effects = Settings(home=folder), folder / "effects"
    settings = settings.model_copy(update={"tool_start_timeout_s": 120.0})
    before = memory_mb()
    async with remote(effects, http) as server:
        beside = children_mb()
        specs = [ServerSpec(name=f"web-{n}", transport="http", url=url) for n, url in enumerate(server.urls)]
        specs += [local(f"piped-{n}", effects) for n in range(stdio)]
        async with ToolMesh(specs, settings) as mesh:
            began = time.perf_counter()
            tools = await mesh.capabilities()
            took = time.perf_counter() - began
            up = sum(one.state == "up" for one in mesh.status())
            async with asyncio.TaskGroup() as group:
                for spec in specs:
                    group.create_task(
                        mesh.call(f"{spec.name}__{TOOL}", _ARGUMENTS, scope="bench", idempotency_key="once")
                    )
            after, servers = memory_mb(), children_mb()
    return {
        "connected_http": http,
        "connected_stdio": stdio,
        "connected": up,
        "connect_s": round(took, 2),
        "connected_mb": round(after - before, 1),
        "mb_per_stdio_server": round((servers - beside) / stdio, 1),
        "tools_listed": len(tools),
    }
