"""Proves that the mesh reaches real MCP servers, ours and others', over both transports, with persistent sessions."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chimera.core.errors import ToolRefused, ToolServerDown, ToolUnknown
from chimera.core.settings import Settings
from chimera.tools.capability import ToolResult
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.servers import ServerSpec, configured, first_party

SERVERS = Path(__file__).parents[1] / "servers"


def python(name: str, *args: str) -> ServerSpec:
    return ServerSpec(name=name, transport="stdio", command=sys.executable, args=list(args))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    command = [sys.executable, str(SERVERS / "sdk.py"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp/"
        process.kill()


async def call(mesh: ToolMesh, name: str, **arguments: Any) -> ToolResult:
    return await mesh.call(name, arguments, scope="m1", idempotency_key="k1")


async def test_both_transports_serve_beside_each_other_and_answer_alike(url: str, tmp_path: Path) -> None:
    http = ServerSpec(name="http", transport="http", url=url)
    async with ToolMesh([http, python("local", str(SERVERS / "sdk.py"))], Settings(home=tmp_path)) as mesh:
        tools = await mesh.capabilities()
        assert [tool.name for tool in tools if tool.tool == "echo"] == ["http__echo", "local__echo"]
        assert [(status.name, status.transport, status.state, status.version) for status in mesh.status()] == [
            ("http", "http", "up", "sdk 2.0"),
            ("local", "stdio", "up", "sdk 2.0"),
        ]
        for server in ("http", "local"):
            said = json.loads((await call(mesh, f"{server}__meta", a=1)).text)
            assert said["arguments"] == {"a": 1}, "scope and key stay out of the arguments"
            assert said["meta"] == {"chimera/scope": "m1", "chimera/idempotency-key": "k1"}
            await cancel_many(mesh, server)


async def hung(mesh: ToolMesh, server: str, what: str, count: int) -> None:
    """Wait until the server counts that many calls."""
    async with asyncio.timeout(40):
        while json.loads((await call(mesh, f"{server}__hung")).text)[what] != count:  # noqa: ASYNC110 - it calls nobody
            await asyncio.sleep(0.05)


async def cancel_many(mesh: ToolMesh, server: str) -> None:
    """Cancelled callers leave the session to others, and the server learns of each."""
    hanging = [asyncio.ensure_future(call(mesh, f"{server}__hang")) for _ in range(20)]
    await hung(mesh, server, "started", 20)
    for task in hanging:
        task.cancel()
    outcomes = await asyncio.gather(*hanging, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    await hung(mesh, server, "cancelled", 20)


async def test_only_the_server_that_is_needed_is_started_and_it_stays(tmp_path: Path) -> None:
    raw = [python(name, "-S", "-E", str(SERVERS / "raw.py")) for name in ("one", "two")]
    async with ToolMesh(raw, Settings(home=tmp_path)) as mesh:
        answers = await asyncio.gather(*(call(mesh, "two__meta") for _ in range(20)))
        assert len({json.loads(answer.text)["pid"] for answer in answers}) == 1
        assert {status.name: status.state for status in mesh.status()} == {"one": "idle", "two": "up"}


async def test_the_reference_server_of_the_mcp_project_works(tmp_path: Path) -> None:
    file = tmp_path / "servers.json"
    entry = {"command": sys.executable, "args": ["-m", "mcp_server_time", "--local-timezone", "${ZONE}"]}
    file.write_text(json.dumps({"mcpServers": {"time": entry}}))
    settings = Settings(home=tmp_path, servers=file)
    async with ToolMesh(configured(settings, {"ZONE": "Europe/Paris"}), settings) as mesh:
        convert, now = await mesh.capabilities()
        assert (convert.name, now.name) == ("time__convert_time", "time__get_current_time")
        assert now.read_only
        assert not now.destructive
        assert "Europe/Paris" in json.dumps(now.input_schema)
        result = await call(mesh, "time__get_current_time", timezone="Asia/Tokyo")
        assert json.loads(result.text)["timezone"] == "Asia/Tokyo"
        assert [piece.source for piece in result.evidence] == ["time"]
        with pytest.raises(ToolRefused, match="Mars"):
            await call(mesh, "time__get_current_time", timezone="Mars/Olympus")


async def test_our_own_servers_are_reached_without_our_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIMERA_MODEL_API_KEY", "canary-3")
    settings = Settings(home=tmp_path)
    raw = python("raw", "-S", "-E", str(SERVERS / "raw.py"))
    async with ToolMesh([*first_party(settings), raw], settings) as mesh:
        names = {tool.name for tool in await mesh.capabilities()}
        assert {"files__write_artifact", "files__read_artifact", "trends__analyze_trends"} <= names
        assert [status.dropped for status in mesh.status()] == [[], [], []]
        seen = json.loads((await call(mesh, "raw__environment")).text)
        assert "canary-3" not in seen.values()
        assert set(seen) <= {"HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LC_CTYPE"}


async def test_outside_its_block_the_mesh_says_so(tmp_path: Path) -> None:
    mesh = ToolMesh([], Settings(home=tmp_path))
    with pytest.raises(ToolServerDown, match="not open"):
        await mesh.capabilities()
    async with mesh:
        assert await mesh.capabilities() == []
        with pytest.raises(ToolUnknown, match="no server of that name"):
            await call(mesh, "nowhere__tool")
    with pytest.raises(ToolServerDown, match="not open"):
        await call(mesh, "nowhere__tool")
