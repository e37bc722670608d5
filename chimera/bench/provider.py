"""An OpenAI-compatible server on loopback, as a process of its own, so that its cost is apart: a simulator.

A module that is run as such a process calls :func:`serve`; this one answers every request alike, after a time.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from aiohttp import web

ANSWER = "The figures of this week are within what was planned. " * 12
_START_S = 30.0
_USAGE = {"prompt_tokens": 400, "completion_tokens": 150, "total_tokens": 550}

Reply = Callable[[Mapping[str, Any]], tuple[float, Mapping[str, Any]]]
"""Of a request the seconds until it is answered, and the message of the answer."""


@dataclass(frozen=True)
class Provider:
    """A running server."""

    url: str
    pid: int

    def cpu_s(self) -> float:
        """CPU seconds that it has used."""
        told = Path(f"/proc/{self.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def simulated_provider(*arguments: str, module: str = __name__) -> AsyncGenerator[Provider]:
    """The server that a module is, as long as the block lasts."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", module, *arguments, stdout=subprocess.PIPE)
    try:
        async with asyncio.timeout(_START_S):
            port = int(await cast("asyncio.StreamReader", process.stdout).readline())
        yield Provider(f"http://127.0.0.1:{port}/v1", process.pid)
    finally:
        process.kill()
        await process.wait()


async def serve(reply: Reply, usage: Mapping[str, int]) -> None:
    """Serve until the process is killed; the first line of standard output is the port."""

    async def complete(request: web.Request) -> web.Response:
        asked = await request.json()
        latency, message = reply(asked)
        await asyncio.sleep(latency)
        called = "tool_calls" in message
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": asked["model"],
                "choices": [{"index": 0, "finish_reason": "tool_calls" if called else "stop", "message": message}],
                "usage": usage,
            }
        )

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=16_384)
    await site.start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    after_s = float(sys.argv[1])
    asyncio.run(serve(lambda _: (after_s, {"role": "assistant", "content": ANSWER}), _USAGE))
