"""Faults of the embedded servers: real kills, a folder deleted under them, a full disk, data of another version.

Proves: whatever is killed with SIGKILL (the keeper, PostgreSQL, Valkey, all at once, initdb half way), the next
acquire repairs it and committed data is there; no kill leaves a process behind in the end; each thing that cannot
be repaired is one error of the tree with a remedy, and leaves nothing running.
"""

import asyncio
import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import redis

from chimera.core.errors import SchemaNewer, SchemaOutdated, StoreError, StoreFull, StoreUnavailable
from chimera.store.embedded import EmbeddedServers
from chimera.store.embedded.layout import Layout
from chimera.store.embedded.locks import is_held, try_lock, users_in
from chimera.store.embedded.processes import Family, family


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 the condition is about other processes
            await asyncio.sleep(0.01)


def found(folder: Path) -> Family:
    return family(Layout(folder).marker)


def kill(pids: list[int]) -> None:
    assert pids
    for pid in pids:
        with suppress(ProcessLookupError):  # gone with one that was killed a moment ago
            os.kill(pid, signal.SIGKILL)


async def kill_keeper(folder: Path) -> None:
    """Kill the keeper, and wait until its lock is free: the kernel forgets a command line before it closes files."""
    kill(found(folder).keepers)
    await until(lambda: not found(folder).keepers and not is_held(Layout(folder).keeper_lock))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the file: making a database is the dear part."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
async def servers(shared: Path) -> AsyncGenerator[EmbeddedServers]:
    """Servers that run, with a row in both."""
    used = EmbeddedServers(shared, idle_s=0.2)
    endpoints = await used.acquire()
    with psycopg.connect(endpoints.database_url) as connection, redis.Redis.from_url(endpoints.redis_url) as client:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("TRUNCATE kept")
        connection.execute("INSERT INTO kept VALUES (42)")
        client.set("kept", "42")
    yield used
    await used.release()
    await until(lambda: not found(shared).all())  # the idle time is over, and nothing is left


async def assert_data_is_there(servers: EmbeddedServers) -> None:
    endpoints = await servers.acquire()
    with psycopg.connect(endpoints.database_url) as connection, redis.Redis.from_url(endpoints.redis_url) as client:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(42,)]
        assert client.get("kept") == b"42"


async def test_a_killed_keeper_is_replaced_and_the_servers_go_on(servers: EmbeddedServers, shared: Path) -> None:
    before = found(shared)
    endpoints = await servers.acquire()
    with psycopg.connect(endpoints.database_url) as connection:
        await kill_keeper(shared)
        await assert_data_is_there(servers)
        connection.execute("SELECT 1")  # the same server: no connection was lost
    after = found(shared)
    assert (after.postmasters, after.valkeys) == (before.postmasters, before.valkeys)
    assert len(after.keepers) == 1


async def test_the_last_user_of_a_killed_keeper_leaves_no_orphan(servers: EmbeddedServers, shared: Path) -> None:
    await kill_keeper(shared)
    await servers.release()
    await until(lambda: not found(shared).all())


async def test_stop_ends_the_orphans_of_a_killed_keeper(servers: EmbeddedServers, shared: Path) -> None:
    await kill_keeper(shared)
    await servers.stop()
    assert not found(shared).all()


@pytest.mark.parametrize("victim", ["postmasters", "valkeys"])
async def test_a_killed_server_is_restarted_with_its_data(servers: EmbeddedServers, shared: Path, victim: str) -> None:
    before = found(shared)
    kill(getattr(before, victim))
    await until(lambda: getattr(found(shared), victim) not in ([], getattr(before, victim)))
    await assert_data_is_there(servers)
    assert found(shared).keepers == before.keepers


