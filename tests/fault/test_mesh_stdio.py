"""Proves that a stdio server with any bad habit harms only its own calls: each gets an error with a code, the session
or its replacement works on, and neither memory nor the terminal suffers.

Proves FR-73, FR-74 and FR-556.
"""

import asyncio
import json
import logging
import os
import signal
import stat
import sys
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chimera.core.errors import (
    ChimeraError,
    ToolFailed,
    ToolRefused,
    ToolResultTooLarge,
    ToolServerDown,
    ToolTimeout,
    ToolUnknown,
)
from chimera.core.settings import Settings
from chimera.tools.capability import ToolResult
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.servers import ServerSpec

RAW = Path(__file__).parents[1] / "servers" / "raw.py"


def spec(name: str, *habits: str) -> ServerSpec:
    # -S and -E: the server needs the standard library only, and starts the faster
    command = ["-S", "-E", str(RAW), *habits]
    return ServerSpec(name=name, transport="stdio", command=sys.executable, args=command)


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[ToolMesh]:
    async with ToolMesh([spec("raw", "noisy"), spec("other")], Settings(home=tmp_path)) as mesh:
        yield mesh


async def call(mesh: ToolMesh, name: str, deadline_s: float | None = None, **arguments: Any) -> ToolResult:
    return await mesh.call(name, arguments, scope="m1", idempotency_key="k1", deadline_s=deadline_s)


async def pid_of(mesh: ToolMesh, server: str) -> int:
    return json.loads((await call(mesh, f"{server}__meta")).text)["pid"]


async def test_no_bad_server_loses_the_others(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, tool_start_timeout_s=3)
    missing = ServerSpec(name="missing", transport="stdio", command="no-such-command-anywhere")
    specs = [spec("mute", "mute"), spec("dead", "dead"), spec("messy", "messy"), missing, spec("well", "noisy")]
    async with ToolMesh(specs, settings) as mesh:
        assert {status.state for status in mesh.status()} == {"idle"}
        names = [tool.name for tool in await mesh.capabilities()]
        state = {status.name: status for status in mesh.status()}
        assert [name for name in names if not name.startswith("well__")] == ["messy__good", "messy__tree"]
        assert "well__echo" in names
        assert names == sorted(names)
        assert {name: status.state for name, status in state.items()} == {
            "dead": "down",
            "messy": "up",
            "missing": "down",
            "mute": "down",
            "well": "up",
        }
        assert "did not start within 3 s" in state["mute"].error
        assert "no-such-command-anywhere is not found" in state["missing"].error
        assert str(tmp_path / "logs" / "dead.log") in state["dead"].error
        assert "cannot start" in (tmp_path / "logs" / "dead.log").read_text()
        assert state["well"].version == "raw 1.0"
        with pytest.raises(ToolServerDown, match="the call was not made"):
            await call(mesh, "mute__echo")


async def test_unusable_tools_are_dropped_with_their_reasons(tmp_path: Path) -> None:
    async with ToolMesh([spec("messy", "messy")], Settings(home=tmp_path)) as mesh:
        good, tree = await mesh.capabilities()
        assert good.description == "[31mfirst", "the first of two, without what steers a terminal"
        dropped = dict(line.split(": ", 1) for line in mesh.status()[0].dropped)
        assert "second tool of this name" in dropped["good"]
        assert "name must be" in dropped["has space"]
        assert "not valid" in dropped["bad_schema"]
        assert "not an object" in dropped["no_object"]
        assert "another document" in dropped["remote_schema"]
        assert "too complex" in dropped["loop_schema"]
        assert tree.name == "messy__tree", "a schema that says how a list goes on can be used"
        assert "imitates a tool of Chimera" in dropped["files__write_artifact"]
        assert "imitates a tool of Chimera" in dropped["Trends__analyze_trends"]
        assert "not valid" in dropped["bad_output"]
        assert "not a tool description" in dropped["no_schema"]
        assert "not a tool description" in dropped["(no name)"]
        with pytest.raises(ToolUnknown, match="another document"):
            await call(mesh, "messy__remote_schema")


