"""An OpenAI-compatible server on loopback, as a process of its own, so that its cost is apart: a simulator.

Run as ``python -m chimera.bench.provider LATENCY_S``; it prints its port, and answers every request after that time.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

from aiohttp import web

ANSWER = "The figures of this week are within what was planned. " * 12
_START_S = 30.0


@asynccontextmanager
async def simulated_provider(latency_s: float) -> AsyncGenerator[str]:
    """The base URL of such a server, as long as the block lasts."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "chimera.bench.provider", str(latency_s), stdout=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_START_S):
            port = int(await cast("asyncio.StreamReader", process.stdout).readline())
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        await process.wait()


async def _serve(latency_s: float) -> None:
    async def complete(request: web.Request) -> web.Response:
        asked = await request.json()
        await asyncio.sleep(latency_s)
        message = {"role": "assistant", "content": ANSWER}
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": asked["model"],
                "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
                "usage": {"prompt_tokens": 400, "completion_tokens": 150, "total_tokens": 550},
            }
        )

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4_096)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