async def test_everything_killed_at_once_and_a_pid_file_that_names_a_stranger(
    servers: EmbeddedServers, shared: Path
) -> None:
    layout = Layout(shared)
    kill(found(shared).all())
    await until(lambda: not found(shared).all())
    # After a restart the old pid may belong to anybody, even to the same account.
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:  # noqa: ASYNC220
        for path in (layout.postgres / "postmaster.pid", layout.run / ".s.PGSQL.5432.lock"):
            _, rest = path.read_text().split("\n", 1)
            path.write_text(f"{stranger.pid}\n{rest}")
        await assert_data_is_there(servers)
        assert stranger.poll() is None
        stranger.kill()


async def test_valkey_starts_empty_when_its_data_is_unreadable(servers: EmbeddedServers, shared: Path) -> None:
    await servers.stop()
    manifest = Layout(shared).valkey / "appendonlydir" / "appendonly.aof.manifest"
    manifest.write_text("what is this\n")
    endpoints = await servers.acquire()
    with redis.Redis.from_url(endpoints.redis_url) as client:
        assert client.get("kept") is None
        assert client.set("kept", "42")
    await assert_data_is_there(servers)
    assert (Layout(shared).valkey / "appendonlydir.unreadable").exists()


async def test_a_folder_deleted_under_running_servers(tmp_path: Path) -> None:
    """It holds two initdbs: one for what is deleted, one that is killed half way."""
    servers = EmbeddedServers(tmp_path, idle_s=30)
    waiting = asyncio.create_task(servers.acquire())
    await until(lambda: bool(found(tmp_path).builders))
    kill(found(tmp_path).keepers)  # its initdb goes on, and is in the way
    endpoints = await waiting
    assert not list(Layout(tmp_path).root.glob("*.initdb-*"))
    while Layout(tmp_path).root.exists():  # the servers notice, and delete files of theirs themselves
        shutil.rmtree(Layout(tmp_path).root, ignore_errors=True)
    await until(lambda: not found(tmp_path).all())
    assert await servers.acquire() == endpoints  # new and empty
    assert servers.status().users == 1
    await servers.purge()
    assert not list(tmp_path.iterdir())


async def test_a_server_that_dies_again_and_again_is_given_up(servers: EmbeddedServers, shared: Path) -> None:
    (keeper,) = found(shared).keepers
    killed: set[int] = set()
    while keeper in found(shared).keepers:
        for pid in set(found(shared).valkeys) - killed:
            kill([pid])
            killed.add(pid)
        await asyncio.sleep(0.01)
    assert len(killed) >= 3
    await until(lambda: not found(shared).all())  # no half pair is left
    endpoints = await servers.acquire()
    with psycopg.connect(endpoints.database_url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(42,)]


