"""The database schema: numbered SQL files, applied once each, in order, under a lock."""

from importlib import resources

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from chimera.core.errors import SchemaNewer, SchemaOutdated
from chimera.store.postgres import Connection, Pool, fetch, take_time

_LOCK = 0x6368696D  # one migration at a time in a database; the number spells "chim"
_WITHIN_S = 600.0
_NONE = -1
_TABLE = """
CREATE TABLE IF NOT EXISTS migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""


def known_migrations() -> list[tuple[int, str, str]]:
    """All migrations of this version of Chimera as (number, name, SQL), in order."""
    files = (file for file in resources.files("chimera.store.migrations").iterdir() if file.name.endswith(".sql"))
    ordered = sorted(files, key=lambda file: file.name)
    return [(int(file.name[:3]), file.name[4:-4], file.read_text("utf-8")) for file in ordered]


async def applied_version(pool: Pool) -> int:
    """The newest migration in the database; 0 for a database that Chimera never used."""
    found = await fetch(pool, "SELECT to_regclass('migrations') IS NOT NULL AS present")
    if not found[0]["present"]:
        return 0
    newest = await fetch(pool, "SELECT coalesce(max(version), 0) AS version FROM migrations")
    return int(newest[0]["version"])


async def migrate(pool: Pool) -> list[str]:
    """Bring the database to this version's schema; return the names of what was applied.

    It is one transaction: a migration that fails, or is killed, leaves the database as it was.

    Raises:
        SchemaNewer: the database was written by a newer Chimera.
    """
    done: list[str] = []
    async with pool.connection(within_s=_WITHIN_S) as connection, connection.transaction():
        await take_time(connection)
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        await connection.execute(_TABLE)
        cursor = await connection.execute("SELECT coalesce(max(version), 0) AS version FROM migrations")
        row = await cursor.fetchone()
        current = int(row["version"]) if row else 0
        _refuse_newer(current)
        for number, name, sql in known_migrations():
            if number > current:
                await connection.execute(sql.encode())
                await connection.execute("INSERT INTO migrations (version, name) VALUES (%s, %s)", (number, name))
                done.append(name)
        if await _migrate_checkpoints(connection):
            done.append("checkpoints")
    return done


async def _migrate_checkpoints(connection: Connection) -> bool:
    """LangGraph's own tables by its own migrations, in our transaction; whether there was something to do.

    Its ``setup`` builds indexes CONCURRENTLY. That cannot be undone with the rest, and deadlocks with whoever waits for
    our lock.
    """
    known = AsyncPostgresSaver.MIGRATIONS
    await connection.execute(known[0].encode())
    cursor = await connection.execute("SELECT coalesce(max(v), %s) AS version FROM checkpoint_migrations", (_NONE,))
    row = await cursor.fetchone()
    first = int(row["version"]) + 1 if row else 0
    for number, sql in list(enumerate(known))[first:]:
        await connection.execute(sql.replace("CONCURRENTLY", "").encode())
        await connection.execute("INSERT INTO checkpoint_migrations (v) VALUES (%s)", (number,))
    return first < len(known)


async def ensure_schema(pool: Pool, *, may_upgrade: bool) -> None:
    """Create the schema in an empty database; upgrade an old one only if that was allowed.

    Raises:
        SchemaOutdated: the database is older, and its owner has to decide about the upgrade.
        SchemaNewer: the database was written by a newer Chimera.
    """
    current, newest = await applied_version(pool), known_migrations()[-1][0]
    _refuse_newer(current)
    saved, known = await _checkpoint_version(pool), len(AsyncPostgresSaver.MIGRATIONS) - 1
    if current == newest and saved >= known:
        return
    if not may_upgrade:
        if 0 < current < newest:
            raise SchemaOutdated(f"the database has schema {current}, this version needs {newest}")
        if _NONE < saved < known:
            raise SchemaOutdated(f"LangGraph's tables have schema {saved}, this version needs {known}")
    await migrate(pool)


async def _checkpoint_version(pool: Pool) -> int:
    found = await fetch(pool, "SELECT to_regclass('checkpoint_migrations') IS NOT NULL AS present")
    if not found[0]["present"]:
        return _NONE
    newest = await fetch(pool, "SELECT coalesce(max(v), %s) AS version FROM checkpoint_migrations", (_NONE,))
    return int(newest[0]["version"])


def _refuse_newer(current: int) -> None:
    newest = known_migrations()[-1][0]
    if current > newest:
        raise SchemaNewer(f"the database has schema {current}, this version knows {newest}")
