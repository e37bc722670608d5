"""Our MCP servers as processes, driven by the SDK's client over stdio and streamable HTTP.

Proves FR-52, FR-53 and FR-55. Also: they start without importing a framework, end when their parent is gone, listen on
the loopback interface only, and say in one line why they do not start.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "chimera" / "cli" / "sample" / "trending_sample.jsonl"
ATOM = ROOT / "tests" / "data" / "sample_atom.xml"
SCOPE = {"chimera/scope": "mission-1"}


def command(server: str, *options: str) -> list[str]:
    return [sys.executable, "-P", "-m", f"chimera.tools.servers.{server}", *options]


@contextlib.contextmanager
def http_server(server: str, env: dict[str, str]) -> Generator[str]:
    """The server over HTTP on a port that the system chose; gives its address."""
    process = subprocess.Popen(
        command(server, "--http", "0"), stdin=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **env}
    )
    assert process.stderr is not None
    assert process.stdin is not None
    try:
        hello = json.loads(process.stderr.readline())
        assert hello["listening"] == f"http://127.0.0.1:{hello['port']}/mcp"
        yield hello["listening"]
        process.stdin.close()  # as when its parent has died
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the artifacts of all tests here lie; each test has scopes of its own."""
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def environment(root: Path) -> dict[str, str]:
    """What the servers are told."""
    return {"CHIMERA_FEED_MAX_BYTES": "60000", "CHIMERA_ARTIFACTS": str(root)}


@pytest.fixture(scope="module")
def trends_over_http(environment: dict[str, str]) -> Generator[str]:
    """One server for all: over HTTP it has the SDK to import."""
    with http_server("trends", environment) as address:
        yield address


@pytest.fixture(scope="module")
def files_over_http(environment: dict[str, str]) -> Generator[str]:
    """One server for all."""
    with http_server("files", environment) as address:
        yield address


Connect = Callable[[str], contextlib.AbstractAsyncContextManager[ClientSession]]


@pytest.fixture(params=["stdio", "http"])
def connect(request: pytest.FixtureRequest, environment: dict[str, str]) -> Connect:
    """Opens a session with a server, by name, over either transport."""

    @contextlib.asynccontextmanager
    async def connected(server: str) -> AsyncGenerator[ClientSession]:
        async with asyncio.timeout(50), contextlib.AsyncExitStack() as stack:
            if request.param == "http":
                address: str = request.getfixturevalue(f"{server}_over_http")
                reading, writing, _ = await stack.enter_async_context(streamable_http_client(address))
            else:
                program, *options = command(server)
                parameters = StdioServerParameters(command=program, args=options, env={**os.environ, **environment})
                reading, writing = await stack.enter_async_context(stdio_client(parameters))
            session = await stack.enter_async_context(ClientSession(reading, writing))
            await session.initialize()
            yield session

    return connected


