"""What all tests share: embedded servers, a database for each test, settings that reach both, and processes."""

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import settings as hypothesis_settings
from psycopg.conninfo import make_conninfo

from chimera.core.clock import SystemClock
from chimera.core.errors import StoreError
from chimera.core.recursion import keep_recursion_limit
from chimera.core.settings import Settings
from chimera.store.embedded import EmbeddedServers, Endpoints
from chimera.store.migrate import migrate
from chimera.store.postgres import Pool, open_pool
from chimera.store.principals import Principal, PrincipalKind, PrincipalStore

keep_recursion_limit()  # as in every process that pays

for name in [name for name in os.environ if name.startswith("CHIMERA_") and name != "CHIMERA_DATA"]:
    del os.environ[name]  # a developer's own settings must not decide what the tests see
os.environ |= {
    "DEEPEVAL_TELEMETRY_OPT_OUT": "YES",
    "LANGSMITH_TRACING": "false",
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
}

# How many examples of a property are tried where a test does not say; `make test-all` tries many.
for profile, examples in {"few": 40, "many": 300}.items():
    hypothesis_settings.register_profile(profile, max_examples=examples, deadline=None)
hypothesis_settings.load_profile("few")


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Generator[tuple[Path, Endpoints]]:
    """The embedded servers of this session, shared by all its processes: their data folder and where they listen."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "home"
    servers = EmbeddedServers(folder, idle_s=5)
    yield folder, asyncio.run(servers.acquire())
    asyncio.run(servers.release())
    with contextlib.suppress(StoreError):  # refused until the last worker has gone
        asyncio.run(servers.purge())


@pytest.fixture(scope="session")
def home(embedded: tuple[Path, Endpoints]) -> Path:
    """The data folder of the running embedded servers, as ``CHIMERA_HOME`` of child processes."""
    return embedded[0]


@pytest.fixture(scope="session")
def endpoints(embedded: tuple[Path, Endpoints]) -> Endpoints:
    """Where the embedded servers listen."""
    return embedded[1]


@pytest.fixture(scope="session")
def template_database(endpoints: Endpoints, worker_id: str) -> str:
    """A database with the current schema, to be copied."""
    name = f"template_{worker_id}"
    with psycopg.connect(endpoints.database_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}"'.encode())
        connection.execute(f'CREATE DATABASE "{name}"'.encode())

    async def fill() -> None:
        async with open_pool(_named(endpoints.database_url, name), 2) as pool:
            await migrate(pool)

    asyncio.run(fill())
    return name


@pytest.fixture
def empty_database_url(endpoints: Endpoints) -> Generator[str]:
    """A database of this test's own, without any table."""
    yield from _database(endpoints, "template1")


@pytest.fixture
def database_url(endpoints: Endpoints, template_database: str) -> Generator[str]:
    """A database of this test's own, with the current schema."""
    yield from _database(endpoints, template_database)


@pytest.fixture(scope="module")
def shared_database_url(endpoints: Endpoints, template_database: str) -> Generator[str]:
    """A database for all tests of a file whose missions do not see each other."""
    yield from _database(endpoints, template_database)


@pytest.fixture
async def pool(database_url: str) -> AsyncGenerator[Pool]:
    """Connections to this test's database."""
    async with open_pool(database_url, 8) as opened:
        yield opened


NURSERY = Path(__file__).parent / "nursery.py"
PATIENCE_S = 45.0


