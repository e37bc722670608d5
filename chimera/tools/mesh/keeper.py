"""Keeps one endpoint at hand: starts it at first need, starts it again when it died, makes single calls of it."""

import asyncio
from contextlib import suppress
from typing import Any, Literal

from pydantic import Field

from chimera.core.clock import Clock
from chimera.core.contracts import Contract
from chimera.core.errors import ToolFailed, ToolResultTooLarge, ToolServerDown, ToolUnknown
from chimera.core.settings import Settings
from chimera.tools.capability import Capability, ToolResult
from chimera.tools.mesh.failures import Late, Lost
from chimera.tools.mesh.listing import Listing, Screen
from chimera.tools.mesh.results import to_result
from chimera.tools.mesh.servers import ServerSpec
from chimera.tools.mesh.session import Session
from chimera.tools.mesh.untrusted import one_line

RETRY_START_S = 30.0
TROUBLE_S = 300.0
"""So long a failed call counts against an endpoint that is not called again: who asks only the well would never."""
_NOTHING = Listing()


class EndpointStatus(Contract):
    """One endpoint of a server, for people to read. ``down`` ones are started again at the next need."""

    state: Literal["idle", "starting", "up", "down"]
    version: str = Field(default="", description="name and version that the server gave")
    error: str = ""
    unhealthy: str = Field(default="", description="why it is not to be relied on now; empty when it is well")


class Keeper:
    """One endpoint and its current session. At most one session at a time is used."""

    def __init__(
        self,
        spec: ServerSpec,
        settings: Settings,
        clock: Clock,
        starts: asyncio.Semaphore,
        screen: Screen | None = None,
    ) -> None:
        self._spec = spec
        self._settings = settings
        self._clock = clock
        self._starts = starts
        self._screen = screen
        self._session: Session | None = None
        self._failed_at: float | None = None
        self._used_at = clock.monotonic()
        self._living: dict[asyncio.Task[None], Session] = {}
        self._closed = False
        self._trouble: tuple[str, float] | None = None

    async def try_start(self) -> None:
        """Start the server unless it runs or failed a moment ago; ``status`` tells how it went."""
        until = asyncio.get_running_loop().time() + self._settings.tool_start_timeout_s + 1
        with suppress(ToolServerDown, TimeoutError):
            await self._ready(until)

    async def call(
        self, tool: Capability | None, name: str, arguments: dict[str, Any], meta: dict[str, str], until: float
    ) -> ToolResult:
        """Make one call. ``tool``: what the caller takes the tool ``name`` to be, if it knows; ``until``: loop time.

        Raises:
            Lost: the server gave no answer that counts. Late: it has not answered, or not started, at ``until``.
            ToolUnknown: it has no such tool. ToolRefused, ToolResultTooLarge: what it answered.
        """
        try:
            session = await self._ready(until)
        except TimeoutError:
            raise Late(sent=False) from None
        except ToolServerDown as error:
            raise Lost(error.message, sent=False, dead=True) from None
        found = self._tool(session, name)
        if tool is not None and tool is not found and tool != found:
            raise Lost("its tool of this name is not the one that was offered before", sent=False, dead=False)
        self._used_at = self._clock.monotonic()
        try:
            answer = await session.request(found, arguments, meta, until - asyncio.get_running_loop().time())
            result = to_result(found, answer, self._settings.tool_result_max_bytes)
        except TimeoutError:
            raise Late(sent=True) from None
        except Lost as lost:
            self._failed(lost.reason)
            if lost.dead:
                session.retire(lost.reason)
            raise
        except ToolResultTooLarge as error:
            self._failed(error.message)
            raise
        except ToolFailed:
            self._trouble = None  # it gave a reason
            raise
        finally:
            self._used_at = self._clock.monotonic()
        self._trouble = None
        return result

    def _failed(self, reason: str) -> None:
        self._trouble = (reason, self._clock.monotonic())

    @property
    def known(self) -> Listing:
        """What the server said last that it offers."""
        return self._session.listing if self._session is not None else _NOTHING

    @property
    def usable(self) -> bool:
        """It runs, or would for the next call."""
        return self._session is not None and (self._session.ended is None or self._session.rests)

    @property
    def resting(self) -> bool:
        """It failed to start a moment ago, and is not started again yet."""
        return self._session is not None and self._session.ended is not None and not self._may_start()

    @property
    def idle_since(self) -> float | None:
        """The clock's seconds at its last use, when it runs and has nothing to do."""
        session = self._session
        up = session is not None and session.started and session.ended is None
        return self._used_at if up and session is not None and not session.busy else None

    def rest(self) -> None:
        """End the session for want of use; the next call starts it again."""
        if self._session is not None:
            self._session.rest()

    def status(self) -> EndpointStatus:
        """What is known about the endpoint now."""
        session = self._session
        if session is None or session.rests:
            return EndpointStatus(state="idle", version=session.version if session else "", unhealthy=self._unhealthy())
        state = "down" if session.ended is not None else "up" if session.started else "starting"
        return EndpointStatus(
            state=state, version=session.version, error=session.ended or "", unhealthy=self._unhealthy()
        )

    def _unhealthy(self) -> str:
        """Why it is not well: it is down, its last call failed a while ago at most, or it does what no server may."""
        session = self._session
        if session is not None and session.ended is not None and not session.rests:
            return session.ended
        if self._trouble is not None and self._clock.monotonic() - self._trouble[1] < TROUBLE_S:
            return self._trouble[0]
        return "; ".join(session.manners.offences) if session is not None else ""

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
        if not session.settled.is_set():
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
        self._used_at = self._clock.monotonic()
        session = self._session = Session(self._spec, self._settings, self._starts, self._screen)
        self._living[session.task] = session
        session.task.add_done_callback(self._living.pop)
        return session

    def _tool(self, session: Session, name: str) -> Capability:
        short = name.partition("__")[2]
        if tool := session.listing.tools.get(short):
            return tool
        why = session.listing.dropped.get(short, f"{self._spec.name} has no such tool")
        raise ToolUnknown(f"{one_line(name, 120)}: {why}", tool=name[:120], server=self._spec.name, outcome="not done")