def text(result: types.CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return block.text


async def test_trends(connect: Connect) -> None:
    async with connect("trends") as session:
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert list(tools) == ["analyze_trends", "read_feed"]
        for tool in tools.values():
            assert tool.annotations is not None
            assert (tool.annotations.readOnlyHint, tool.annotations.destructiveHint) == (True, False)
        # The client checks structuredContent against the tool's outputSchema.
        found = await session.call_tool("analyze_trends", {"source": str(SAMPLE)})
        data = found.structuredContent or {}
        assert [riser["term"] for riser in data["risers"]] == ["Quillfern", "Nimbrook"]
        assert (data["rows"], data["broken_rows"], data["broken"][0]["row"]) == (201, 1, 121)
        assert json.loads(text(found)) == data
        assert (await session.call_tool("analyze_trends", {"source": str(SAMPLE)})).structuredContent == data
        picked = {"source": str(ATOM), "timeframe": "2d", "keywords": ["kelpwright"], "limit": 3}
        keywords = (await session.call_tool("analyze_trends", picked)).structuredContent or {}
        assert (keywords["timeframe"], keywords["keywords"][0]["now"], keywords["volume"]["now"]) == ("2d", 8, 8)
        latest = (await session.call_tool("read_feed", {"source": str(SAMPLE), "limit": 2})).structuredContent or {}
        assert [item["id"] for item in latest["evidence"]] == ["trending_sample:202", "trending_sample:201"]
        assert "IGNORE ALL PREVIOUS" in latest["posts"][1]["text"]


async def test_what_trends_refuses_has_a_code_and_a_remedy(connect: Connect, tmp_path: Path) -> None:
    big = tmp_path / "big.csv"
    big.write_text("at,b\n" + "2026-01-01,x\n" * 5_000)
    async with connect("trends") as session:
        for name, arguments, said in (
            ("analyze_trends", {"source": str(tmp_path / "missing")}, "CH102 "),
            ("analyze_trends", {"source": str(big)}, "CH102 "),
            ("analyze_trends", {"source": "/etc/passwd"}, "CH102 "),
            ("read_feed", {"source": str(tmp_path)}, "CH102 "),
            ("read_feed", {}, "CH100 arguments: source is missing"),
            ("read_feed", {"source": "x", "limit": 0}, "CH100 limit must be between"),
            ("analyze_trends", {"source": "x", "timeframe": "soon"}, "CH100 timeframe must match"),
            ("analyze_trends", {"source": "x", "evil": 1}, "CH100 arguments: unknown argument 'evil'"),
        ):
            result = await session.call_tool(name, arguments)
            assert result.isError, arguments
            assert text(result).startswith(said)
            assert " | " in text(result)
            assert "root:" not in text(result)
        with pytest.raises(McpError, match="Unknown tool"):
            await session.call_tool("publish", {})
        assert (await session.send_ping()) is not None


async def test_files(connect: Connect, root: Path, request: pytest.FixtureRequest) -> None:
    scope = request.node.callspec.id
    own = {"chimera/scope": scope}
    async with connect("files") as session:

        async def call(tool: str, meta: dict[str, Any] | None = own, **arguments: Any) -> types.CallToolResult:
            return await session.call_tool(tool, arguments, meta=meta)

        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        hints = tools["write_artifact"].annotations
        assert hints is not None
        assert (hints.readOnlyHint, hints.idempotentHint, hints.destructiveHint) == (False, True, False)
        first = await call("write_artifact", name="b.md", content="# Grüße\n", media_type="text/markdown")
        assert (await call("write_artifact", name="b.md", content="# Grüße\n", media_type="text/markdown")) == first
        stored = first.structuredContent or {}
        assert (root / scope / "b.md").read_text() == "# Grüße\n"
        assert (await call("list_artifacts")).structuredContent == {"artifacts": [stored]}
        read = (await call("read_artifact", name="b.md")).structuredContent
        assert read == {**stored, "content": "# Grüße\n", "truncated": False}
        assert text(await call("read_artifact", name="other")).startswith("CH104 ")

        for meta in (None, {}, {"chimera/scope": 7}, {"chimera/scope": f"../{scope}"}, {"scope": scope}):
            refused = await call("read_artifact", meta, name="b.md")
            assert refused.isError
            assert text(refused).startswith("CH100 ")
        assert (await call("list_artifacts", {"chimera/scope": "another"})).structuredContent == {"artifacts": []}
        for name in ("../x", "/tmp/x", "a/b", ".b.md.type", "x" * 65, "a\0b", "b.md\n"):
            refused = await call("write_artifact", name=name, content="x")
            assert refused.isError
            assert text(refused).startswith("CH100 ")
        assert sorted(path.name for path in (root / scope).iterdir()) == [".b.md.type", "b.md"]
        assert {path.name for path in root.iterdir()} <= {"stdio", "http"}


async def test_a_full_disk_is_ch304(tmp_path: Path) -> None:
    program = " ".join(f"'{part}'" for part in command("files", "--root", str(tmp_path)))
    parameters = StdioServerParameters(
        command="/bin/sh", args=["-c", f"ulimit -f 16; exec {program}"], env={**os.environ}
    )
    async with (
        asyncio.timeout(30),
        stdio_client(parameters) as (reading, writing),
        ClientSession(reading, writing) as session,
    ):
        await session.initialize()
        assert not (await session.call_tool("write_artifact", {"name": "a", "content": "old"}, meta=SCOPE)).isError
        result = await session.call_tool("write_artifact", {"name": "a", "content": "x" * 100_000}, meta=SCOPE)
        assert text(result).startswith("CH304 ")
        kept = await session.call_tool("read_artifact", {"name": "a"}, meta=SCOPE)
        assert (kept.structuredContent or {})["content"] == "old"
    assert sorted(path.name for path in (tmp_path / "mission-1").iterdir()) == [".a.type", "a"]


PARENT = """
import subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
server.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\\n')
server.stdin.flush()
if "--http" not in sys.argv:
    server.stdout.readline()
    print("ready", file=sys.stderr, flush=True)
server.wait()
"""


@pytest.mark.parametrize("options", [[], ["--http", "0"]])
def test_a_server_ends_when_its_parent_is_killed(options: list[str]) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *command("trends", *options)],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stderr is not None
    try:
        assert parent.stderr.readline()  # the server runs
        os.kill(parent.pid, signal.SIGKILL)
        assert parent.stderr.read() == b""  # both ends of it are closed: the server is gone, without a word
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
        parent.stderr.close()


def test_http_is_for_this_machine_and_no_web_page(trends_over_http: str) -> None:
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    headers = {"Accept": "application/json, text/event-stream"}
    address = trends_over_http
    with httpx.Client(headers=headers, timeout=20) as client:
        assert client.post(address, json=ping).json() == {"jsonrpc": "2.0", "id": 1, "result": {}}
        assert client.post(address, json=ping, headers={"Host": "evil.example.com"}).status_code == 421
        assert client.post(address, json=ping, headers={"Origin": "https://evil.example.com"}).status_code == 403
        assert (
            client.post(address, content=b"x" * 5_000_000, headers={"Content-Type": "application/json"}).status_code
            == 413
        )
        port = httpx.URL(address).port
        with pytest.raises(httpx.ConnectError):  # another address of the loopback network
            client.post(f"http://127.0.0.2:{port}/mcp", json=ping)


def test_starting_imports_no_framework() -> None:
    program = (
        "import sys, chimera.tools.servers.trends as trends, chimera.tools.servers.files, chimera.tools.servers.stdio\n"
        "trends.build().listing()\n"
        "print({'mcp', 'pydantic', 'httpx', 'feedparser', 'jsonschema', 'starlette'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("server", "options", "env", "said"),
    [
        ("trends", [], {"CHIMERA_FEED_MAX_BYTES": "many"}, "CH201 CHIMERA_FEED_MAX_BYTES is not a positive number | "),
        ("files", [], {"CHIMERA_ARTIFACTS": ""}, "CH201 no folder for artifacts is named | "),
    ],
)
def test_why_it_does_not_start_is_one_line(server: str, options: list[str], env: dict[str, str], said: str) -> None:
    done = subprocess.run(
        command(server, *options),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, **env},
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
