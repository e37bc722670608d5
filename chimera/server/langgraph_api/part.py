"""The LangGraph server's calls as a part of the ASGI application."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from chimera.app import App
from chimera.core.errors import InputError
from chimera.server.callers import Caller
from chimera.server.desk import Desk
from chimera.server.keeper import Keeper
from chimera.server.langgraph_api import assistants
from chimera.server.langgraph_api.answering import Parts, Work, answering, as_events, as_one, not_carried, steps
from chimera.server.langgraph_api.asked import (
    FORMAT,
    MODES,
    AssistantsAsked,
    Format,
    HistoryAsked,
    RunAsked,
    SearchAsked,
    ThreadAsked,
    format_of,
    read,
)
from chimera.server.langgraph_api.door import ApiKey
from chimera.server.langgraph_api.runs import Runs
from chimera.server.langgraph_api.threads import Threads, graph_of
from chimera.server.langgraph_api.views import run_of
from chimera.server.langgraph_api.waiting import Begun, Waiting
from chimera.server.parts import Door, Part
from chimera.store.values import as_stored, is_uuid

OK = "/ok"
_ROOMS = ("assistants", "threads", "runs", "store")
_NO_STORE = {"Cache-Control": "no-store"}


def langgraph_part(app: App, desk: Desk, keeper: Keeper, door: Door, origins: Sequence[str]) -> Part:
    """The part. ``origins``: of the web pages that may call it from a browser."""
    threads = Threads(app, desk)
    served = ApiKey(
        door(Starlette(routes=_Calls(threads, Runs(app, desk, threads), Waiting(app, keeper), app).routes()))
    )
    headers = ["x-api-key", "authorization", "content-type", "last-event-id"]
    open_to = CORSMiddleware(
        served,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=headers,
        expose_headers=["content-location"],
    )

    async def ok(_: Request) -> Response:
        return JSONResponse({"ok": True})

    @asynccontextmanager
    async def opened() -> AsyncGenerator[None]:
        yield

    paths = ["/info", *(path for room in _ROOMS for path in (f"/{room}", f"/{room}/{{rest:path}}"))]
    return Part("langgraph", [Route(OK, ok, methods=["GET"]), *(Route(path, open_to) for path in paths)], opened)


class _Calls:
    """What is answered."""

    def __init__(self, threads: Threads, runs: Runs, waiting: Waiting, app: App) -> None:
        self._threads = threads
        self._runs = runs
        self._waiting = waiting
        self._app = app

    def routes(self) -> list[Route]:
        """Every call that is carried, and one answer to all others."""
        thread, run = "/threads/{thread}", "/threads/{thread}/runs/{run}"
        calls: list[tuple[str, str, Work]] = [
            ("GET", "/info", self._info),
            ("POST", "/assistants/search", self._assistants),
            ("GET", "/assistants/{assistant}", self._assistant),
            ("GET", "/assistants/{assistant}/schemas", self._schemas),
            ("POST", "/threads", self._create_thread),
            ("POST", "/threads/search", self._search),
            ("GET", thread, self._thread),
            ("GET", f"{thread}/state", self._state),
            ("POST", f"{thread}/state", self._write),
            ("POST", f"{thread}/state/checkpoint", self._state),
            ("POST", f"{thread}/history", self._history),
            ("GET", f"{thread}/runs", self._list_runs),
            ("GET", run, self._run),
            ("POST", f"{run}/cancel", self._cancel),
            ("GET", f"{run}/join", self._join),
            ("GET", f"{run}/stream", self._join),
        ]
        for path in ("", thread):
            calls += [("POST", f"{path}/runs{end}", self._begin) for end in ("", "/wait", "/stream")]
        routes = [Route(path, answering(work), methods=[method]) for method, path, work in calls]
        every = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        return [*routes, Route("/{rest:path}", answering(self._other), methods=every)]

    async def _other(self, request: Request, _: Caller) -> Response:
        return not_carried(f"{request.method} of this path is no call of this server")

    # --- assistants --------------------------------------------------------------------------------------------------

    async def _info(self, _: Request, __: Caller) -> Response:
        return JSONResponse(assistants.info())

    async def _assistants(self, request: Request, _: Caller) -> Response:
        return JSONResponse(assistants.search(await read(request, AssistantsAsked)))

    async def _assistant(self, request: Request, _: Caller) -> Response:
        return JSONResponse(assistants.assistant(graph_of(request.path_params["assistant"])))

    async def _schemas(self, request: Request, _: Caller) -> Response:
        return JSONResponse(assistants.schemas(graph_of(request.path_params["assistant"])))

    # --- threads -----------------------------------------------------------------------------------------------------

    async def _create_thread(self, request: Request, _: Caller) -> Response:
        asked = await read(request, ThreadAsked)
        thread_id = asked.thread_id or self._app.context.new_id()
        if not is_uuid(thread_id):
            raise InputError("the id of a thread is a UUID")
        now = self._app.context.clock.now().isoformat()
        times = {"created_at": now, "updated_at": now, "state_updated_at": now}
        empty = {
            "metadata": as_stored(asked.metadata or {}),
            "status": "idle",
            "config": {},
            "values": None,
            "interrupts": {},
        }
        return JSONResponse({"thread_id": thread_id, **times, **empty})

    async def _search(self, request: Request, caller: Caller) -> Response:
        return JSONResponse(await self._threads.search(caller, await read(request, SearchAsked)), headers=_NO_STORE)

    async def _thread(self, request: Request, caller: Caller) -> Response:
        place = await self._threads.find(caller, request.path_params["thread"], self._form(request))
        return JSONResponse(place.thread, headers=_NO_STORE)

    async def _state(self, request: Request, caller: Caller) -> Response:
        place = await self._threads.find(caller, request.path_params["thread"], self._form(request))
        return JSONResponse(await self._threads.state(caller, place), headers=_NO_STORE)

    async def _history(self, request: Request, caller: Caller) -> Response:
        asked = await read(request, HistoryAsked)
        place = await self._threads.find(caller, request.path_params["thread"], self._form(request))
        states = [] if asked.before is not None else [await self._threads.state(caller, place)]
        return JSONResponse(states, headers=_NO_STORE)

    async def _write(self, request: Request, caller: Caller) -> Response:
        await self._threads.find(caller, request.path_params["thread"], self._form(request))
        raise InputError(
            "no state can be written, and no question be closed without an answer",
            remedy="Accept, edit or respond; a mission is stopped by cancelling its run.",
        )

    # --- runs --------------------------------------------------------------------------------------------------------

    async def _begin(self, request: Request, caller: Caller) -> Response:
        asked, form = await read(request, RunAsked), self._form(request)
        begun = self._runs.begun(caller, asked, request.path_params.get("thread"), form)
        last = request.url.path.rsplit("/", 1)[1]
        if last in ("wait", "stream"):
            return await self._streamed(caller, begun, asked.stream_mode, form, whole=last == "wait")
        async with begun as made:
            place = await self._threads.find(caller, made.thread_id, form)
            run = run_of(place.thread, made.run_id, **made.said)
            return JSONResponse(run, headers=_location(made))

    async def _join(self, request: Request, caller: Caller) -> Response:
        thread, run = request.path_params["thread"], request.path_params["run"]
        modes = [mode for mode in request.query_params.getlist("stream_mode") if mode in MODES] or ["values"]
        form, whole = self._form(request), request.url.path.endswith("/join")
        return await self._streamed(caller, self._runs.joined(caller, thread, run, form), modes, form, whole=whole)

    async def _streamed(
        self,
        caller: Caller,
        begun: AbstractAsyncContextManager[Begun],
        modes: list[str],
        form: Format,
        *,
        whole: bool,
    ) -> Response:
        """The news of a run, or its last values alone. What is refused is refused before the stream begins."""
        async with AsyncExitStack() as stack:
            made = await stack.enter_async_context(begun)
            parts = self._parts(caller, made, ["values"] if whole else modes, form, stack.pop_all())
        body = as_one(parts) if whole else as_events(parts)
        kind = "application/json" if whole else "text/event-stream"
        return StreamingResponse(body, headers={**_location(made), **_NO_STORE}, media_type=kind)

    async def _parts(self, caller: Caller, made: Begun, modes: list[str], form: Format, stack: AsyncExitStack) -> Parts:
        async with stack:
            yield "metadata", {"run_id": made.run_id, "thread_id": made.thread_id, "attempt": 1}
            async for event in self._waiting.parts(made):
                for part in steps(event, modes, made.run_id) if event is not None else (None,):
                    yield part
            values, asked = await self._runs.outcome(caller, made.thread_id, form)
            shown: dict[str, Any] = {"__interrupt__": asked} if asked else {}
            if shown and "updates" in modes:
                yield "updates", shown
            if "values" in modes:
                yield "values", {**values, **shown}

    async def _list_runs(self, request: Request, caller: Caller) -> Response:
        found = await self._runs.listed(caller, request.path_params["thread"], self._form(request))
        limit, offset = (_number(request, name, start) for name, start in (("limit", 10), ("offset", 0)))
        return JSONResponse(found[offset : offset + limit], headers=_NO_STORE)

    async def _run(self, request: Request, caller: Caller) -> Response:
        named = request.path_params
        return JSONResponse(await self._runs.one(caller, named["thread"], named["run"], self._form(request)))

    async def _cancel(self, request: Request, caller: Caller) -> Response:
        if request.query_params.get("action", "interrupt") != "interrupt":
            raise InputError("what a mission did is not rolled back", remedy='Cancel with action="interrupt".')
        named = request.path_params
        await self._runs.cancel(caller, named["thread"], named["run"], self._form(request))
        return JSONResponse({})

    def _form(self, request: Request) -> Format:
        return format_of(request.query_params.get(FORMAT), self._threads.otherwise)


def _location(made: Begun) -> dict[str, str]:
    return {"Content-Location": f"/threads/{made.thread_id}/runs/{made.run_id}"}


def _number(request: Request, name: str, otherwise: int) -> int:
    given = request.query_params.get(name, "")
    return min(int(given), 1_000) if given.isascii() and given.isdigit() and len(given) < 10 else otherwise
