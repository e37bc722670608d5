"""What all tests share: embedded servers, a database for each test, settings that reach both, and processes."""

import asyncio
import contextlib
import importlib.util
import json
import os
import secrets
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

OF_TESTS = ("CHIMERA_DATA", "CHIMERA_SCREENSHOTS")
for name in [name for name in os.environ if name.startswith("CHIMERA_") and name not in OF_TESTS]:
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
    servers = EmbeddedServers(folder, idle_s=5, durable=False)  # what needs the disk has servers of its own
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


# What a test may have changed of a schema: each row of these that is there, by where it is and who wrote it.
_CATALOGUES = {
    **dict.fromkeys(("pg_class", "pg_proc", "pg_type", "pg_namespace"), "oid >= 16384"),
    **dict.fromkeys(("pg_attribute", "pg_index"), "{first} >= 16384"),
    **dict.fromkeys(
        ("pg_attrdef", "pg_constraint", "pg_trigger", "pg_policy", "pg_rewrite", "pg_sequence", "pg_extension"), "true"
    ),
    **dict.fromkeys(("pg_default_acl", "pg_event_trigger", "pg_publication", "pg_largeobject_metadata"), "true"),
    "pg_db_role_setting": "setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())",
}
_FIRST = {"pg_attribute": "attrelid", "pg_index": "indexrelid"}


class Databases:
    """Databases with the current schema: made once, and made ready again for the next test.

    To copy a database takes a quarter of a second. One whose schema a test has changed is dropped. Each use has a name
    of its own, so that what is left of an earlier test, and comes late, reaches nothing.
    """

    def __init__(self, endpoints: Endpoints, template: str) -> None:
        self._endpoints, self._template = endpoints, template
        self._spare: list[str] = []
        with self._admin(template) as connection:
            self._shape = self._shape_of(connection)
            tables = self._names(connection, "relkind = 'r'")
            sequences = self._names(connection, "relkind = 'S'")
            self._rows = {table: rows for table in tables if (rows := self._copied(connection, table))}
            said = [(name, *self._one(connection, f"SELECT last_value, is_called FROM {name}")) for name in sequences]
        self._wipe = "; ".join(
            [
                "SET LOCAL session_replication_role = replica",  # no trigger and no reference keeps a row
                *(f"DELETE FROM {table}" for table in tables),
                *(f"SELECT setval('{name}', {value}, {called})" for name, value, called in said),
            ]
        )

    def take(self) -> str:
        """The name of a database that nobody has used, or that is as if nobody had."""
        name = f"t_{uuid.uuid4().hex}"
        with psycopg.connect(self._endpoints.database_url, autocommit=True) as connection:
            if self._spare:
                connection.execute(f'ALTER DATABASE "{self._spare.pop()}" RENAME TO "{name}"'.encode())
            else:
                connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._template}"'.encode())
        return name

    def give_back(self, name: str) -> None:
        """Make a database ready for the next one, or drop it."""
        kept = f"spare_{uuid.uuid4().hex}"
        try:
            with psycopg.connect(self._endpoints.database_url, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE datname = %s AND backend_type = 'client backend'",
                    (name,),
                )
                connection.execute(f'ALTER DATABASE "{name}" RENAME TO "{kept}"'.encode())
            if self._cleaned(kept):
                self._spare.append(kept)
                return
        except psycopg.Error:  # whatever keeps it from being as it was
            _drop(self._endpoints, name)
        _drop(self._endpoints, kept)

    def _cleaned(self, name: str) -> bool:
        with self._admin(name) as connection:
            if self._shape_of(connection) != self._shape:
                return False
            with connection.transaction():
                connection.execute(self._wipe.encode())
                for table, rows in self._rows.items():
                    with connection.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
                        copy.write(rows)
        return True

    def _admin(self, name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(make_conninfo(self._endpoints.database_url, dbname=name, user="postgres"))

    @staticmethod
    def _one(connection: psycopg.Connection[Any], query: str) -> Any:
        return connection.execute(query.encode()).fetchone()

    @classmethod
    def _shape_of(cls, connection: psycopg.Connection[Any]) -> Any:
        counted = [
            f"(SELECT (count(*), sum(hashtextextended(ctid::text || xmin::text, 0)))::text FROM {name} "
            f"WHERE {which.format(first=_FIRST.get(name))})"
            for name, which in _CATALOGUES.items()
        ]
        return cls._one(connection, f"SELECT {', '.join(counted)}")

    @staticmethod
    def _names(connection: psycopg.Connection[Any], which: str) -> list[str]:
        query = f"SELECT oid::regclass::text FROM pg_class WHERE oid >= 16384 AND {which}"
        return [name for (name,) in connection.execute(query.encode())]

    @staticmethod
    def _copied(connection: psycopg.Connection[Any], table: str) -> bytes:
        with connection.cursor().copy(f"COPY {table} TO STDOUT".encode()) as copy:
            return b"".join(bytes(part) for part in copy)


@pytest.fixture(scope="session")
def databases(endpoints: Endpoints, worker_id: str) -> Databases:
    """Databases with the current schema."""
    template = f"template_{worker_id}"
    with psycopg.connect(endpoints.database_url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{template}"'.encode())
        connection.execute(f'CREATE DATABASE "{template}"'.encode())

    async def fill() -> None:
        async with open_pool(_named(endpoints.database_url, template), 2) as pool:
            await migrate(pool)

    asyncio.run(fill())
    return Databases(endpoints, template)


@pytest.fixture
def empty_database_url(endpoints: Endpoints) -> Generator[str]:
    """A database of this test's own, without any table."""
    name = f"t_{uuid.uuid4().hex}"
    with psycopg.connect(endpoints.database_url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    yield _named(endpoints.database_url, name)
    _drop(endpoints, name)


@pytest.fixture
def database_url(endpoints: Endpoints, databases: Databases) -> Generator[str]:
    """A database of this test's own, with the current schema."""
    name = databases.take()
    yield _named(endpoints.database_url, name)
    databases.give_back(name)


@pytest.fixture(scope="module")
def shared_database_url(endpoints: Endpoints, databases: Databases) -> Generator[str]:
    """A database for all tests of a file whose missions do not see each other."""
    name = databases.take()
    yield _named(endpoints.database_url, name)
    databases.give_back(name)


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


@pytest.fixture(scope="session")
def new_canaries() -> Callable[[], Any]:
    """Makes what looks for secrets that were planted (``canary.py``)."""
    spec = importlib.util.spec_from_file_location("canary", Path(__file__).with_name("canary.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Canaries


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


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Gives a port that nobody listens on, and that the system gives nobody who does not ask for it by its number."""

    def find() -> int:
        while True:
            port = 15_000 + secrets.randbelow(15_000)
            with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
                return port

    return find


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


def _drop(endpoints: Endpoints, name: str) -> None:
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
