"""The MCP server on stdin and stdout: one JSON-RPC message a line, for the user who starts it."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, BinaryIO, cast

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp import types
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from chimera.app import App
from chimera.core.errors import InputError
from chimera.server.callers import Caller
from chimera.server.desk import Desk
from chimera.server.keeper import Keeper
from chimera.server.mcp.serving import sdk_server

DRAIN_S = 10.0
"""How long calls under way may take to answer once nobody asks any more."""
WAITING_MAX = 64


async def serve_stdio(app: App, caller: Caller, stopping: asyncio.Event) -> None:
    """Serve until stdin ends or ``stopping`` is set; what missions were running then stay at their checkpoint."""
    keeper = Keeper(app)
    lines = Lines(app.settings.server_body_max_bytes)
    async with keeper.open(), lines.open(keeper.closing.set, stopping) as (reading, writing):
        sdk = sdk_server(Desk(app, keeper), local=caller)
        await sdk.run(reading, writing, sdk.create_initialization_options())


class Lines:
    """One client on two byte streams of this process."""

    def __init__(self, max_bytes: int, reading: BinaryIO | None = None, writing: BinaryIO | None = None) -> None:
        self._max_bytes = max_bytes
        # Not sys.stdin: the interpreter would wait for its lock at the end, which a thread that reads keeps.
        self._reading = reading or _own(0, "rb")
        self._writing = writing or _own(1, "wb")
        if writing is None:
            os.dup2(2, 1)  # whatever prints to stdout by mistake must not get between the messages
        self._room = threading.Semaphore(WAITING_MAX)
        self._read: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._pending: set[types.RequestId] = set()
        self._is_read = True
        self._ended = False
        self._answered = asyncio.Event()

    @asynccontextmanager
    async def open(
        self, on_end: Callable[[], None], stopping: asyncio.Event
    ) -> AsyncGenerator[
        tuple[MemoryObjectReceiveStream[SessionMessage | Exception], MemoryObjectSendStream[SessionMessage]]
    ]:
        """The streams that the SDK's server takes. ``on_end`` is called when no more requests come."""
        loop = asyncio.get_running_loop()
        # A thread of its own, which nobody waits for: a read cannot be broken off.
        threading.Thread(target=self._read_all, args=(loop,), name="stdin", daemon=True).start()
        into, reading = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        writing, out_of = anyio.create_memory_object_stream[SessionMessage](0)
        async with anyio.create_task_group() as group:
            group.start_soon(self._take, into, on_end, stopping)
            group.start_soon(self._give, out_of)
            yield reading, writing
            group.cancel_scope.cancel()

    def _read_all(self, loop: asyncio.AbstractEventLoop) -> None:
        line: bytes | None = b""
        while line is not None:
            line = self._reading.readline(self._max_bytes + 1) or None
            if line is not None and len(line) > self._max_bytes and not line.endswith(b"\n"):
                while (rest := self._reading.readline(65_536)) and not rest.endswith(b"\n"):
                    pass
                line = b"too long"
            self._room.acquire()
            try:
                loop.call_soon_threadsafe(self._read.put_nowait, line)
            except RuntimeError:  # the loop has ended
                return

    async def _take(
        self,
        into: MemoryObjectSendStream[SessionMessage | Exception],
        on_end: Callable[[], None],
        stopping: asyncio.Event,
    ) -> None:
        stop = asyncio.create_task(stopping.wait())
        async with into:
            try:
                while (line := await self._next(stop)) is not None:
                    message = await self._message(line)
                    if message is not None:
                        if isinstance(message.root, types.JSONRPCRequest):
                            self._pending.add(message.root.id)
                        await into.send(SessionMessage(message))
                on_end()
                self._ended = True
                self._note_answered()
                with anyio.move_on_after(DRAIN_S):
                    await self._answered.wait()
            finally:
                stop.cancel()

    async def _next(self, stop: "asyncio.Task[Any]") -> bytes | None:
        """The next line; None when there is none, or the process is told to stop."""
        got = asyncio.create_task(self._read.get())
        try:
            await asyncio.wait({got, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not got.done():
                return None
            self._room.release()
            return got.result()
        finally:
            got.cancel()

    async def _message(self, line: bytes) -> types.JSONRPCMessage | None:
        """The message of a line; one that is none is answered."""
        if not line.strip():
            return None
        try:
            return types.JSONRPCMessage.model_validate(json.loads(line))
        except ValidationError:
            await self._write({"id": None, "error": {"code": types.INVALID_REQUEST, "message": "no JSON-RPC message"}})
        except (ValueError, RecursionError):
            await self._write({"id": None, "error": {"code": types.PARSE_ERROR, "message": "not valid JSON"}})
        return None

    async def _give(self, out_of: MemoryObjectReceiveStream[SessionMessage]) -> None:
        async with out_of:
            async for sent in out_of:
                message = sent.message.root
                await self._write(message.model_dump(by_alias=True, mode="json", exclude_none=True))
                if isinstance(message, (types.JSONRPCResponse, types.JSONRPCError)):
                    self._pending.discard(message.id)
                self._note_answered()

    def _note_answered(self) -> None:
        """See whether nothing more has to be answered: no request comes, and none is open, or nobody reads."""
        if self._ended and not (self._pending and self._is_read):
            self._answered.set()

    async def _write(self, message: dict[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False, separators=(",", ":"))
        if self._is_read:
            # In a thread: a client that does not read holds up its own answers, and no mission.
            await asyncio.to_thread(self._write_bytes, data.encode("utf-8", "backslashreplace") + b"\n")

    def _write_bytes(self, data: bytes) -> None:
        try:
            self._writing.write(data)
            self._writing.flush()
        except OSError:
            self._is_read = False  # the client has gone


def _own(descriptor: int, mode: str) -> BinaryIO:
    """A standard stream of the process, for messages alone.

    Raises:
        InputError: the process has none.
    """
    try:
        return cast("BinaryIO", os.fdopen(os.dup(descriptor), mode))
    except OSError as error:
        raise InputError(f"stdin and stdout cannot be used: {error.strerror}") from None
