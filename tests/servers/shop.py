"""A stdio MCP server on the standard library alone that offers what a file says: ``shop.py FILE``.

FILE is JSON: ``{"tools": [{"name", "description", "schema", "hints", "says", "wait_s"}]}``. The id of the process that
was started last stands in ``FILE.pid``, and each call is a line of ``FILE.calls``.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

SCHEMA = {"type": "object", "properties": {"about": {"type": "string"}}}


def send(message: dict[str, Any]) -> None:
    """Write one message."""
    os.write(1, json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")


def main(file: str) -> None:
    """Serve until the input ends."""
    Path(f"{file}.pid").write_text(str(os.getpid()))
    tools: dict[str, dict[str, Any]] = {tool["name"]: tool for tool in json.loads(Path(file).read_text())["tools"]}
    for line in sys.stdin:
        message = json.loads(line)
        match message.get("method"):
            case "initialize":
                info = {"name": "shop", "version": "1.0"}
                result: Any = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
            case "tools/list":
                listed = [
                    {
                        "name": name,
                        "description": tool.get("description", ""),
                        "inputSchema": tool.get("schema", SCHEMA),
                        "annotations": tool.get("hints", {"readOnlyHint": True}),
                    }
                    for name, tool in tools.items()
                ]
                result = {"tools": listed}
            case "tools/call":
                name = message["params"]["name"]
                with Path(f"{file}.calls").open("a") as calls:
                    calls.write(json.dumps(message["params"].get("arguments")) + "\n")
                time.sleep(tools[name].get("wait_s", 0))
                result = {"content": [{"type": "text", "text": tools[name].get("says", f"{name} was called")}]}
            case _:
                continue
        send({"id": message["id"], "result": result})


if __name__ == "__main__":
    main(sys.argv[1])
