"""A mission finds and uses a tool that nobody named, among more than 200 servers, while two of them die.

Proves FR-336, FR-338, FR-510, FR-523 and FR-541: the catalogue's servers are registered, none of them is started, and
the two that the mission comes to are real processes that are killed in the middle of its calls.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from chimera.core.clock import SystemClock
from chimera.store.audit import AuditLog
from chimera.store.embedded import Endpoints
from chimera.store.postgres import open_pool
from chimera.tools.catalogue.loading import catalogue
from chimera.tools.registry.model import ServerEntry
from chimera.tools.registry.registry import Registry

SHOP = Path(__file__).parent.parent / "servers" / "shop.py"
GOAL = "Tell me the phase of the moon tonight"
SAYS = "the moon tonight is waxing gibbous"
PATIENCE_S = 60.0


def moon(file: Path, name: str, text: str) -> ServerEntry:
    """A server with a tool for the goal, whose calls last long enough to die in."""
    file.write_text(json.dumps({"tools": [{"name": "moon_phase", "description": text, "says": SAYS, "wait_s": 2}]}))
    return ServerEntry.model_validate(
        {
            "name": name,
            "version": "1.0.0",
            "transport": "stdio",
            "command": sys.executable,
            "args": ["-I", "-S", str(SHOP), str(file)],
            "description": text,
            "offers": [{"name": "moon_phase", "description": text, "read_only": True}],
            "origin": {"source": "test"},
        }
    )


def register(url: str, entries: list[ServerEntry]) -> None:
    async def write() -> None:
        async with open_pool(url, 2) as pool:
            registry = Registry(pool, AuditLog(pool, SystemClock()), SystemClock())
            for entry in entries:
                await registry.add(entry, "ada")

    with ThreadPoolExecutor(1) as executor:
        executor.submit(asyncio.run, write()).result()


def killed(file: Path, *, for_good: bool) -> int:
    """Kill the server of a file as soon as it was called; its process id."""
    until = time.monotonic() + PATIENCE_S
    while not Path(f"{file}.calls").exists():
        assert time.monotonic() < until, f"{file.name} was never called"
        time.sleep(0.05)
    if for_good:
        file.unlink()
    pid = int(Path(f"{file}.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    return pid


@pytest.mark.long
def test_a_mission_uses_a_tool_that_nobody_named_while_two_servers_die(
    tmp_path: Path, database_url: str, endpoints: Endpoints, child_environment: Callable[..., dict[str, str]]
) -> None:
    first, second = tmp_path / "almanac.json", tmp_path / "observatory.json"
    entries = [
        *(listed.entry() for listed in catalogue()),
        moon(first, "almanac", "Tells the phase of the moon tonight."),
        moon(second, "observatory", "Tells the phase of the moon on any night, as observed."),
    ]
    assert len(entries) > 200
    register(database_url, entries)
    nothing = tmp_path / "bin"  # with no command in it, no package of the catalogue can be fetched or run
    nothing.mkdir()
    environment = child_environment(
        CHIMERA_DATABASE_URL=database_url, CHIMERA_REDIS_URL=endpoints.redis_url, PATH=nothing
    )

    def chimera(*arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "chimera", *arguments]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, env=environment, cwd=tmp_path, **pipes)

    mission = chimera("run", GOAL, "--json")
    try:
        pids = {killed(first, for_good=True)}
        pids.add(killed(second, for_good=False))
        printed, said = mission.communicate(timeout=PATIENCE_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            mission.kill()
    assert mission.returncode == 0, (printed, said)
    result = json.loads(printed)
    assert result["status"] == "done"
    assert SAYS in result["answer"]
    assert len(pids) == 2
    assert int(Path(f"{second}.pid").read_text()) not in pids, "it was started again for the same call"

    shown = json.loads(chimera("show", result["mission_id"], "--json").communicate(timeout=PATIENCE_S)[0])
    (task,) = shown["tasks"]
    assert task["plan"]["tools"] == ["almanac__moon_phase"], "what it was planned with died; what it used was found"
    used = [observed["capability"] for observed in task["result"]["observations"]]
    assert used == ["chimera__find_tools", "observatory__moon_phase"]

    search = chimera("tools", "search", "phase of the moon", "--k", "2", "--json")
    found = json.loads(search.communicate(timeout=PATIENCE_S)[0])["tools"]
    assert {tool["name"] for tool in found} == {"almanac__moon_phase", "observatory__moon_phase"}
