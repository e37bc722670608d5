"""``chimera bench transport``: what a model call over HTTP costs this process, with our transport and without."""

import asyncio
import time
from typing import Any

from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from chimera.bench.provider import simulated_provider
from chimera.core.clock import SystemClock
from chimera.core.figures import Goal, Measured, machine, report
from chimera.core.ids import random_ids
from chimera.core.spotlight import Marks
from chimera.models.transport import pooled_client

GOALS: dict[str, Goal] = {"transport_speedup": (">=", 2.0), "failed_calls": ("==", 0)}
AT_ONCE = 200
LATENCY_S = 0.2
_PROMPT = "Say in one sentence what the figures of this week mean. " * 27
_VERSIONS = ("chimera-swarm", "langchain-openai", "openai", "httpx", "httpx-aiohttp", "aiohttp")


def main_transport(*, quick: bool, as_json: bool) -> int:
    """Measure and report; the exit code is 0 when every goal holds, else 1."""
    return report(asyncio.run(measure_transport(quick=quick)), as_json=as_json)


async def measure_transport(*, quick: bool) -> Measured:
    """CPU milliseconds of this process for each call through LangChain's client, ``AT_ONCE`` of them at a time."""
    began, at = time.monotonic(), SystemClock().now().isoformat(timespec="seconds")
    calls = 600 if quick else 4_000
    async with simulated_provider(str(LATENCY_S)) as provider:
        plain, failed_plain = await _measure(provider.url, calls, {})
        client = pooled_client()
        try:
            ours, failed_ours = await _measure(provider.url, calls, {"http_async_client": client})
        finally:
            await client.aclose()
    conditions = {
        "at": at,
        "seconds": round(time.monotonic() - began, 1),
        "quick": quick,
        **machine(_VERSIONS),
        "calls": calls,
        "at_once": AT_ONCE,
        "prompt_bytes": len(_PROMPT),
        "simulated": [f"the provider, on loopback, answers after {LATENCY_S} s; its cost is not counted"],
        "peer": "the transport of the OpenAI SDK as it is, in the same run",
    }
    figures = {
        "http_call_ms": round(ours * 1_000, 3),
        "http_call_ms_stock": round(plain * 1_000, 3),
        "transport_speedup": round(plain / ours, 2),
        "failed_calls": failed_plain + failed_ours,
    }
    return Measured("transport", conditions, figures, GOALS)


async def _measure(url: str, calls: int, options: dict[str, Any]) -> tuple[float, int]:
    """CPU seconds of one call, and how many failed."""
    model = ChatOpenAI(model="simulated", base_url=url, api_key=SecretStr("none"), max_retries=0, timeout=60, **options)
    turn, asked = asyncio.Semaphore(AT_ONCE), Marks.made(random_ids()).request(_PROMPT, {}, {})

    async def call() -> None:
        async with turn:
            await model.ainvoke(asked)

    await asyncio.gather(*(call() for _ in range(AT_ONCE)))
    began = time.process_time()
    done = await asyncio.gather(*(call() for _ in range(calls)), return_exceptions=True)
    return (time.process_time() - began) / calls, sum(isinstance(one, BaseException) for one in done)
