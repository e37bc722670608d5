"""Answers as the SDK of LangGraph reads them: JSON, errors with a status, and streams of events."""

import json
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from chimera.core.contracts import Event
from chimera.core.errors import (
    CallerBusy,
    ChimeraError,
    ConflictError,
    GuardRejected,
    InputError,
    MissionBusy,
    MissionNotFound,
    StoreError,
)
from chimera.server.callers import Caller

_LOG = logging.getLogger(__name__)
_STATUS: tuple[tuple[type[ChimeraError], int], ...] = (
    (MissionNotFound, 404),
    (GuardRejected, 403),
    (ConflictError, 409),
    (MissionBusy, 409),
    (InputError, 422),
    (CallerBusy, 429),
    (StoreError, 503),
)
Work = Callable[[Request, Caller], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]
Parts = AsyncGenerator[tuple[str, Any] | None]
"""Events of a stream: a name and data; None: nothing yet, but the connection is to stay."""


def answering(work: Work) -> Endpoint:
    """An endpoint for whom the door let in; what goes wrong is told with its status, and never with a traceback."""

    async def endpoint(request: Request) -> Response:
        try:
            return await work(request, request.user.caller)
        except ChimeraError as error:
            return failed(error)
        except Exception as error:  # noqa: BLE001 - the edge: what it says may quote rows or keys
            _LOG.warning("%s failed: %s", request.url.path, type(error).__name__, exc_info=error)
            return failed(ChimeraError(f"unexpected {type(error).__name__}"))

    return endpoint


def failed(error: ChimeraError) -> Response:
    """An error as an answer."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    wait = (
        {"Retry-After": str(max(1, math.ceil(float(error.context.get("wait_s", 1)))))} if status in (429, 503) else {}
    )
    return JSONResponse(_told(error), status, wait)


def not_carried(what: str) -> Response:
    """The answer to a call that this server does not have."""
    return JSONResponse({"detail": f"{what} | docs/inbox.md says what is carried."}, 501)


async def as_events(parts: Parts) -> AsyncGenerator[str]:
    """Parts as server-sent events; an error is the last one."""
    async with aclosing(parts):
        try:
            async for part in parts:
                yield _event(*part) if part is not None else ": nothing yet\r\n\r\n"
        except ChimeraError as error:
            yield _event("error", {"error": error.code, "message": f"{error.message} | {error.hint}"})


async def as_one(parts: Parts) -> AsyncGenerator[str]:
    """The last values of a stream as one JSON body, which may take long: white space keeps the connection open."""
    last: object = None
    async with aclosing(parts):
        try:
            async for part in parts:
                if part is None:
                    yield "\n"
                elif part[0] == "values":
                    last = part[1]
        except ChimeraError as error:
            last = {"__error__": {"error": error.code, "message": f"{error.message} | {error.hint}"}}
    yield json.dumps(last)


def steps(event: Event, modes: list[str], run_id: str) -> list[tuple[str, Any]]:
    """A step of a mission in the modes that a client wants, without a word that a model or a tool has chosen."""
    task = event.data.get("task")
    named = {"task": task} if isinstance(task, str) and task.startswith("t") and task[1:].isdigit() else {}
    about = {"event": "on_chain_start", "name": event.kind, "run_id": run_id, "tags": [], "data": named}
    told = {"updates": {event.kind: named}, "events": {**about, "metadata": {"langgraph_node": event.kind}}}
    return [(mode, told[mode]) for mode in modes if mode in told]


def _event(name: str, data: Any) -> str:
    return f"event: {name}\r\ndata: {json.dumps(data)}\r\n\r\n"


def _told(error: ChimeraError) -> dict[str, Any]:
    return {"detail": f"{error.message} | {error.hint}", "code": error.code}
