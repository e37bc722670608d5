"""MCP as a part of the ASGI application, at /mcp."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from mcp import types
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chimera.server.mcp.serving import Sdk
from chimera.server.parts import Door, Part

PATH = "/mcp"
SESSION_IDLE_S = 300.0
SESSIONS = 10_000
DEPTH_MAX = 200
"""A body with more brackets than this is looked at before the SDK reads it."""


class _ClientsLeave(logging.Filter):
    """Drops what the SDK logs as an error when a client ends its session: the stream of that session breaks off."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is anything else."""
        return "standalone SSE" not in str(record.msg)


logging.getLogger("mcp.server.streamable_http").addFilter(_ClientsLeave())


class Shallow:
    """ASGI middleware: answers a body that is nested so deeply that nobody can read it, before the SDK tries."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 400. The body is bounded by what stands before."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = await Request(scope, receive).body()
        if body.count(b"[") + body.count(b"{") > DEPTH_MAX and not await asyncio.to_thread(_is_readable, body):
            error = {"code": types.PARSE_ERROR, "message": "not JSON, or nested too deeply"}
            await JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, 400)(scope, receive, send)
            return
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        await self._app(scope, replay, send)


def _is_readable(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def mcp_part(sdk: Sdk, door: Door, max_bytes: int) -> Part:
    """Streamable HTTP. A session belongs to the key that opened it; every request in it shows the key again.

    ``door``: what stands before it and says who calls.
    """
    manager = StreamableHTTPSessionManager(
        sdk, session_idle_timeout=SESSION_IDLE_S, max_sessions=SESSIONS, max_request_body_size=max_bytes
    )

    @asynccontextmanager
    async def opened() -> AsyncGenerator[None]:
        async with manager.run():
            yield

    return Part("mcp", [Route(PATH, door(Shallow(manager.asgi_app)))], opened)
