"""The stdio transport answers every kind of message as the protocol says, and bad ones stop nothing.

What it answers is parsed with the SDK's own types.
"""

import io
import json
import os
import threading
from typing import Any

from mcp import types

from chimera.core.errors import InputError
from chimera.tools.servers import stdio
from chimera.tools.servers.serving import Tool, ToolServer
from chimera.tools.servers.stdio import Connection

GO = threading.Event()


def run(arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    if arguments["do"] == "refuse":
        raise InputError("no such thing", remedy="Ask for another.")
    if arguments["do"] == "break":
        raise RuntimeError("canary-4411")
    if arguments["do"] == "wait":
        GO.wait(10)
    return {"said": arguments["do"], "scope": str(meta.get("scope", ""))}


CLOSED = {"type": "object", "additionalProperties": False}
SERVER = ToolServer(
    "test",
    "Only a test.",
    [
        Tool(
            name="act",
            title="Act",
            description="Does what it is told.",
            input_schema={**CLOSED, "required": ["do"], "properties": {"do": {"type": "string", "maxLength": 10}}},
            output_schema={**CLOSED, "properties": {"said": {"type": "string"}, "scope": {"type": "string"}}},
            run=run,
            read_only=True,
        )
    ],
)


def talk(*messages: object) -> list[dict[str, Any]]:
    """What the server answers to lines; bytes are sent as they are, everything else as JSON."""
    lines = b"".join(m if isinstance(m, bytes) else json.dumps(m).encode() + b"\n" for m in messages)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as answers:
        with os.fdopen(writing, "wb") as out:
            Connection(SERVER, io.BytesIO(lines), out).run()
        return [json.loads(line) for line in answers]


def call(do: str, asked: int | str = 1, **more: Any) -> dict[str, Any]:
    params = {"name": "act", "arguments": {"do": do}, **more}
    return {"jsonrpc": "2.0", "id": asked, "method": "tools/call", "params": params}


def test_the_greeting_speaks_the_asked_version_or_the_newest() -> None:
    for wanted, given in (
        ("2025-06-18", "2025-06-18"),
        ("2024-11-05", "2024-11-05"),
        ("1999-01-01", types.LATEST_PROTOCOL_VERSION),
    ):
        params = {"protocolVersion": wanted, "capabilities": {}, "clientInfo": {"name": "t", "version": "0"}}
        (answer,) = talk({"jsonrpc": "2.0", "id": "a", "method": "initialize", "params": params})
        result = types.InitializeResult.model_validate(answer["result"])
        assert (answer["id"], result.protocolVersion, result.serverInfo.name) == ("a", given, "test")
        assert result.capabilities.tools is not None


def test_tools_are_listed_with_schemas_and_hints() -> None:
    (answer,) = talk({"jsonrpc": "2.0", "id": 0, "method": "tools/list"})
    (tool,) = types.ListToolsResult.model_validate(answer["result"]).tools
    assert tool.annotations == types.ToolAnnotations(
        title="Act", readOnlyHint=True, destructiveHint=False, idempotentHint=True, openWorldHint=False
    )
    assert (tool.inputSchema["required"], tool.outputSchema is not None) == (["do"], True)


def test_a_call_gives_text_and_data() -> None:
    (answer,) = talk(call("hello", _meta={"scope": "m1", "progressToken": 3}))
    result = types.CallToolResult.model_validate(answer["result"])
    assert result.structuredContent == {"said": "hello", "scope": "m1"}
    assert isinstance(result.content[0], types.TextContent)
    assert json.loads(result.content[0].text) == result.structuredContent


def test_failed_calls_are_results_with_code_and_remedy() -> None:
    answers = {
        answer["id"]: answer["result"] for answer in talk(call("refuse", 1), call("break", 2), call("x" * 11, 3))
    }
    texts = {asked: result["content"][0]["text"] for asked, result in answers.items()}
    assert all(result["isError"] for result in answers.values())
    assert texts[1] == "CH100 no such thing | Ask for another."
    assert texts[2].startswith("CH600 act failed with RuntimeError | ")
    assert "canary" not in texts[2]
    assert texts[3].startswith("CH100 do must have 0 to 10 characters | ")


def test_bad_messages_are_answered_and_the_next_one_still_works() -> None:
    answers = talk(
        b"not json\n",
        b"\n",
        b"[" * 100_000 + b"\n",
        b"\xff\xfe\n",
        [{"jsonrpc": "2.0", "id": 1, "method": "ping"}],
        {"jsonrpc": "2.0", "id": 2},
        {"jsonrpc": "2.0", "id": None, "method": "ping"},
        {"jsonrpc": "2.0", "id": 3, "method": "resources/list"},
        {"jsonrpc": "2.0", "id": 4, "method": "ping", "params": [1]},
        {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "nothing"}},
        {"jsonrpc": "2.0", "id": 6, "method": "tools/call", "params": {"name": 7}},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": [1]}},
        {"jsonrpc": "2.0", "id": 9, "result": {}},
        {"jsonrpc": "2.0", "id": 10, "method": "ping"},
    )
    codes = sorted((str(answer["id"]), answer["error"]["code"]) for answer in answers if "error" in answer)
    of_nobody = [("None", code) for code in [-32700] * 3 + [-32600] * 3]
    assert codes == [("3", -32601), ("4", -32602), ("5", -32602), ("6", -32602), *of_nobody]
    assert [answer["id"] for answer in answers if "result" in answer] == [10]


def test_a_line_without_end_is_skipped(monkeypatch: Any) -> None:
    monkeypatch.setattr(stdio, "MAX_LINE", 1_000)
    answers = talk(b"x" * 5_000 + b"\n", call("after"))
    assert [answer.get("error", {}).get("code") for answer in answers] == [-32700, None]


def test_a_slow_call_does_not_hold_up_others_and_a_cancelled_one_stays_silent() -> None:
    reading, writing = os.pipe()
    asking, sending = os.pipe()
    with os.fdopen(sending, "wb") as client, os.fdopen(reading, "rb") as answers:

        def serve() -> None:
            with os.fdopen(asking, "rb") as requests, os.fdopen(writing, "wb") as out:
                Connection(SERVER, requests, out).run()

        def say(message: dict[str, Any]) -> None:
            client.write(json.dumps(message).encode() + b"\n")
            client.flush()

        GO.clear()
        thread = threading.Thread(target=serve)
        thread.start()
        say(call("wait", "slow"))
        say(call("wait", "dropped"))
        say({"jsonrpc": "2.0", "id": "p", "method": "ping"})
        assert json.loads(answers.readline())["id"] == "p"
        say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "dropped"}})
        say(call("quick", "q"))
        assert json.loads(answers.readline())["id"] == "q"
        client.close()  # what runs is still answered, since somebody reads
        GO.set()
        assert [json.loads(line)["id"] for line in answers] == ["slow"]
        thread.join(10)
        assert not thread.is_alive()
