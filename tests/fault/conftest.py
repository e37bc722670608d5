"""Processes that run a mission and can be stopped at any point of it, and what is left behind of them."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from chimera.store.embedded import Endpoints

HERE = Path(__file__).parent
LEDGER = HERE.parent / "servers" / "ledger.py"
PATIENCE_S = 45.0


class Undertaker:
    """Starts processes that run missions, kills them, and looks at what they left."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        self.database_url = database_url
        self._effects, self._turns = folder / "effects.jsonl", folder / "turns.jsonl"
        self._effects.touch()
        self._turns.touch()
        servers = folder / "servers.json"
        command = {"command": sys.executable, "args": ["-I", "-S", str(LEDGER), str(self._effects)]}
        servers.write_text(json.dumps({"mcpServers": {"ledger": command}}), "utf-8")
        urls = {"database_url": database_url, "redis_url": redis_url}
        settings = {"home": str(folder / "home"), "servers": str(servers), "auto_approve": 0.8, **urls}
        config = {"settings": settings, "effects": str(self._effects), "turns": str(self._turns)}
        self._pids: list[int] = []
        self._unread = b""
        self._heard: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(HERE / "doomed.py"), json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.hear("ready")

    def close(self) -> None:
        """End every process that was started here."""
        for pid in self._pids:
            self.kill(pid)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(PATIENCE_S)

    # --- orders ------------------------------------------------------------------------------------------------------

    def order(self, what: str, mission_id: str, **more: Any) -> int:
        """Have a process run or resume a mission; return its id."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, "mission_id": mission_id, **more}).encode() + b"\n")
        self._process.stdin.flush()
        pid = int(self.hear("begun")["pid"])
        self._pids.append(pid)
        return pid

    def hear(self, *kinds: str, pid: int | None = None) -> dict[str, Any]:
        """The next thing of one of these kinds that a process says."""
        until = time.monotonic() + PATIENCE_S
        while True:
            for place, said in enumerate(self._heard):
                if any(kind in said for kind in kinds) and pid in (None, said["pid"]):
                    return self._heard.pop(place)
            self._listen(until)

    def _listen(self, until: float) -> None:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
        read = os.read(self._process.stdout.fileno(), 1_000_000) if ready else b""
        assert read, f"nothing more was said; before: {self._heard}"
        *lines, self._unread = (self._unread + read).split(b"\n")
        self._heard += [json.loads(line) for line in lines]

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process and its group."""
        with suppress(ProcessLookupError):
            os.killpg(pid, number)

    def resumed(self, mission_id: str) -> dict[str, Any]:
        """The result after another process resumed the mission."""
        pid = self.order("resume", mission_id)
        said = self.hear("result", "error", pid=pid)
        assert "result" in said, said
        return said["result"]

    # --- what is left ------------------------------------------------------------------------------------------------

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of the database."""
        with psycopg.connect(self.database_url) as connection, connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode(), values).fetchall()

    def done(self, mission_id: str) -> set[str]:
        """The titles of the tasks that are finished."""
        rows = self.rows("SELECT title FROM tasks WHERE mission_id = %s AND state = 'done'", mission_id)
        return {str(row["title"]) for row in rows}

    def turns(self, mission_id: str, role: str = "worker") -> list[dict[str, Any]]:
        """Every turn that the model of a role took for the mission."""
        turns = [json.loads(line) for line in self._turns.read_text("utf-8").splitlines()]
        return [turn for turn in turns if (turn["mission"], turn["role"]) == (mission_id, role)]

    def effects(self, mission_id: str) -> list[dict[str, Any]]:
        """Every effect that happened for the mission: ``text`` is what of the mission."""
        effects = [json.loads(line) for line in self._effects.read_text("utf-8").splitlines()]
        mine = [effect for effect in effects if effect["text"].startswith(mission_id)]
        return [{**effect, "text": effect["text"].removeprefix(mission_id).strip()} for effect in mine]

    def orphans(self) -> set[int]:
        """The tool servers that still run."""
        found: set[int] = set()
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and str(self._effects).encode() in (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
        return found - {self._process.pid}

    def no_orphans(self) -> bool:
        """Whether all tool servers go, within seconds."""
        until = time.monotonic() + PATIENCE_S
        while self.orphans() - set(self._pids) and time.monotonic() < until:
            time.sleep(0.02)
        return not self.orphans() - set(self._pids)


@pytest.fixture(scope="module")
def undertaker(
    tmp_path_factory: pytest.TempPathFactory,
    shared_database_url: str,
    endpoints: Endpoints,
    enrol: Callable[..., None],
) -> Generator[Undertaker]:
    """Processes on a database of this file's own."""
    enrol(shared_database_url, "ada")
    processes = Undertaker(tmp_path_factory.mktemp("doomed"), shared_database_url, endpoints.redis_url)
    yield processes
    processes.close()
