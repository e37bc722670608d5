"""Proves that whatever a server does against its protocol is a clear error of its own call, makes the server count as
not well, and disturbs nobody: a neighbour answers meanwhile, from the same process as before, and is well.

Proves FR-550, FR-551 and FR-554.
"""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chimera.core.errors import (
    ChimeraError,
    ToolFailed,
    ToolResultTooLarge,
    ToolServerDown,
    ToolTimeout,
    ToolUnknown,
)
from chimera.core.settings import Settings
from chimera.tools.capability import ToolResult
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.replicas import ServerStatus
from chimera.tools.mesh.servers import ServerSpec

SERVERS = Path(__file__).parents[1] / "servers"


def raw(name: str, *habits: str) -> ServerSpec:
    args = ["-S", "-E", str(SERVERS / "raw.py"), *habits]
    return ServerSpec(name=name, transport="stdio", command=sys.executable, args=args)


@pytest.fixture(scope="module")
def web() -> Iterator[int]:
    command = [sys.executable, "-S", "-E", str(SERVERS / "web.py"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


def at(port: int, path: str) -> ServerSpec:
    return ServerSpec(name="bad", transport="http", url=f"http://127.0.0.1:{port}/{path}")


async def call(mesh: ToolMesh, name: str, deadline_s: float = 20, **arguments: Any) -> ToolResult:
    return await mesh.call(name, arguments, scope="m1", idempotency_key="k1", deadline_s=deadline_s)


async def neighbours(mesh: ToolMesh) -> set[int]:
    """Call the neighbour a few times; the processes that answered."""
    found = [json.loads((await call(mesh, "good__meta")).text)["pid"] for _ in range(5)]
    return set(found)


def state(mesh: ToolMesh) -> dict[str, ServerStatus]:
    return {status.name: status for status in mesh.status()}


async def beside(mesh: ToolMesh, name: str, **arguments: Any) -> BaseException | ToolResult:
    """What a bad call came to, while the neighbour, which ran before, answered all the same."""
    before = await neighbours(mesh)
    bad, meanwhile = await asyncio.gather(call(mesh, name, **arguments), neighbours(mesh), return_exceptions=True)
    assert meanwhile == before
    assert (state(mesh)["good"].state, state(mesh)["good"].unhealthy) == ("up", "")
    return bad


@pytest.mark.parametrize(
    ("tool", "arguments", "error", "told", "unwell"),
    [
        ("half", {}, ToolFailed, "not a valid MCP message", "not a valid MCP message"),
        ("wrong", {}, ToolFailed, "not a valid tool result", "not a valid tool result"),
        ("latin", {}, ToolFailed, "not a valid MCP message", "not a valid MCP message"),
        ("big", {"mb": 50}, ToolResultTooLarge, "1,000,000 bytes", "1,000,000 bytes"),
        ("other_id", {"deadline_s": 1}, ToolTimeout, "no answer within 1 s", "a request that was not made"),
        ("flood", {}, ToolServerDown, "floods its output", "floods its output"),
    ],
)
async def test_over_a_pipe(
    tmp_path: Path, tool: str, arguments: dict[str, Any], error: type[ChimeraError], told: str, unwell: str
) -> None:
    async with ToolMesh([raw("bad"), raw("good")], Settings(home=tmp_path)) as mesh:
        await mesh.capabilities()
        assert state(mesh)["bad"].unhealthy == ""
        failed = await beside(mesh, f"bad__{tool}", **arguments)
        assert type(failed) is error
        assert told in str(failed)
        assert unwell in state(mesh)["bad"].unhealthy
        assert (await call(mesh, "bad__echo", text="still here")).text == "still here"


@pytest.mark.parametrize(
    ("path", "error", "told"),
    [
        ("garbage", ToolFailed, "not a valid MCP message"),
        ("latin", ToolFailed, "not a valid MCP message"),
        ("huge", ToolResultTooLarge, "1,000,000 bytes"),
        ("other-id", ToolFailed, "answered another request"),
        ("other-id-event", ToolFailed, "answered another request"),
    ],
)
async def test_over_http(web: int, tmp_path: Path, path: str, error: type[ChimeraError], told: str) -> None:
    async with ToolMesh([at(web, path), raw("good")], Settings(home=tmp_path)) as mesh:
        await mesh.capabilities()
        failed = await beside(mesh, "bad__broken")
        assert type(failed) is error
        assert told in str(failed)
        assert told in state(mesh)["bad"].unhealthy
        assert (await call(mesh, "bad__ok")).text == "fine"
        assert state(mesh)["bad"].unhealthy == "", "it answers again"


async def test_a_redirect_to_an_internal_address_is_not_followed(web: int, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inside:
        inside.setblocking(False)
        path = f"{inside.getsockname()[1]}/inside"
        async with ToolMesh([at(web, path), raw("good")], Settings(home=tmp_path)) as mesh:
            await mesh.capabilities()
            failed = await beside(mesh, "bad__broken")
            assert isinstance(failed, ToolServerDown)
            assert "not followed" in failed.message
            assert state(mesh)["bad"].unhealthy
        with pytest.raises(BlockingIOError):  # nobody has connected
            inside.accept()


async def test_requests_out_of_turn_are_refused_and_held_against_the_server(tmp_path: Path) -> None:
    async with ToolMesh([raw("bad"), raw("good")], Settings(home=tmp_path)) as mesh:
        await mesh.capabilities()
        answered = await beside(mesh, "bad__ask")
        assert isinstance(answered, ToolResult)
        assert [reply["error"]["message"] for reply in json.loads(answered.text)] == [
            "Sampling not supported",
            "Elicitation not supported",
            "List roots not supported",
        ]
        unhealthy = state(mesh)["bad"].unhealthy
        assert all(f"asked for {what}" in unhealthy for what in ("sampling", "elicitation", "list roots"))


async def test_an_answer_that_comes_too_late_is_no_offence(tmp_path: Path) -> None:
    async with ToolMesh([raw("slow")], Settings(home=tmp_path)) as mesh:
        await mesh.capabilities()
        with pytest.raises(ToolTimeout):
            await call(mesh, "slow__nap", seconds=1, deadline_s=0.3)
        assert (await call(mesh, "slow__echo", text="after it")).text == "after it"
        assert state(mesh)["slow"].unhealthy == ""


@pytest.mark.skipif(sys.platform != "linux", reason="who listens is read from Linux's /proc")
async def test_a_server_that_opens_a_port_instead_of_answering_is_named_and_ended(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, tool_start_timeout_s=3)
    async with ToolMesh([raw("bad", "port"), raw("good")], settings) as mesh:
        names = {tool.server for tool in await mesh.capabilities()}
        assert names == {"good"}
        failed = await beside(mesh, "bad__echo", text="x")
        assert isinstance(failed, ToolServerDown)
        assert "did not start within 3 s, but opened port" in state(mesh)["bad"].unhealthy
        port = int(state(mesh)["bad"].unhealthy.partition("opened port ")[2].partition(";")[0])
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0, "it went with the server"


async def test_tools_of_one_name_are_kept_apart_and_none_passes_for_ours(tmp_path: Path) -> None:
    async with ToolMesh([raw("bad", "messy"), raw("good"), raw("twin")], Settings(home=tmp_path)) as mesh:
        offered = {tool.name for tool in await mesh.capabilities()}
        assert {"good__meta", "twin__meta"} <= offered
        good, twin = [json.loads((await call(mesh, f"{name}__meta")).text)["pid"] for name in ("good", "twin")]
        assert good != twin
        assert any("imitates a tool of Chimera" in line for line in state(mesh)["bad"].dropped)
        for name in ("bad__files__write_artifact", "files__write_artifact"):
            with pytest.raises(ToolUnknown):
                await call(mesh, name)
