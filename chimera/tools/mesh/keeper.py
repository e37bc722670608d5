"""Keeps one server at hand: starts it at first need, starts it again when it died, and repeats what may be repeated."""

import asyncio
from contextlib import suppress
from typing import Any, Literal

from pydantic import Field

from chimera.core.clock import Clock
from chimera.core.contracts import Contract
from chimera.core.errors import ToolServerDown, ToolTimeout, ToolUnknown
from chimera.core.settings import Settings
from chimera.tools.capability import Capability, ToolResult
from chimera.tools.mesh.results import to_result
from chimera.tools.mesh.servers import ServerSpec
from chimera.tools.mesh.session import Lost, Session
from chimera.tools.mesh.untrusted import one_line

RETRY_START_S = 30.0
ATTEMPTS = 3  # a lost answer, then a dead server, then the server started again


class ServerStatus(Contract):
    """One server, for people to read. ``down`` ones are started again at the next need."""

    name: str
    transport: Literal["stdio", "http"]
    state: Literal["idle", "starting", "up", "down"]
    tools: list[str] = Field(default_factory=list, description="full names")
    dropped: list[str] = Field(default_factory=list, description="tools that cannot be used, each with its reason")
    version: str = Field(default="", description="name and version that the server gave")
    error: str = ""


class Keeper:
    """One server and its current session. At most one session at a time is used."""

    def __init__(self, spec: ServerSpec, settings: Settings, clock: Clock) -> None:
        self._spec = spec
        self._settings = settings
        self._clock = clock
        self._session: Session | None = None
        self._failed_at: float | None = None
        self._living: dict[asyncio.Task[None], Session] = {}
        self._closed = False

    async def try_start(self) -> None:
        """Start the server unless it runs or failed a moment ago; ``status`` tells how it went."""
        until = asyncio.get_running_loop().time() + self._settings.tool_start_timeout_s + 1
        with suppress(ToolServerDown, TimeoutError):
            await self._ready(until)

    async def call(self, name: str, arguments: dict[str, Any], meta: dict[str, str], seconds: float) -> ToolResult:
        """Call a tool by its full name. Raises what ``ToolMesh.call`` says."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        sent = restarted = False
        reason = ""
        for _ in range(ATTEMPTS):
            try:
                session = await self._ready(until)
            except TimeoutError:
                raise self._late(name, f"the server is still starting after {seconds:g} s", sent) from None
            except ToolServerDown as error:
                reason = error.message
                break
            tool = self._tool(session, name)
            try:
                answer = await session.request(tool, arguments, meta, max(0.0, until - loop.time()))
            except TimeoutError:
                raise self._late(name, f"no answer within {seconds:g} s", sent=True) from None
            except Lost as lost:
                reason, sent = lost.reason, sent or lost.sent
                if lost.dead:
                    session.retire(lost.reason)
                if (lost.dead and restarted) or (sent and not (tool.read_only or tool.idempotent)):
                    break
                restarted = restarted or lost.dead
            else:
                return to_result(tool, answer, self._settings.tool_result_max_bytes)
        raise ToolServerDown(
            f"{name}: no answer from the server: {reason}; {_outcome(sent)}", **self._context(name, sent)
        )

    def tools(self) -> list[Capability]:
        """What the running server offers."""
        running = self._session is not None and self._session.ended is None
        return list(self._session.listing.tools.values()) if self._session and running else []

    def status(self) -> ServerStatus:
        """What is known about the server now."""
        session, spec = self._session, self._spec
        if session is None:
            return ServerStatus(name=spec.name, transport=spec.transport, state="idle")
        state = "down" if session.ended is not None else "up" if session.started else "starting"
        return ServerStatus(
            name=spec.name,
            transport=spec.transport,
            state=state,
            tools=sorted(tool.name for tool in self.tools()),
            dropped=[f"{tool}: {why}" for tool, why in sorted(session.listing.dropped.items())],
            version=session.version,
            error=session.ended or "",
        )

    def close(self) -> set[asyncio.Task[None]]:
        """End the server for good; the tasks are done when its processes are gone."""
        self._closed = True
        for session in self._living.values():
            session.stop()
        return set(self._living)

    async def _ready(self, until: float) -> Session:
        """The running session, started if need be.

        Raises:
            ToolServerDown: it cannot be started, or could not a moment ago.
            TimeoutError: it still starts at ``until``, in the event loop's time; it goes on starting.
        """
        session = self._session
        if session is None or (session.ended is not None and self._may_start()):
            session = self._start()
        async with asyncio.timeout_at(until):
            await session.settled.wait()
        if session.ended is None:
            return session
        if self._failed_at is None and not session.started:
            self._failed_at = self._clock.monotonic()
        raise ToolServerDown(session.ended)

    def _may_start(self) -> bool:
        return self._failed_at is None or self._clock.monotonic() - self._failed_at >= RETRY_START_S

    def _start(self) -> Session:
        if self._closed:
            raise ToolServerDown("the tool mesh is closed")
        self._failed_at = None
        session = self._session = Session(self._spec, self._settings)
        self._living[session.task] = session
        session.task.add_done_callback(self._living.pop)
        return session

    def _tool(self, session: Session, name: str) -> Capability:
        short = name.partition("__")[2]
        if tool := session.listing.tools.get(short):
            return tool
        why = session.listing.dropped.get(short, f"{self._spec.name} has no such tool")
        raise ToolUnknown(f"{one_line(name, 120)}: {why}", **self._context(name, sent=False))

    def _late(self, name: str, why: str, sent: bool) -> ToolTimeout:
        return ToolTimeout(f"{name}: {why}; {_outcome(sent)}", **self._context(name, sent))

    def _context(self, name: str, sent: bool) -> dict[str, str]:
        return {"tool": name[:120], "server": self._spec.name, "outcome": "unknown" if sent else "not done"}


def _outcome(sent: bool) -> str:
    return "whether the call took effect is unknown" if sent else "the call was not made"
