"""Proves that no process of a server is left behind, nor one that it started: not after the mesh is left, not after a
kill -9 of Chimera, not after the server has died. Proves FR-553.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chimera.core.errors import ToolServerDown
from chimera.core.settings import Settings
from chimera.tools.mesh import child
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.servers import ServerSpec

RAW = Path(__file__).parents[1] / "servers" / "raw.py"
OWNER = """
import asyncio, sys
from pathlib import Path
from chimera.core.settings import Settings
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.servers import ServerSpec

async def main():
    args = ["-S", "-E", sys.argv[1], "deaf", "parent"]
    spec = ServerSpec(name="deaf", transport="stdio", command=sys.executable, args=args)
    async with ToolMesh([spec], Settings(home=Path(sys.argv[2]))) as mesh:
        print((await mesh.call("deaf__meta", {}, scope="m", idempotency_key="k")).text, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""
QUIET = """
import logging
import anyio
from mcp import ClientSession
import chimera.tools.mesh.manners

async def main():
    (to_us, ours), (from_us, theirs) = (anyio.create_memory_object_stream(0) for _ in range(2))
    ours.close()
    async with ClientSession(ours, from_us):
        await anyio.wait_all_tasks_blocked()
    for stream in (to_us, theirs):
        stream.close()

anyio.run(main)
print(logging.getLogger().handlers)
"""
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's tie to the parent exists on Linux only")


def alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def gone(pid: int) -> None:
    async with asyncio.timeout(40):
        while alive(pid):  # noqa: ASYNC110 - no event tells of a process that is not ours
            await asyncio.sleep(0.02)


def deaf() -> ServerSpec:
    args = ["-S", "-E", str(RAW), "deaf", "parent"]
    return ServerSpec(name="deaf", transport="stdio", command=sys.executable, args=args)


@linux_only
async def test_leaving_the_mesh_ends_even_a_server_that_ignores_every_hint(tmp_path: Path) -> None:
    async with ToolMesh([deaf()], Settings(home=tmp_path)) as mesh:
        said = await mesh.call("deaf__meta", {}, scope="m", idempotency_key="k")
        found = json.loads(said.text)
        assert alive(found["pid"])
        assert all(map(alive, found["strays"]))
    assert not alive(found["pid"])
    assert [alive(pid) for pid in found["strays"]] == [False]


@linux_only
async def test_what_a_dead_server_left_behind_ends_too(tmp_path: Path) -> None:
    async with ToolMesh([deaf()], Settings(home=tmp_path)) as mesh:
        said = await mesh.call("deaf__meta", {}, scope="m", idempotency_key="k")
        (stray,) = json.loads(said.text)["strays"]
        with pytest.raises(ToolServerDown, match="ended by itself"):
            await mesh.call("deaf__die", {}, scope="m", idempotency_key="k")
        await gone(stray)


@linux_only
async def test_kill_9_of_the_owner_leaves_no_orphan(tmp_path: Path) -> None:
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(RAW), str(tmp_path), stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    async with asyncio.timeout(50):
        found = json.loads(await owner.stdout.readline())
    left = [found["pid"], *found["strays"]]
    assert len(left) == 2
    assert all(map(alive, left))
    os.kill(owner.pid, signal.SIGKILL)
    await owner.wait()
    for pid in left:
        await gone(pid)


async def test_a_session_that_ends_early_gives_the_root_logger_no_handler() -> None:
    """Proves FR-558."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", QUIET, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert await process.communicate() == (b"[]\n", b"")


@linux_only
async def test_a_start_that_lost_its_parent_already_does_not_happen(tmp_path: Path) -> None:
    proof = tmp_path / "started"
    nobody = "999999999"
    process = await asyncio.create_subprocess_exec(
        *[
            sys.executable,
            "-I",
            "-S",
            str(child.__file__),
            nobody,
            str(tmp_path / "x" / "log"),
            "2048",
            "touch",
            str(proof),
        ]
    )
    assert await process.wait() == child.CANNOT_EXECUTE
    assert not proof.exists()


async def test_the_launcher_names_a_command_that_cannot_run_and_cuts_an_overgrown_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "server.log"
    log.parent.mkdir()
    log.write_bytes(b"x" * (child.LOG_MAX_BYTES + 1))
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-I", "-S", str(child.__file__), str(os.getpid()), str(log), "2048", str(tmp_path)]
    )
    assert await process.wait() == child.CANNOT_EXECUTE
    assert log.read_text() == f"{tmp_path}: Permission denied\n"


@linux_only
async def test_the_server_inherits_no_ignored_or_blocked_signals(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-I", "-S", str(child.__file__), str(os.getpid()), str(tmp_path / "log"), "2048"],
        *["grep", "-E", "SigIgn|SigBlk", "/proc/self/status"],
        stdout=subprocess.PIPE,
    )
    shown, _ = await process.communicate()
    blocked, ignored = (int(line.split()[1], 16) for line in shown.splitlines())
    assert not ignored >> (signal.SIGPIPE - 1) & 1
    assert not blocked >> (signal.SIGTERM - 1) & 1
