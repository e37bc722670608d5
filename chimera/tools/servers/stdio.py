"""MCP over stdin and stdout: one JSON-RPC message a line.

Written against the protocol rather than with the SDK, because importing the SDK takes 1.4 s of CPU and 58 MB, and a
mission starts each server anew; this takes a tenth of both. The SDK's own client is what the tests drive it with.
"""

import json
import os
import select
import signal
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO, cast

from chimera.tools.servers.serving import ToolServer, UnknownToolError

PROTOCOL_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
"""Revisions that tools-only servers speak alike, newest first."""
MAX_LINE = 16_000_000
WORKERS = 8
DRAIN_S = 10.0

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602


def serve_stdio(server: ToolServer) -> None:
    """Serve until stdin ends; then answer what is still running, unless nobody is there to read it, and return."""
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.SIG_DFL)  # ends at once, without a stack trace in somebody's terminal
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints to stdout by mistake must not get between the messages
    Connection(server, sys.stdin.buffer, answers).run()
    sys.stderr.flush()
    os._exit(0)  # a call that hangs in a thread must not keep an orphan alive


class Connection:
    """One client on two byte streams."""

    def __init__(self, server: ToolServer, reading: BinaryIO, writing: BinaryIO) -> None:
        self._server = server
        self._reading = reading
        self._writing = writing
        self._lock = threading.Lock()
        self._running: dict[str | int, Future[None]] = {}
        self._cancelled: set[str | int] = set()

    def run(self) -> None:
        """Answer messages until the reading end closes."""
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="tool")
        while line := self._reading.readline(MAX_LINE):
            if len(line) == MAX_LINE and not line.endswith(b"\n"):
                self._skip_line()
                self._error(None, PARSE_ERROR, f"a message is longer than {MAX_LINE} bytes")
            elif line.strip():
                self._take(line, pool)
        pool.shutdown(wait=False)
        self._drain()

    def _skip_line(self) -> None:
        while (rest := self._reading.readline(MAX_LINE)) and not rest.endswith(b"\n"):
            pass

    def _take(self, line: bytes, pool: ThreadPoolExecutor) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            self._error(None, PARSE_ERROR, "not valid JSON")
            return
        request = cast("dict[str, Any]", message) if isinstance(message, dict) else {}
        method, params, asked = request.get("method"), request.get("params", {}), request.get("id")
        if not isinstance(method, str):
            if not request.keys() & {"result", "error"}:  # an answer to a question that we never ask
                self._error(None, INVALID_REQUEST, "not a JSON-RPC request")
        elif not isinstance(params, dict):
            self._error(asked, INVALID_PARAMS, "params must be an object")
        elif "id" not in request:
            self._notified(method, cast("dict[str, Any]", params))
        elif isinstance(asked, str | int) and not isinstance(asked, bool):
            self._answer(asked, method, cast("dict[str, Any]", params), pool)
        else:
            self._error(None, INVALID_REQUEST, "id must be a string or an integer")

    def _notified(self, method: str, params: dict[str, Any]) -> None:
        if method != "notifications/cancelled":
            return
        asked = params.get("requestId")
        running = self._running.get(asked) if isinstance(asked, str | int) else None
        if isinstance(asked, str | int) and running is not None:
            self._cancelled.add(asked)
            running.cancel()

    def _answer(self, asked: str | int, method: str, params: dict[str, Any], pool: ThreadPoolExecutor) -> None:
        if method == "tools/call":
            future = pool.submit(self._call, asked, params)
            self._running[asked] = future
            future.add_done_callback(lambda _: self._forget(asked))
        elif method == "tools/list":
            self._send({"id": asked, "result": {"tools": self._server.listing()}})
        elif method == "ping":
            self._send({"id": asked, "result": {}})
        elif method == "initialize":
            self._send({"id": asked, "result": self._welcome(params)})
        else:
            self._error(asked, METHOD_NOT_FOUND, "Method not found")

    def _welcome(self, params: dict[str, Any]) -> dict[str, Any]:
        wanted = params.get("protocolVersion")
        return {
            "protocolVersion": wanted if wanted in PROTOCOL_VERSIONS else PROTOCOL_VERSIONS[0],
            "capabilities": {"tools": {"listChanged": False}},
            "serverInfo": {"name": self._server.name, "version": self._server.version},
            "instructions": self._server.instructions,
        }

    def _call(self, asked: str | int, params: dict[str, Any]) -> None:
        name, arguments, meta = params.get("name"), params.get("arguments"), params.get("_meta")
        if not isinstance(name, str) or not isinstance(arguments or {}, dict) or not isinstance(meta or {}, dict):
            self._error(asked, INVALID_PARAMS, "name must be a string, arguments and _meta objects")
            return
        try:
            result = self._server.call(name, arguments, meta)
        except UnknownToolError:
            self._error(asked, INVALID_PARAMS, f"Unknown tool: {name[:80]}")
            return
        if asked not in self._cancelled:
            self._send({"id": asked, "result": result})

    def _forget(self, asked: str | int) -> None:
        self._running.pop(asked, None)
        self._cancelled.discard(asked)

    def _error(self, asked: Any, code: int, message: str) -> None:
        known = asked if isinstance(asked, str | int) and not isinstance(asked, bool) else None
        self._send({"id": known, "error": {"code": code, "message": message}})

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False, separators=(",", ":"))
        with self._lock:
            try:
                self._writing.write(data.encode("utf-8", "backslashreplace") + b"\n")
                self._writing.flush()
            except BrokenPipeError:
                os._exit(0)  # the client is gone

    def _drain(self) -> None:
        """Wait for running calls while somebody still holds the other end of our answers."""
        watch = select.poll()
        watch.register(self._writing, 0)  # errors are always reported
        waited = 0.0
        while self._running and waited < DRAIN_S and not watch.poll(0):
            threading.Event().wait(0.02)
            waited += 0.02
