"""An honest MCP server on the official SDK: ``sdk.py`` speaks stdio, ``sdk.py PORT`` streamable HTTP on loopback.

Over HTTP it prints the port it listens on (PORT 0 takes a free one). Its tools show what reached it.
"""

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncGenerator
from typing import Any

import anyio
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

server: Server[Any] = Server("sdk", version="2.0")
hung = {"started": 0, "cancelled": 0}
READ = types.ToolAnnotations(readOnlyHint=True)
TOOLS = {"echo": READ, "meta": READ, "hang": READ, "hung": READ}


@server.list_tools()
async def list_tools() -> list[types.Tool]:
    """The tools."""
    return [types.Tool(name=name, inputSchema={"type": "object"}, annotations=hints) for name, hints in TOOLS.items()]


@server.call_tool()
async def call_tool(name: str, arguments: dict[str, Any]) -> list[types.TextContent]:
    """Do what the tool's name says."""
    match name:
        case "echo":
            said = arguments["text"]
        case "meta":
            meta = server.request_context.meta
            said = json.dumps({"arguments": arguments, "meta": meta.model_dump(exclude_none=True) if meta else {}})
        case "hang":
            said = ""
            hung["started"] += 1
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                hung["cancelled"] += 1
                raise
        case _:
            said = json.dumps(hung)
    return [types.TextContent(type="text", text=said)]


async def over_stdio() -> None:
    """Serve this process's input and output."""
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


async def over_http(port: int) -> None:
    """Serve http://127.0.0.1:PORT/mcp; answers are event streams, sessions are stateful."""
    import uvicorn
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from starlette.applications import Starlette
    from starlette.routing import Mount

    manager = StreamableHTTPSessionManager(server)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with manager.run():
            yield

    listening = socket.create_server(("127.0.0.1", port))
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    app = Starlette(routes=[Mount("/mcp", manager.handle_request)], lifespan=lifespan)
    await uvicorn.Server(uvicorn.Config(app, log_level="error")).serve(sockets=[listening])


if __name__ == "__main__":
    asyncio.run(over_http(int(sys.argv[1])) if len(sys.argv) > 1 else over_stdio())