async def test_a_data_folder_that_lost_its_files_is_named(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.make()
    layout.postgres.mkdir(mode=0o700)
    (layout.postgres / "PG_VERSION").write_text("18\n")  # and nothing else: the rest was lost
    servers = EmbeddedServers(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="damaged") as caught:
            await servers.acquire()
        assert "--purge" in caught.value.hint
        assert caught.value.context["log"] == str(layout.logs / "postgres.log")
    await until(lambda: not found(tmp_path).all())


@pytest.mark.parametrize(("version", "kind"), [("19", SchemaNewer), ("16", SchemaOutdated)])
async def test_data_of_another_postgres_is_refused_and_kept(
    tmp_path: Path, version: str, kind: type[StoreError]
) -> None:
    layout = Layout(tmp_path)
    layout.make()
    layout.postgres.mkdir(mode=0o700)
    (layout.postgres / "PG_VERSION").write_text(f"{version}\n")
    with pytest.raises(kind, match=version) as caught:
        await EmbeddedServers(tmp_path).acquire()
    assert "CHIMERA_HOME" in caught.value.hint
    assert (layout.postgres / "PG_VERSION").read_text() == f"{version}\n"
    await until(lambda: not found(tmp_path).all())


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="cannot be made") as caught:
        await EmbeddedServers(tmp_path / "file" / "below").acquire()
    assert "CHIMERA_HOME" in caught.value.hint
    assert not EmbeddedServers(tmp_path / "file" / "below").status().running


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand the servers to another account")
@pytest.mark.parametrize(("lost", "words", "remedy"), [((1, 2), "cannot pass", "chmod o+x"), ((7,), "may not", "user")])
async def test_root_that_may_not_do_everything_is_told_what_to_do(
    tmp_path: Path, lost: tuple[int, ...], words: str, remedy: str
) -> None:
    """A container without DAC_OVERRIDE and DAC_READ_SEARCH, or without SETUID."""
    tmp_path.chmod(0o700)

    def lose() -> None:
        for capability in lost:
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP: the next program cannot have it

    program = (
        "import asyncio, pathlib, sys; from chimera.store.embedded import EmbeddedServers\n"
        "try: asyncio.run(EmbeddedServers(pathlib.Path(sys.argv[1])).acquire())\n"
        "except Exception as error: print(error, '|', error.hint)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "data")]
    done = await asyncio.to_thread(
        subprocess.run, command, preexec_fn=lose, capture_output=True, text=True, check=False, timeout=30
    )
    said, _, hint = done.stdout.partition("|")
    assert words in said
    assert remedy in hint
    assert tmp_path.stat().st_mode & 0o077 == 0
    await until(lambda: not found(tmp_path / "data").all())


async def test_waiting_has_an_end(tmp_path: Path) -> None:
    Layout(tmp_path).make()
    other = try_lock(Layout(tmp_path).spawn_lock)  # somebody who starts a keeper, and never gets done
    assert other is not None
    with pytest.raises(StoreUnavailable, match=r"within 0\.2 s") as caught:
        await EmbeddedServers(tmp_path, start_timeout_s=0.2).acquire()
    os.close(other)
    assert caught.value.hint
    assert not users_in(Layout(tmp_path).users)


FULL_DISK = """
import asyncio, os, sys
from pathlib import Path
from chimera.core.errors import StoreFull
from chimera.store.embedded import EmbeddedServers

async def refused(folder):
    try:
        await EmbeddedServers(folder).acquire()
    except StoreFull as error:
        print("StoreFull:", error.message, "|", error.hint)

async def main():
    small, large = (Path(argument) for argument in sys.argv[1:])
    await refused(small)
    servers = EmbeddedServers(large)
    await servers.acquire()
    await servers.stop()
    with open(large / "filler", "wb", buffering=0) as filler:
        try:
            while filler.write(bytes(1 << 16)):
                pass
        except OSError:
            pass
    await refused(large)
    (large / "filler").unlink()
    await servers.acquire()
    await servers.stop()
    print("and again")

asyncio.run(main())
"""


def test_a_full_disk_is_named_and_survived(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    mounts: list[str] = []
    for folder, megabytes in ((small, 64), (large, 200)):
        folder.mkdir()
        mounts.append(f"mount -t tmpfs -o size={megabytes}m tmpfs '{folder}'")
    # Only root may mount: who is not, becomes root in a namespace of its own, mounts, and becomes itself again.
    become_root, become_self = ["unshare", "--mount"], ["env"]
    if os.geteuid() != 0:
        become_root = ["unshare", "--user", "--map-root-user", "--mount"]
        become_self = ["unshare", "--user", f"--map-user={os.getuid()}", f"--map-group={os.getgid()}"]
    shell = [*become_root, "sh", "-ec", "\n".join([*mounts, 'exec "$@"']), "sh", *become_self]
    if not shutil.which("unshare") or subprocess.run([*shell, "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk of our own is not allowed here")
    command = [*shell, sys.executable, "-c", FULL_DISK, str(small), str(large)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["StoreFull", "StoreFull", "and again"], done
    assert all("ree disk space" in line for line in lines[:2])
    assert not found(small).all()
    assert not found(large).all()
    assert StoreFull.code == "CH304"
