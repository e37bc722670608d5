"""Processes that run a mission and can be stopped at any point of it, and what is left behind of them."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.rows import dict_row

from chimera.store.embedded import Endpoints

if TYPE_CHECKING:
    from tests.conftest import Nursery  # noqa: TID251 - its type alone

HERE = Path(__file__).parent
LEDGER = HERE.parent / "servers" / "ledger.py"
PATIENCE_S = 45.0


class Undertaker:
    """Starts processes that run missions, kills them, and looks at what they left."""

    def __init__(self, nursery: "Nursery", folder: Path, database_url: str, redis_url: str) -> None:
        self.database_url = database_url
        self._nursery = nursery
        self._effects, self._turns = folder / "effects.jsonl", folder / "turns.jsonl"
        self._effects.touch()
        self._turns.touch()
        servers = folder / "servers.json"
        command = {"command": sys.executable, "args": ["-I", "-S", str(LEDGER), str(self._effects)]}
        servers.write_text(json.dumps({"mcpServers": {"ledger": command}}), "utf-8")
        urls = {"database_url": database_url, "redis_url": redis_url}
        unasked = {"auto_approve": 0.8, "review_audit_share": 0.0}
        settings = {"home": str(folder / "home"), "servers": str(servers), **unasked, **urls}
        self._common = {"settings": settings, "effects": str(self._effects), "turns": str(self._turns)}
        self._pids: list[int] = []

    def close(self) -> None:
        """End every process that was started here."""
        self._nursery.kill(*self._pids)

    # --- orders ------------------------------------------------------------------------------------------------------

    def order(self, what: str, mission_id: str, **more: Any) -> int:
        """Have a process run or resume a mission; return its id."""
        order = {"do": what, "mission_id": mission_id, **more, **self._common}
        self._pids.append(self._nursery.start(HERE / "doomed.py", order))
        self.hear("begun", pid=self._pids[-1])
        return self._pids[-1]

    def hear(self, *kinds: str, pid: int) -> dict[str, Any]:
        """The next thing of one of these kinds that a process says."""
        return self._nursery.hear(*kinds, pid=pid)

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
        return found

    def no_orphans(self) -> bool:
        """Whether all tool servers go, within seconds."""
        until = time.monotonic() + PATIENCE_S
        while self.orphans() - set(self._pids) and time.monotonic() < until:
            time.sleep(0.02)
        return not self.orphans() - set(self._pids)


@pytest.fixture(scope="module")
def undertaker(
    nursery: "Nursery",
    tmp_path_factory: pytest.TempPathFactory,
    shared_database_url: str,
    endpoints: Endpoints,
    enrol: Callable[..., None],
) -> Generator[Undertaker]:
    """Processes on a database of this file's own."""
    enrol(shared_database_url, "ada")
    processes = Undertaker(nursery, tmp_path_factory.mktemp("doomed"), shared_database_url, endpoints.redis_url)
    yield processes
    processes.close()