class Nursery:
    """Processes that need not load Chimera first: forked by one that has (``nursery.py``)."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        command = [sys.executable, "-P", str(NURSERY), str(theirs.fileno())]
        self._process = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
        )
        theirs.close()
        self._unread = b""
        self._heard: list[dict[str, Any]] = []
        self._living: set[int] = set()
        self.hear("ready")

    def start(self, program: Path, order: dict[str, Any]) -> int:
        """Have ``live`` of a program called with the order, in a process of its own; return its id."""
        return self._start({"program": str(program), "order": order}, [])

    def chimera(
        self, *arguments: str, environment: dict[str, str], folder: Path, descriptors: tuple[int, int, int]
    ) -> int:
        """Run a command, with these three as its stdin, stdout and stderr; return the process's id."""
        asked = {"chimera": arguments, "environment": environment, "folder": str(folder)}
        return self._start(asked, [*descriptors])

    def _start(self, asked: dict[str, Any], descriptors: list[int]) -> int:
        line = json.dumps(asked).encode() + b"\n"
        sent = socket.send_fds(self._channel, [line], descriptors)
        self._channel.sendall(line[sent:])
        pid = int(self.hear("born")["pid"])
        self._living.add(pid)
        return pid

    def hear(self, *kinds: str, pid: int | None = None, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """The next thing of one of these kinds that a process says."""
        until = time.monotonic() + patience_s
        while True:
            for place, said in enumerate(self._heard):
                if any(kind in said for kind in kinds) and pid in (None, said["pid"]):
                    return self._heard.pop(place)
            self._listen(until)

    def _listen(self, until: float) -> None:
        ready, _, _ = select.select([self._channel], [], [], max(0.0, until - time.monotonic()))
        read = self._channel.recv(1_000_000) if ready else b""
        assert read, f"nothing more was said; before: {self._heard[-20:]}"
        *lines, self._unread = (self._unread + read).split(b"\n")
        said: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self._living -= {one["pid"] for one in said if "ended" in one}
        self._heard += said

    def ends(self, pid: int, patience_s: float = PATIENCE_S) -> int:
        """Wait until a process has ended; return its exit code, negative for the signal that ended it."""
        return int(self.hear("ended", pid=pid, patience_s=patience_s)["code"])

    def lives(self, pid: int) -> bool:
        """Whether a process has not ended yet."""
        while select.select([self._channel], [], [], 0)[0]:
            self._listen(time.monotonic())
        return pid in self._living

    def kill(self, *pids: int) -> None:
        """Kill those of the processes, and their groups, that live; the id of one that has ended may be another's."""
        for pid in filter(self.lives, pids):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def close(self) -> None:
        """End every process."""
        self.kill(*self._living)
        self._channel.close()
        self._process.wait(PATIENCE_S)


@pytest.fixture(scope="session")
def nursery() -> Generator[Nursery]:
    """What starts processes that have loaded Chimera."""
    made = Nursery()
    yield made
    made.close()


Enrol = Callable[..., None]


@pytest.fixture(scope="session")
def enrol() -> Enrol:
    """Enrols people in a database, as ``enrol(url, "ada", ...)``: operators, unless it says otherwise.

    They are not put on the record, so that a test finds its own events there and no others.
    """

    def build(
        url: str,
        *names: str,
        kind: PrincipalKind = "human",
        roles: tuple[str, ...] = ("operator",),
        tenant: str = "default",
    ) -> None:
        async def write() -> None:
            async with open_pool(url, 2) as opened:
                store = PrincipalStore(opened)
                async with store.changing(tenant) as (connection, _):
                    for name in names:
                        at = SystemClock().now()
                        await store.write(connection, Principal(tenant, name, kind, roles, at, "the tests"))

        # In a thread: a test may have a loop of its own.
        with ThreadPoolExecutor(1) as executor:
            executor.submit(asyncio.run, write()).result()

    return build


@pytest.fixture
def settings(tmp_path: Path, database_url: str, endpoints: Endpoints) -> Settings:
    """Settings of an installation of this test's own, on the offline model."""
    return Settings.model_validate(
        {"home": tmp_path / "home", "database_url": database_url, "redis_url": endpoints.redis_url}
    )


@pytest.fixture
def clock() -> SystemClock:
    """The machine's clock."""
    return SystemClock()


@pytest.fixture
def data() -> Path:
    """The folder of real data; a test that needs it is skipped where there is none."""
    folder = Path(os.environ.get("CHIMERA_DATA", ""))
    if not os.environ.get("CHIMERA_DATA") or not folder.is_dir():
        pytest.skip("CHIMERA_DATA names no folder with the real data sets")
    return folder


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    """A small feed with one clear riser, made for the tests."""
    lines = ["at,text"]
    for day in range(1, 15):
        lines += [f"2026-03-{day:02d}T0{hour}:00:00Z,steady topic number {hour}" for hour in range(3)]
        if day > 12:
            lines += [f"2026-03-{day:02d}T1{hour}:00:00Z,comet sighting reported" for hour in range(8)]
    path = tmp_path / "posts.csv"
    path.write_text("\n".join(lines), "utf-8")
    return path


@pytest.fixture
def child_environment(home: Path) -> Callable[..., dict[str, str]]:
    """The environment for a child process that uses the shared embedded servers."""

    def build(**extra: Any) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("CHIMERA_")}
        return {**kept, "CHIMERA_HOME": str(home), **{key: str(value) for key, value in extra.items()}}

    return build


def _database(endpoints: Endpoints, template: str) -> Generator[str]:
    name = f"t_{uuid.uuid4().hex}"
    with psycopg.connect(endpoints.database_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
    yield _named(endpoints.database_url, name)
    while not _dropped(endpoints, name):
        time.sleep(0.1)


def _dropped(endpoints: Endpoints, name: str) -> bool:
    """Drop a database, unless Postgres vacuums it at the moment: that process cannot be ended by us."""
    with psycopg.connect(endpoints.database_url, autocommit=True) as connection:
        try:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
        except psycopg.errors.InsufficientPrivilege:
            return False
    return True


def _named(url: str, database: str) -> str:
    return make_conninfo(url, dbname=database)
