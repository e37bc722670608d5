"""One live session with one server, owned by a task of its own.

The MCP transports are built on cancel scopes that must be left by the task that entered them, and a transport that
breaks cancels that task. So the task here does nothing but own the session; callers wait for their answers apart.
"""

import asyncio
import contextvars
from contextlib import AsyncExitStack
from typing import Any

from langchain_mcp_adapters.client import MultiServerMCPClient
from mcp import ClientSession, types

from chimera.core.errors import ToolServerDown
from chimera.core.settings import Settings
from chimera.tools.capability import Capability
from chimera.tools.mesh.failures import Lost, meaning, reason_of
from chimera.tools.mesh.link import Link
from chimera.tools.mesh.listing import Listing, Screen, fetch_tools, to_listing
from chimera.tools.mesh.manners import Manners
from chimera.tools.mesh.servers import ServerSpec
from chimera.tools.mesh.untrusted import one_line

NOTICE_S = 5.0


class Session:
    """A server's session from start to end; it does not come back, a new one takes its place."""

    def __init__(
        self, spec: ServerSpec, settings: Settings, starts: asyncio.Semaphore, screen: Screen | None = None
    ) -> None:
        """``starts``: how many sessions may start at once; ``screen``: what of the listing may be used."""
        self.settled = asyncio.Event()
        self.ended: str | None = None
        self.rests = False
        self.listing = Listing()
        self.version = ""
        self.manners = Manners()
        self._spec = spec
        self._settings = settings
        self._starts = starts
        self._screen = screen
        self._link = Link(spec, settings, self.stop)
        self._session: ClientSession | None = None
        self._pending: set[asyncio.Task[types.CallToolResult]] = set()
        self._withdrawn: asyncio.Queue[int | None] = asyncio.Queue()
        # An empty context: the session outlives the run, with its tracing and its callbacks, that first needed it.
        self.task = asyncio.create_task(self._own(), name=f"mcp {spec.name}", context=contextvars.Context())

    @property
    def started(self) -> bool:
        """Whether the server ever answered."""
        return self._session is not None

    @property
    def busy(self) -> bool:
        """Whether calls are under way."""
        return bool(self._pending)

    def rest(self) -> None:
        """End the session because nobody uses it."""
        self.rests = True
        self.stop("it was not used")

    def stop(self, reason: str = "it was stopped") -> None:
        """End the session; ``task`` is done when the server's process is gone."""
        self._end(reason)
        if self._session is None:
            self.task.cancel()
        self._withdrawn.put_nowait(None)

    def retire(self, reason: str) -> None:
        """Take no new calls, and end the session when those under way have ended, each in its own way."""
        if self.ended is None:
            self.ended = reason
        if not self._pending:
            self._withdrawn.put_nowait(None)

    async def request(
        self, tool: Capability, arguments: dict[str, Any], meta: dict[str, str], seconds: float
    ) -> types.CallToolResult:
        """Call a tool, for at most ``seconds``. However it ends, the session stays usable for other calls.

        Raises:
            TimeoutError: no answer in time; the server is told to stop.
            Lost: the session failed, or the server did not answer with a result.
            ToolRefused, ToolResultTooLarge: what it answered.
        """
        if self._session is None or self.ended is not None:
            raise Lost(self.ended or "it has not started", sent=False, dead=True)
        request_id: list[int] = []
        answer = asyncio.create_task(self._send(self._session, tool.tool, arguments, meta, request_id))
        self._pending.add(answer)
        answer.add_done_callback(self._forget)
        try:
            done, _ = await asyncio.wait((answer,), timeout=seconds)
        finally:
            if not answer.done():
                answer.cancel()
                if request_id:
                    self.manners.withdrew(request_id[0])
                    self._withdrawn.put_nowait(request_id[0])
        if not done:
            raise TimeoutError
        if answer.cancelled():
            raise Lost(self.ended or "it ended", sent=True, dead=True)
        if (error := answer.exception()) is not None:
            raise meaning(tool.name, error, self._settings.tool_result_max_bytes) from None
        return answer.result()

    async def _send(
        self, session: ClientSession, tool: str, arguments: dict[str, Any], meta: dict[str, str], request_id: list[int]
    ) -> types.CallToolResult:
        params = types.CallToolRequestParams(name=tool, arguments=arguments, _meta=types.RequestParams.Meta(**meta))
        # The id that send_request takes next; nothing runs in between. The SDK offers no other way to cancel by id.
        request_id.append(session._request_id)  # pyright: ignore[reportPrivateUsage]
        # Not session.call_tool: that checks the result against the server's schema without any bound on the work.
        return await session.send_request(
            types.ClientRequest(types.CallToolRequest(params=params)), types.CallToolResult
        )

    def _forget(self, answer: asyncio.Task[types.CallToolResult]) -> None:
        self._pending.discard(answer)
        if self.ended is not None and not self._pending:
            self._withdrawn.put_nowait(None)
        if not answer.cancelled():
            answer.exception()  # seen, even when the caller is gone

    async def _own(self) -> None:
        try:
            await self._live()
        except Exception as error:  # noqa: BLE001 - whatever a transport raises ends this session and no more
            # One that dies at once may be gone before its first word is written.
            self._end(f"{reason_of(error)}{'' if self.settled.is_set() else self._link.hint}")
        finally:
            self._end("it was stopped")
            if self._pending:
                await asyncio.wait(self._pending)

    async def _live(self) -> None:
        async with AsyncExitStack() as stack:
            async with self._starts:
                connection = await asyncio.to_thread(self._link.connection)
                connection["session_kwargs"] = {"message_handler": self.manners.unexpected}
                client = MultiServerMCPClient({self._spec.name: connection})
                session = await stack.enter_async_context(client.session(self._spec.name, auto_initialize=False))
                try:
                    await self._open(session)
                except Exception as error:  # noqa: BLE001 - told at once: leaving the transport can take seconds
                    self._end(reason_of(error))
                    return
            try:
                await self._tell_withdrawals(session)
            except Exception as error:  # noqa: BLE001 - as above
                self._end(reason_of(error))

    async def _open(self, session: ClientSession) -> None:
        seconds = self._settings.tool_start_timeout_s
        try:
            async with asyncio.timeout(seconds):
                hello = await session.initialize()
                self.manners.watch(session)
                raw = await fetch_tools(session) if hello.capabilities.tools else []
                listing = await asyncio.to_thread(to_listing, self._spec.name, raw)
                self.listing = await self._screen(self._spec, listing) if self._screen else listing
        except TimeoutError:
            port = await asyncio.to_thread(self._link.opened_port)
            instead = f", but opened port {port}" if port else ""
            raise ToolServerDown(f"it did not start within {seconds:g} s{instead}{self._link.hint}") from None
        except Exception as error:  # noqa: BLE001 - the first words of a stranger can be wrong in any way
            raise ToolServerDown(f"{reason_of(error)}{self._link.hint}") from None
        self.version = one_line(f"{hello.serverInfo.name} {hello.serverInfo.version}", 100)
        self._session = session
        self.settled.set()

    async def _tell_withdrawals(self, session: ClientSession) -> None:
        """Tell the server which calls nobody waits for any more, until the session is stopped."""
        while (request_id := await self._withdrawn.get()) is not None:
            params = types.CancelledNotificationParams(requestId=request_id, reason="no longer wanted")
            notice = types.ClientNotification(types.CancelledNotification(params=params))
            try:
                async with asyncio.timeout(NOTICE_S):
                    await session.send_notification(notice)
            except TimeoutError:
                raise ToolServerDown("it does not read its input") from None
            self._link.withdraw(request_id)

    def _end(self, reason: str) -> None:
        """Say why the session is over; calls that still wait are let go."""
        if self.ended is None:
            self.ended = reason
        self.settled.set()
        for answer in self._pending:
            answer.cancel()