@pytest.mark.parametrize(
    ("tool", "error", "told"),
    [
        ("refuse", ToolRefused, "no such[2J row"),
        ("error", ToolRefused, "bad arguments"),
        ("wrong", ToolFailed, "not a valid tool result"),
        ("half", ToolFailed, "not a valid MCP message"),
        ("latin", ToolFailed, "not a valid MCP message"),
        ("nonesuch", ToolUnknown, "no such tool"),
        ("die", ToolServerDown, "whether the call took effect is unknown"),
        ("flood", ToolServerDown, "floods its output"),
    ],
)
async def test_a_call_that_goes_wrong_has_a_code_and_the_server_works_on(
    mesh: ToolMesh, tool: str, error: type[ChimeraError], told: str
) -> None:
    with pytest.raises(error) as caught:
        await call(mesh, f"raw__{tool}")
    assert type(caught.value) is error
    assert told in caught.value.message
    assert "\n" not in caught.value.message
    assert (await call(mesh, "raw__echo", text="still here")).text == "still here"
    assert (await call(mesh, "other__echo", text="here too")).text == "here too"


async def test_noise_on_both_outputs_reaches_neither_the_result_nor_the_terminal_nor_the_root_logger(
    mesh: ToolMesh, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert (await call(mesh, "raw__noise")).text == "still here"
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    log = tmp_path / "logs" / "raw.log"
    assert "SECRET STDERR" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_fifty_megabytes_cost_neither_memory_nor_the_session(mesh: ToolMesh) -> None:
    pid = await pid_of(mesh, "raw")
    tracemalloc.start()
    try:
        with pytest.raises(ToolResultTooLarge, match="1,000,000 bytes"):
            await call(mesh, "raw__big", mb=50)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16_000_000
    assert await pid_of(mesh, "raw") == pid, "the same process serves on"


async def test_a_result_just_over_the_limit_is_refused_and_one_below_is_taken(mesh: ToolMesh) -> None:
    assert len((await call(mesh, "raw__echo", text="x" * 200_000)).text) == 200_000
    with pytest.raises(ToolResultTooLarge):
        await call(mesh, "raw__big", mb=1)


async def test_a_deadline_tells_the_server_and_keeps_the_session(mesh: ToolMesh) -> None:
    pid = await pid_of(mesh, "raw")
    with pytest.raises(ToolTimeout) as caught:
        await call(mesh, "raw__hang", deadline_s=0.2)
    assert caught.value.context["outcome"] == "unknown"
    async with asyncio.timeout(40):
        while not json.loads((await call(mesh, "raw__cancelled")).text):
            pass
    assert await pid_of(mesh, "raw") == pid


@pytest.mark.parametrize("tool", ["die_once", "die_once_idempotent"])
async def test_a_call_that_may_be_repeated_survives_the_death_of_its_server(
    mesh: ToolMesh, tmp_path: Path, tool: str
) -> None:
    effects = tmp_path / "effects"
    assert (await call(mesh, f"raw__{tool}", path=str(effects))).text == "second try"
    assert effects.read_text() == "done\n" * 2


async def test_a_call_that_may_not_be_repeated_is_not(mesh: ToolMesh, tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    with pytest.raises(ToolServerDown) as caught:
        await call(mesh, "raw__die_once_writing", path=str(effects))
    assert caught.value.context["outcome"] == "unknown"
    assert effects.read_text() == "done\n"


async def test_all_calls_under_way_learn_that_their_server_died(mesh: ToolMesh) -> None:
    pid = await pid_of(mesh, "raw")
    await call(mesh, "other__echo", text="warm")
    waiting = [asyncio.ensure_future(call(mesh, "raw__hang", deadline_s=2)) for _ in range(5)]
    beside = asyncio.ensure_future(call(mesh, "other__hang", deadline_s=1))
    await call(mesh, "raw__echo", text="the hanging calls were sent before this")
    os.kill(pid, signal.SIGKILL)
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    # read-only calls are repeated once on the new process, where they hang again until their deadline
    assert {type(outcome) for outcome in outcomes} == {ToolTimeout}
    assert await pid_of(mesh, "raw") != pid
    with pytest.raises(ToolTimeout):
        await beside


async def test_servers_may_not_question_the_model_or_the_user(mesh: ToolMesh) -> None:
    replies = json.loads((await call(mesh, "raw__ask")).text)
    assert [reply["error"]["message"] for reply in replies] == [
        "Sampling not supported",
        "Elicitation not supported",
        "List roots not supported",
    ]


@pytest.mark.parametrize("bad", ["\ud800", float("nan"), {1, 2}, "x" * 300_000])
async def test_arguments_that_cannot_be_sent_are_refused_before_the_server_sees_them(mesh: ToolMesh, bad: Any) -> None:
    with pytest.raises(ToolRefused, match="arguments"):
        await call(mesh, "raw__echo", text=bad)
    assert mesh.status()[1].state == "idle"
