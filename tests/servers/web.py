"""A streamable HTTP MCP server on the standard library alone that breaks the protocol. It prints its port.

``/FAULT`` behaves until the tool ``broken`` is called, ``/start/FAULT`` never does; ``/PORT/inside`` redirects there.
The other tools work on every path: ``ok``, ``append`` writes, ``hang`` waits to be cancelled, ``stubborn`` for the
client to hang up, ``die`` ends all.
``web.py PORT`` listens there, so that it can be started again; it knows no sessions of an earlier life.
"""

import json
import os
import select
import sys
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

JSON, EVENTS = "application/json", "text/event-stream"


SESSION = uuid.uuid4().hex
TOOLS = {"ok": True, "hang": True, "stubborn": True, "broken": False, "append": False, "die": False}
cancelled = threading.Event()
hung_up = threading.Event()


def answer(request: Any, result: dict[str, Any]) -> bytes:
    """A JSON-RPC answer."""
    return json.dumps({"jsonrpc": "2.0", "id": request, "result": result}).encode()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def do_GET(self) -> None:
        """No stream of the server's own."""
        self.reply(405, JSON, b"")

    def do_POST(self) -> None:
        """Answer or break, as the path says."""
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request, method = message.get("id"), message["method"]
        early = self.path.startswith("/start/")
        calls_broken = method == "tools/call" and message["params"]["name"] == "broken"
        if method != "initialize" and self.headers.get("Mcp-Session-Id") != SESSION:
            self.reply(404, JSON, b"")
        elif request is None:
            if method == "notifications/cancelled":
                cancelled.set()
            self.reply(202, JSON, b"")
        elif calls_broken or early:
            self.break_it(self.path.rpartition("/")[2], request)
        elif method == "initialize":
            info = {"name": "web", "version": self.headers.get("Authorization", "none")}
            hello: dict[str, Any] = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
            self.reply(200, JSON, answer(request, hello), Mcp_Session_Id=SESSION)
        elif method == "tools/list":
            schema = {"type": "object"}
            tools = [
                {"name": name, "inputSchema": schema, "annotations": {"readOnlyHint": reads}}
                for name, reads in TOOLS.items()
            ]
            self.reply(200, JSON, answer(request, {"tools": tools}))
        else:
            said = self.call(message["params"]["name"], message["params"]["arguments"])
            self.reply(200, JSON, answer(request, {"content": [{"type": "text", "text": said}]}))

    def do_DELETE(self) -> None:
        """Forget nothing."""
        self.reply(200, JSON, b"")

    def call(self, tool: str, given: dict[str, Any]) -> str:
        """Do what a sound tool does."""
        if tool == "die":
            os._exit(3)
        if tool == "append":
            with Path(given["path"]).open("a") as effects:
                effects.write("done\n")
        if tool == "hang":
            cancelled.clear()
            cancelled.wait(60)
        if tool == "stubborn":
            select.select([self.connection], [], [], 60)  # nothing more is sent here, so this is the end of it
            hung_up.set()
        return "hung up" if hung_up.is_set() else "cancelled" if cancelled.is_set() else "fine"

    def reply(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        """A whole response."""
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def stream(self, kind: str, start: bytes, megabytes: int, length: int | None = None) -> None:
        """A response that goes on until the connection closes, or that ends before its length."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        try:
            self.wfile.write(start)
            for _ in range(megabytes):
                self.wfile.write(b"x" * 1_000_000)
        except OSError:
            pass  # the client had enough

    def break_it(self, fault: str, request: Any) -> None:  # noqa: C901 - a list of faults
        """Do what the path says."""
        match fault:
            case "status":
                self.reply(503, JSON, b"{}")
            case "denied":
                self.reply(401, "text/plain", b"who are you")
            case "page":
                self.reply(200, "text/html", b"<p>hello")
            case "accepted":
                self.reply(202, JSON, b"")
            case "garbage":
                self.reply(200, JSON, b"{not json")
            case "garbage-event":
                self.stream(EVENTS, b"event: message\ndata: {not json\n\n", 0)
            case "huge":
                self.stream(JSON, b'{"jsonrpc":"2.0","id":1,"result":"', 50)
            case "huge-event":
                self.stream(EVENTS, b"data: ", 50)
            case "cut":
                self.stream(JSON, b'{"jsonrpc"', 0, length=500)
            case "cut-event":
                self.stream(EVENTS, b": hello\n\ndata: {", 0)
            case "dropped":
                self.close_connection = True
                self.connection.close()
            case "packed":
                self.reply(200, JSON, b"\x1f\x8b", Content_Encoding="gzip")
            case "latin":
                self.reply(200, JSON, b'{"jsonrpc":"2.0","id":%d,"result":{"content":[],"x":"caf\xe9"}}' % request)
            case "other-id":
                self.reply(200, JSON, answer(request + 1, {"content": []}))
            case "other-id-event":
                self.stream(EVENTS, b"data: " + answer(request + 1, {"content": []}) + b"\n\n", 0)
            case "inside":
                self.reply(307, JSON, b"", Location=f"http://127.0.0.1:{self.path.split('/')[1]}/latest/meta-data")
            case "elsewhere":
                self.reply(307, JSON, b"", Location="http://127.0.0.2:9/")
            case _:
                self.reply(404, JSON, b"")


if __name__ == "__main__":
    ThreadingHTTPServer.request_queue_size = 100
    web = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    os.write(1, f"{web.server_port}\n".encode())
    web.serve_forever()
    sys.exit()
