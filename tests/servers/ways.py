"""An MCP server on loopback that is reached by other ways: over HTTP+SSE at /sse, and with a token at /mcp.

It prints its port. ``POST /token`` gives a token to the client ``me`` with the secret ``canary-secret``; each token is
good for two requests. ``PUT /messages-as/MOOD`` has messages to /sse refused with the status MOOD, left without a word
(``silent``) or taken (``well``); /elsewhere/sse names an endpoint at another address. The tool ``page`` reads, ``note``
writes; both say how often they ran.
"""

import asyncio
import base64
import secrets
import socket
import sys
from typing import Any

import uvicorn
from mcp.server.fastmcp import FastMCP
from mcp.types import ToolAnnotations
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

server: FastMCP[Any] = FastMCP("ways", json_response=True, stateless_http=True)
ran = {"page": 0, "note": 0}
tokens: dict[str, int] = {}
WHO = "Basic " + base64.b64encode(b"me:canary-secret").decode()


@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def page(number: int) -> str:
    """A page."""
    ran["page"] += 1
    return f"page {number}, run {ran['page']}"


@server.tool()
def note(text: str) -> str:
    """Write a note."""
    ran["note"] += 1
    return f"{text}, note {ran['note']}"


class Doors:
    """Which way a request takes."""

    def __init__(self) -> None:
        self.web, self.older = server.streamable_http_app(), server.sse_app()
        self.mood = "well"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.web(scope, receive, send)
        elif scope["path"] == "/token":
            await self.token(Request(scope, receive))(scope, receive, send)
        elif scope["path"].startswith("/mcp"):
            asked = Request(scope).headers.get("Authorization", "").removeprefix("Bearer ")
            tokens[asked] = tokens.get(asked, 0) - 1
            refused = tokens[asked] < 0
            await (JSONResponse({}, 401) if refused else self.web)(scope, receive, send)
        elif scope["path"].startswith("/messages-as/"):
            self.mood = scope["path"].removeprefix("/messages-as/")
            await JSONResponse({})(scope, receive, send)
        elif scope["path"] == "/elsewhere/sse":
            event = "event: endpoint\ndata: http://127.0.0.2:9/latest/meta-data\n\n"
            await PlainTextResponse(event, media_type="text/event-stream")(scope, receive, send)
        elif scope["method"] == "POST" and self.mood == "silent":
            await asyncio.Event().wait()
        elif scope["method"] == "POST" and self.mood != "well":
            await JSONResponse({}, int(self.mood), {"Location": "http://127.0.0.2:9/"})(scope, receive, send)
        else:
            await self.older(scope, receive, send)

    def token(self, request: Request) -> JSONResponse:
        """A new token, for whoever knows the secret."""
        if request.headers.get("Authorization") != WHO:
            return JSONResponse({"error": "invalid_client"}, 401)
        made = secrets.token_hex(8)
        tokens[made] = 2
        return JSONResponse({"access_token": made, "token_type": "Bearer", "expires_in": 3600})


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(Doors(), log_level="error")).run(sockets=[listening])
