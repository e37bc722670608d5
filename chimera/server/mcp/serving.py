"""The MCP server on the SDK: one server for each process, whatever the transport."""

import asyncio
import contextlib
import logging
from importlib import metadata
from typing import Any

import anyio
from mcp import types
from mcp.server.lowlevel import Server
from mcp.shared.context import RequestContext
from mcp.shared.exceptions import McpError

from chimera.core.errors import ChimeraError
from chimera.server.bearer import KnownUser
from chimera.server.callers import Caller
from chimera.server.desk import Desk, Tell
from chimera.server.mcp.tools import INSTRUCTIONS, OFFERED, Call, UnknownTool, call_tool

_LOG = logging.getLogger(__name__)
WITHDRAW_S = 15.0
NAME = "chimera"
Sdk = Server[dict[str, Any], Any]


def sdk_server(desk: Desk, local: Caller | None = None) -> Sdk:
    """The server. ``local`` calls when no request says who does, as on stdio; without one, every request has to."""
    sdk: Sdk = Server(NAME, version=_version(), instructions=INSTRUCTIONS)

    async def list_tools(_: types.ListToolsRequest) -> types.ServerResult:
        return types.ServerResult(types.ListToolsResult(tools=[one.listing(name) for name, one in OFFERED.items()]))

    async def call(request: types.CallToolRequest) -> types.ServerResult:
        asked, context = request.params, sdk.request_context
        caller = _caller(context, local)
        way = "mcp over stdio" if local is not None else "mcp over http"
        made = Call(caller, way, {}, _tell(context))
        try:
            return types.ServerResult(await call_tool(desk, asked.name, asked.arguments, made))
        except UnknownTool:
            message = f"Unknown tool: {asked.name[:80]}"
            raise McpError(types.ErrorData(code=types.INVALID_PARAMS, message=message)) from None
        except asyncio.CancelledError:
            if asked.name == "run_mission" and _was_taken_back(context) and "mission_id" in made.about:
                await _withdraw(desk, str(made.about["mission_id"]))
            raise

    sdk.request_handlers[types.ListToolsRequest] = list_tools
    sdk.request_handlers[types.CallToolRequest] = call
    return sdk


def _caller(context: RequestContext[Any, Any, Any], local: Caller | None) -> Caller:
    """Who makes the call: whose key came with this very request.

    Raises:
        McpError: nobody.
    """
    user: object = context.request.scope.get("user") if context.request is not None else None
    if isinstance(user, KnownUser):
        return user.caller
    if local is None or context.request is not None:
        raise McpError(types.ErrorData(code=types.INVALID_REQUEST, message="nobody is known to make this call"))
    return local


def _tell(context: RequestContext[Any, Any, Any]) -> Tell | None:
    """How the client is told of progress, if it asked to be."""
    token = context.meta.progressToken if context.meta is not None else None
    if token is None:
        return None

    async def tell(steps: int, words: str) -> None:
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # the client has gone
            await context.session.send_progress_notification(
                token, steps, message=words, related_request_id=str(context.request_id)
            )

    return tell


def _was_taken_back(context: RequestContext[Any, Any, Any]) -> bool:
    """Whether the client took the request back; a connection that ends takes nothing back."""
    under_way = context.session._in_flight  # what the SDK says nowhere else
    responder = under_way.get(context.request_id)
    return responder is not None and responder.cancelled


async def _withdraw(desk: Desk, mission_id: str) -> None:
    with anyio.move_on_after(WITHDRAW_S, shield=True):
        try:
            await desk.withdraw(mission_id)
        except ChimeraError as error:
            _LOG.warning("mission %s could not be stopped: %s", mission_id, error)


def _version() -> str:
    try:
        return metadata.version("chimera-swarm")
    except metadata.PackageNotFoundError:
        return "0"
