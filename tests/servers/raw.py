"""A stdio MCP server on the standard library alone, with every bad habit a server can have: ``raw.py [HABIT...]``.

Habits at start: ``mute`` never answers, ``dead`` exits, ``deaf`` outlives the end of its input and SIGTERM, ``messy``
lists tools that cannot be used beside one that can, ``noisy`` writes to both outputs, ``parent`` starts a
process of its own that ignores every hint, ``port`` opens one instead of answering. Other habits are tools.
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

HABITS = set(sys.argv[1:])
READ = {"readOnlyHint": True}
TOOLS = {
    "echo": READ,
    "meta": READ,
    "environment": READ,
    "big": READ,
    "noise": READ,
    "half": READ,
    "latin": READ,
    "other_id": READ,
    "nap": READ,
    "evidence": READ,
    "picture": READ,
    "refuse": READ,
    "error": READ,
    "wrong": READ,
    "ask": READ,
    "hang": READ,
    "cancelled": READ,
    "die": {},
    "die_once": READ,
    "die_once_idempotent": {"idempotentHint": True},
    "die_once_writing": {},
    "flood": {},
    "eat": {},
}
cancelled: list[int] = []
strays: list[int] = []
eaten: list[bytes] = []


def send(message: dict[str, Any]) -> None:
    """Write one message."""
    os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def put(raw: bytes) -> None:
    """Write bytes as they are, however many."""
    view = memoryview(raw)
    while view:
        view = view[os.write(1, view) :]


def text(value: str, **more: Any) -> dict[str, Any]:
    """A tool result."""
    return {"content": [{"type": "text", "text": value}], **more}


def tools() -> list[Any]:
    """What tools/list gives."""
    if "messy" not in HABITS:
        return [
            {"name": name, "inputSchema": {"type": "object"}, "annotations": hints} for name, hints in TOOLS.items()
        ]
    schema: dict[str, Any] = {"type": "object"}
    remote = {"type": "object", "properties": {"a": {"$ref": "https://example.com/schema.json"}}}
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
    tree = {"type": "object", "properties": {"root": {"$ref": "#/$defs/node"}}, "$defs": {"node": node}}
    return [
        {"name": "good", "inputSchema": schema, "description": "\x1b[31mfirst"},
        {"name": "good", "inputSchema": schema, "description": "second"},
        {"name": "has space", "inputSchema": schema},
        {"name": "bad_schema", "inputSchema": {"type": "object", "properties": {"a": {"type": "text"}}}},
        {"name": "no_object", "inputSchema": {"type": "string"}},
        {"name": "remote_schema", "inputSchema": remote},
        {"name": "loop_schema", "inputSchema": {"$ref": "#"}},
        {"name": "tree", "inputSchema": tree},
        {"name": "files__write_artifact", "inputSchema": schema},
        {"name": "Trends__analyze_trends", "inputSchema": schema},
        {"name": "bad_output", "inputSchema": schema, "outputSchema": {"required": 7}},
        {"name": "no_schema"},
        "not even an object",
    ]


def ask(method: str) -> dict[str, Any]:
    """Send the client a request and wait for its reply."""
    send(
        {"id": 900, "method": method, "params": {"messages": [], "maxTokens": 1, "message": "?", "requestedSchema": {}}}
    )
    return json.loads(sys.stdin.readline())


def call(request: int, name: str, given: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any] | None:  # noqa: C901 - a list of habits
    """The result of a tool call; None for no answer."""
    match name:
        case "echo":
            return text(given["text"])
        case "meta":
            return text(json.dumps({"arguments": given, "meta": meta, "pid": os.getpid(), "strays": strays}))
        case "environment":
            return text(json.dumps(dict(os.environ)))
        case "big":
            put(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"' % request)
            for _ in range(given["mb"]):
                put(b"x" * 1_000_000)
            put(b'"}]}}\n')
        case "noise":
            put(b'Server ready!\n\xff\xfe\n{}\n[1]\n{"jsonrpc":"2.0","method":"notifications/unheard"}\n\n')
            put(b'{"jsonrpc":"2.0","id":"none","result":{}}\n' + b'{"jsonrpc":"2.0","id":77,"result":{}}\n')
            return text("still here")
        case "half":
            put(b'{"jsonrpc":"2.0","id":%d,"result":{"content":\n' % request)
        case "latin":
            put(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"caf\xe9"}]}}\n' % request)
        case "other_id":
            send({"id": request + 1_000, "result": text("not yours")})
        case "nap":
            time.sleep(given["seconds"])
            return text("slept")
        case "evidence":
            pieces = [
                {"id": "row:1", "text": "seven", "source": "feed"},
                {"id": 5},
                {"id": "row:1", "text": "x", "source": "y"},
            ]
            return text("seven rows\x00", structuredContent={"rows": 7, "evidence": pieces})
        case "picture":
            return {"content": [{"type": "image", "data": "A" * 400, "mimeType": "image/png"}]}
        case "refuse":
            return text("no\nsuch\x1b[2J row " + "z" * 900, isError=True)
        case "error":
            send({"id": request, "error": {"code": -32602, "message": "bad\narguments"}})
        case "wrong":
            return {"content": "not a list"}
        case "ask":
            return text(
                json.dumps([ask(method) for method in ("sampling/createMessage", "elicitation/create", "roots/list")])
            )
        case "cancelled":
            return text(json.dumps(cancelled))
        case "die":
            os._exit(3)
        case "die_once" | "die_once_idempotent" | "die_once_writing":
            with Path(given["path"]).open("a") as effects:
                effects.write("done\n")
            if len(Path(given["path"]).read_text().splitlines()) == 1:
                os._exit(3)
            return text("second try")
        case "eat":
            eaten.append(b"x" * (given["mb"] * 1_000_000))
            return text("not full yet")
        case "flood":
            while True:
                put(b"y" * 1_000_000)
        case _:  # hang
            pass
    return None


def handle(message: dict[str, Any]) -> None:
    """Answer one message."""
    params: dict[str, Any] = message.get("params") or {}
    match message.get("method"):
        case "initialize":
            info = {"name": "raw", "version": "1.0"}
            send(
                {
                    "id": message["id"],
                    "result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info},
                }
            )
        case "tools/list":
            send({"id": message["id"], "result": {"tools": tools()}})
        case "tools/call":
            result = call(message["id"], params["name"], params.get("arguments") or {}, params.get("_meta") or {})
            if result is not None:
                send({"id": message["id"], "result": result})
        case "notifications/cancelled":
            cancelled.append(params["requestId"])
        case _:
            pass


def stray() -> int:
    """A process in a session of its own that holds both ends open and goes by no signal but one; its id."""
    if pid := os.fork():
        return pid
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


def main() -> None:
    """Serve until the input ends."""
    if "dead" in HABITS:
        sys.exit("cannot start")
    if "noisy" in HABITS:
        os.write(2, b"SECRET STDERR\n")
        put(b"welcome to the noisy server\n")
    if "deaf" in HABITS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "parent" in HABITS:
        strays.append(stray())
    listening = socket.create_server(("127.0.0.1", 0)) if "port" in HABITS else None
    for line in sys.stdin:
        if "mute" not in HABITS and listening is None:
            handle(json.loads(line))
    while "deaf" in HABITS:
        time.sleep(60)


if __name__ == "__main__":
    main()
