"""MCP over streamable HTTP on the loopback interface, with the SDK's session manager."""

import asyncio
import json
import os
import socket
import stat
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import McpError
from starlette.applications import Starlette
from starlette.routing import Route

from chimera.core.errors import ToolServerDown
from chimera.tools.servers.serving import ToolServer, UnknownToolError

HOST = "127.0.0.1"
PATH = "/mcp"


def serve_http(server: ToolServer, port: int) -> None:
    """Serve on 127.0.0.1 until the process is ended, or until stdin closes where that is a pipe from a parent.

    One JSON line on stderr tells the port, which the system chooses when ``port`` is 0.

    Raises:
        ToolServerDown: the port is taken.
    """
    try:
        opened = socket.create_server((HOST, port))
    except OSError as error:
        message = f"port {port} of {HOST} cannot be used: {error.strerror}"
        raise ToolServerDown(message, remedy="Give another port; 0 lets the system choose.") from error
    with opened as listening:
        chosen = listening.getsockname()[1]
        address = {"listening": f"http://{HOST}:{chosen}{PATH}", "port": chosen}
        sys.stderr.write(json.dumps(address) + "\n")
        sys.stderr.flush()
        asyncio.run(_serve(application(server, chosen), listening))


async def _serve(app: Starlette, listening: socket.socket) -> None:
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
    web = uvicorn.Server(config)
    loop = asyncio.get_running_loop()
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        loop.add_reader(0, _watch_parent, web, loop)
    await web.serve(sockets=[listening])


def _watch_parent(web: uvicorn.Server, loop: asyncio.AbstractEventLoop) -> None:
    if not os.read(0, 4_096):
        loop.remove_reader(0)
        web.should_exit = True


def application(server: ToolServer, port: int) -> Starlette:
    """The ASGI application. Only requests that name the loopback host are answered, so that no web page can call it."""
    manager = StreamableHTTPSessionManager(
        _sdk_server(server),
        json_response=True,
        stateless=True,
        security_settings=TransportSecuritySettings(
            enable_dns_rebinding_protection=True,
            allowed_hosts=[f"{HOST}:{port}", f"localhost:{port}"],
            allowed_origins=[f"http://{HOST}:{port}", f"http://localhost:{port}"],
        ),
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with manager.run():
            yield

    return Starlette(routes=[Route(PATH, endpoint=manager.asgi_app)], lifespan=lifespan)


def _sdk_server(server: ToolServer) -> Server[dict[str, Any], Any]:
    sdk: Server[dict[str, Any], Any] = Server(server.name, version=server.version, instructions=server.instructions)

    async def list_tools(_: types.ListToolsRequest) -> types.ServerResult:
        tools = [types.Tool.model_validate(tool) for tool in server.listing()]
        return types.ServerResult(types.ListToolsResult(tools=tools))

    async def call_tool(request: types.CallToolRequest) -> types.ServerResult:
        meta = request.params.meta.model_dump() if request.params.meta else {}
        try:
            result = await asyncio.to_thread(server.call, request.params.name, request.params.arguments, meta)
        except UnknownToolError as error:
            message = f"Unknown tool: {request.params.name[:80]}"
            raise McpError(types.ErrorData(code=types.INVALID_PARAMS, message=message)) from error
        return types.ServerResult(types.CallToolResult.model_validate(result))

    sdk.request_handlers[types.ListToolsRequest] = list_tools
    sdk.request_handlers[types.CallToolRequest] = call_tool
    return sdk
