"""Proves that an HTTP server that breaks, dies or breaks the protocol gives its own call an error and nothing else: no
cancelled caller, no lost session, no waiting until the deadline, no unbounded memory.
"""

import asyncio
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from chimera.core.clock import ManualClock
from chimera.core.errors import ChimeraError, ToolFailed, ToolResultTooLarge, ToolServerDown, ToolTimeout
from chimera.core.settings import Settings
from chimera.tools.capability import ToolResult
from chimera.tools.mesh.keeper import RETRY_START_S
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.servers import ServerSpec

WEB = Path(__file__).parents[1] / "servers" / "web.py"


class Program:
    """A server process that can be killed and started again on its port."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-S", "-E", str(WEB), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="module")
def web() -> Iterator[Program]:
    program = Program()
    yield program
    program.kill()


async def call(mesh: ToolMesh, name: str, deadline_s: float = 20, **arguments: Any) -> ToolResult:
    return await mesh.call(name, arguments, scope="m1", idempotency_key="k1", deadline_s=deadline_s)


def at(port: int, path: str) -> ServerSpec:
    headers = {"Authorization": SecretStr("Bearer canary")}
    return ServerSpec(name="web", transport="http", url=f"http://127.0.0.1:{port}/{path}", headers=headers)


BROKEN: list[tuple[str, type[ChimeraError], str]] = [
    ("status", ToolServerDown, "HTTP 503"),
    ("denied", ToolServerDown, "HTTP 401"),
    ("page", ToolFailed, "text/html instead of an MCP message"),
    ("accepted", ToolFailed, "without an answer"),
    ("garbage", ToolFailed, "not a valid MCP message"),
    ("garbage-event", ToolFailed, "not a valid MCP message"),
    ("latin", ToolFailed, "not a valid MCP message"),
    ("other-id", ToolFailed, "answered another request"),
    ("other-id-event", ToolFailed, "answered another request"),
    ("huge", ToolResultTooLarge, "1,000,000 bytes"),
    ("huge-event", ToolResultTooLarge, "1,000,000 bytes"),
    ("cut", ToolServerDown, "before the answer was complete; whether"),
    ("cut-event", ToolServerDown, "before the answer was complete; whether"),
    ("dropped", ToolServerDown, "connection was lost"),
    ("packed", ToolFailed, "compressed"),
    ("elsewhere", ToolServerDown, "not followed"),
    ("gone", ToolServerDown, "forgotten this session; the call was not made"),
]


@pytest.mark.parametrize(("fault", "error", "told"), BROKEN)
async def test_a_broken_answer_is_told_at_once_and_the_server_works_on(
    web: Program, tmp_path: Path, fault: str, error: type[ChimeraError], told: str
) -> None:
    async with ToolMesh([at(web.port, fault)], Settings(home=tmp_path)) as mesh:
        await mesh.capabilities()
        tracemalloc.start()
        try:
            with pytest.raises(error) as caught:
                await call(mesh, "web__broken")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert type(caught.value) is error
        assert told in caught.value.message
        assert "canary" not in str(caught.value.as_dict())
        assert peak < 16_000_000
        assert (await call(mesh, "web__ok")).text == "fine"
        assert mesh.status()[0].version == "web Bearer canary", "the headers of the settings were sent"


@pytest.mark.parametrize("fault", [fault for fault, _, _ in BROKEN])
async def test_a_server_that_breaks_at_the_start_is_down_with_its_reason(
    web: Program, tmp_path: Path, fault: str
) -> None:
    async with ToolMesh([at(web.port, f"start/{fault}")], Settings(home=tmp_path, tool_start_timeout_s=20)) as mesh:
        assert await mesh.capabilities() == []
        (status,) = mesh.status()
        assert status.state == "down"
        assert status.error
        assert "did not start within" not in status.error


@pytest.fixture
async def mesh(web: Program, tmp_path: Path) -> AsyncIterator[ToolMesh]:
    async with ToolMesh([at(web.port, "sound")], Settings(home=tmp_path)) as mesh:
        await mesh.capabilities()
        yield mesh


async def test_a_deadline_reaches_the_server_and_keeps_the_session(mesh: ToolMesh) -> None:
    with pytest.raises(ToolTimeout):
        await call(mesh, "web__hang", deadline_s=1)
    async with asyncio.timeout(40):
        while (await call(mesh, "web__ok")).text != "cancelled":
            pass


async def test_a_server_that_ignores_cancellation_holds_no_connection_of_ours(mesh: ToolMesh) -> None:
    with pytest.raises(ToolTimeout):
        await call(mesh, "web__stubborn", deadline_s=1)
    async with asyncio.timeout(40):
        while (await call(mesh, "web__ok")).text != "hung up":
            pass


@pytest.fixture
def mortal(web: Program) -> Iterator[Program]:
    """The server, to be killed; it runs again afterwards."""
    yield web
    web.kill()
    web.start()


async def test_the_death_of_the_server_cancels_no_caller(mesh: ToolMesh, mortal: Program) -> None:
    hanging = asyncio.ensure_future(call(mesh, "web__hang"))
    await call(mesh, "web__ok")
    for dying in (call(mesh, "web__die"), hanging):
        with pytest.raises(ToolServerDown, match="no answer from the server"):
            await dying


async def test_a_call_that_was_certainly_not_made_is_made_after_a_restart_even_if_it_writes(
    mesh: ToolMesh, mortal: Program, tmp_path: Path
) -> None:
    effects = tmp_path / "effects"
    await call(mesh, "web__append", path=str(effects))
    mortal.kill()
    mortal.start()  # it knows nothing of our session now, and says so
    await call(mesh, "web__append", path=str(effects))
    assert effects.read_text() == "done\n" * 2


async def test_a_call_to_a_server_that_is_gone_says_that_it_was_not_made(mesh: ToolMesh, mortal: Program) -> None:
    mortal.kill()
    with pytest.raises(ToolServerDown, match="the call was not made") as caught:
        await call(mesh, "web__append", path="/nowhere")
    assert caught.value.context["outcome"] == "not done"


async def test_a_server_that_cannot_be_reached_is_not_tried_again_at_every_call(
    mortal: Program, tmp_path: Path
) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    mortal.kill()
    async with ToolMesh([at(mortal.port, "sound")], Settings(home=tmp_path), clock) as mesh:
        assert await mesh.capabilities() == []
        mortal.start()
        with pytest.raises(ToolServerDown, match="cannot connect"):
            await call(mesh, "web__ok")
        clock.advance(RETRY_START_S)
        assert (await call(mesh, "web__ok")).text == "fine"
