"""A real MCP server on the official SDK with moods: the other side of ``chimera bench mesh``. Simulates no vendor.

``python -m chimera.bench.mesh.server http EFFECTS`` serves streamable HTTP on a free port of loopback and prints it;
``stdio`` serves its input and output. Tools: ``echo`` answers at once, ``read`` works a little, and both only read;
``write`` appends its idempotency key to the file EFFECTS. Over HTTP, ``PUT /mood/NAME`` sets how requests are treated
from then on.
"""

import asyncio
import contextlib
import random
import socket
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from mcp import types
from mcp.server.lowlevel import Server

WORK_S = 0.005
"""How long a tool works."""
MOODS = ("well", "slow", "flaky", "garbage", "hanging")
_SLOW_S = 50 * WORK_S
_FLAKY_SHARE = 0.3
_READS = types.ToolAnnotations(readOnlyHint=True)
TOOLS = {"echo": _READS, "read": _READS, "write": types.ToolAnnotations(destructiveHint=True)}


def tool_server(effects: Path) -> Server[Any]:
    """The server with its two tools."""
    server: Server[Any] = Server("bench", version="1.0")

    @server.list_tools()
    async def list_tools() -> list[types.Tool]:
        schema = {"type": "object", "properties": {"text": {"type": "string"}}}
        return [types.Tool(name=name, inputSchema=schema, annotations=hints) for name, hints in TOOLS.items()]

    @server.call_tool()
    async def call_tool(name: str, arguments: dict[str, Any]) -> list[types.TextContent]:
        await asyncio.sleep(0 if name == "echo" else WORK_S)
        if name == "write":
            meta = server.request_context.meta
            key = (meta.model_dump() if meta else {}).get("chimera/idempotency-key", "none")
            with effects.open("a", encoding="utf-8") as file:
                file.write(f"{key}\n")
        return [types.TextContent(type="text", text=str(arguments.get("text", "")))]

    return server


class Moody:
    """An ASGI application that treats requests as its mood says before the real one sees them."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._mood = "well"
        self._random = random.Random(7)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        path: str = scope.get("path", "")
        mood = self._mood if scope["type"] == "http" and scope["method"] == "POST" else "well"
        if path.startswith("/mood/"):
            self._mood = path.removeprefix("/mood/")
            await _reply(send, 200, b"{}")
        elif mood == "flaky" and self._random.random() < _FLAKY_SHARE:
            await _reply(send, 500, b"{}")
        elif mood == "garbage":
            await _reply(send, 200, b"\xff{not json")
        elif mood == "hanging":
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(_SLOW_S if mood == "slow" else 0)
            await self._app(scope, receive, send)


async def _reply(send: Any, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def over_http(effects: Path, ports: int) -> None:
    """Serve ``ports`` endpoints until the process is killed; the first line of output has their port numbers."""
    async with asyncio.TaskGroup() as group:
        listening = [_listening() for _ in range(ports)]
        for one in listening:
            group.create_task(_serve(tool_server(effects), one))
        sys.stdout.write(" ".join(str(one.getsockname()[1]) for one in listening) + "\n")
        sys.stdout.flush()


def _listening() -> socket.socket:
    """A free port of loopback. Connections of such a socket inherit that answers are not held back for an ACK.

    asyncio switches that on by itself, but not for a socket that was made elsewhere.
    """
    made = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


async def _serve(server: Server[Any], listening: socket.socket) -> None:
    import uvicorn
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from starlette.applications import Starlette
    from starlette.routing import Mount

    manager = StreamableHTTPSessionManager(server, json_response=True)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with manager.run():
            yield

    app = Moody(Starlette(routes=[Mount("/mcp", manager.handle_request)], lifespan=lifespan))
    await uvicorn.Server(uvicorn.Config(app, log_level="error")).serve(sockets=[listening])


async def over_stdio(effects: Path) -> None:
    """Serve this process's input and output."""
    from mcp.server.stdio import stdio_server

    server = tool_server(effects)
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    if sys.argv[1] == "http":
        asyncio.run(over_http(Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1))
    else:
        asyncio.run(over_stdio(Path(sys.argv[2])))
