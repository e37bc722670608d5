"""A database that cannot be used is named at once, and its password nowhere; named servers are the only ones used.

Proves FR-76 for URLs that are none, hosts that do not answer, roles and databases that do not exist, and for a server
that takes the connection and says nothing. Proves FR-31: with both servers named, nothing of our own is started. What
Postgres raises while it is used comes out of the error tree, from LangGraph's saver too.
"""

import asyncio
import logging
import traceback
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import errors as pg
from psycopg.conninfo import make_conninfo

from chimera import ChimeraSwarm
from chimera.app import open_app
from chimera.core.errors import ChimeraError, SchemaOutdated, StoreError, StoreFull, StoreUnavailable
from chimera.core.settings import Settings
from chimera.store.embedded import Endpoints
from chimera.store.embedded.layout import Layout
from chimera.store.embedded.processes import family
from chimera.store.postgres import Pool, connect, fetch, open_pool, store_errors
from chimera.store.redis import open_redis

SECRET = "Zq9secretQ9z"
CLOSED = "127.0.0.1:1"

UNREADABLE = {
    "percent": f"postgresql://me:{SECRET}%zz@{CLOSED}/db",
    "bracket": f"postgresql://me:{SECRET}@[::1/db",
    "no colon": f"postgresql//me:{SECRET}@{CLOSED}/db",
    "another kind": f"mysql://me:{SECRET}@{CLOSED}/db",
    "only a password": SECRET,
    "unknown parameter": f"postgresql://me:{SECRET}@{CLOSED}/db?nonsense={SECRET}",
    "space": f"postgresql://me:{SECRET}@{CLOSED}/d b",
    "open quote": f"host=127.0.0.1 password='{SECRET} port=1",
    "at sign in the password": f"postgresql://me:pass@{SECRET}@{CLOSED}/db",
    "slash in the password": f"postgresql://me:1/{SECRET}@{CLOSED}/db",
    "NUL": f"postgresql://me:{SECRET}@{CLOSED}/db\x00",
    "half a character": f"postgresql://me:{SECRET}\ud83d@{CLOSED}/db",
}
UNREACHABLE = {
    "closed port": f"postgresql://me:{SECRET}@{CLOSED}/db",
    "parameters": f"host=127.0.0.1 port=1 user=me password={SECRET}",
    "port that is none": f"postgresql://me:{SECRET}@127.0.0.1:port/db",
    "port too large": f"postgresql://me:{SECRET}@127.0.0.1:99999/db",
    "host that is none": f"postgresql://me:{SECRET}@{'a' * 70}/db",
    "no such socket": f"postgresql://me:{SECRET}@/db?host=/nowhere",
    "password in the query": f"postgresql://{CLOSED}/db?user=me&password={SECRET}",
    "colon in the password": f"postgresql://me:a:{SECRET}@{CLOSED}/db",
}


async def refusal(url: str) -> StoreUnavailable:
    """What opening the URL raises, well before a user gives up."""
    async with asyncio.timeout(20):
        with pytest.raises(StoreUnavailable) as refused:
            async with open_pool(url, 2):
                pass
    return refused.value


def told(error: BaseException) -> str:
    """All that can be seen of an error: messages, representations, causes, what else was being handled, traceback."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in seen:
            seen.append(one)
            waiting += [one.__cause__, one.__context__]
    texts = [f"{one!s} {one!r} {one.args}" for one in seen]
    return "\n".join([*texts, *traceback.format_exception(error)])


@pytest.mark.parametrize("url", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_a_url_that_is_none_is_refused_without_quoting_it(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        error = await refusal(url)
    assert error.code == "CH301"
    assert "CHIMERA_DATABASE_URL" in error.hint
    assert "postgresql://USER:PASSWORD@HOST:PORT/DATABASE" in error.hint
    assert SECRET not in told(error) + caplog.text


@pytest.mark.parametrize("url", UNREACHABLE.values(), ids=UNREACHABLE.keys())
async def test_a_server_that_is_not_there_is_named_without_the_password(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        error = await refusal(url)
    assert error.code == "CH301"
    assert "CHIMERA_DATABASE_URL" in error.hint
    assert SECRET not in told(error) + caplog.text


@pytest.mark.parametrize("wrong", [{"user": "nobody-here"}, {"dbname": "nothing-here"}], ids=["role", "database"])
async def test_a_role_or_database_that_does_not_exist_is_named(endpoints: Endpoints, wrong: dict[str, str]) -> None:
    error = await refusal(make_conninfo(endpoints.database_url, password=SECRET, **wrong))
    assert next(iter(wrong.values())) in error.message  # what has to be corrected
    assert SECRET not in told(error)


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chimera.store.postgres.CONNECT_TIMEOUT_S", 2)  # the shortest that libpq takes
    taken: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: taken.append(writer), "127.0.0.1", 0)
    async with server:
        error = await refusal(f"postgresql://me:{SECRET}@127.0.0.1:{server.sockets[0].getsockname()[1]}/db")
        for writer in taken:
            writer.close()
    assert taken
    assert SECRET not in told(error)


async def test_the_settings_and_their_error_hide_the_password(tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path, "database_url": UNREACHABLE["closed port"]})
    with pytest.raises(StoreUnavailable) as refused:
        async with open_app(settings):
            pass
    assert SECRET not in told(refused.value) + repr(settings) + settings.model_dump_json()


async def test_with_both_servers_named_none_is_started(settings: Settings) -> None:
    async with open_app(settings) as app:
        assert await fetch(app.pool, "SELECT 1 AS one") == [{"one": 1}]
        assert not (settings.home / "embedded").exists()
        assert not family(Layout(settings.home).marker).all()


@pytest.mark.parametrize("named", ["database_url", "redis_url"])
async def test_a_named_server_is_used_also_when_the_other_is_not(
    settings: Settings,
    endpoints: Endpoints,
    monkeypatch: pytest.MonkeyPatch,
    named: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The other one is the embedded one; a closed port in its place would show."""
    other = {"database_url": "redis_url", "redis_url": "database_url"}[named]
    gone = Endpoints(f"postgresql://{CLOSED}/db", f"redis://{CLOSED}/0")
    embedded = Endpoints(**{**vars(gone), other: getattr(settings, other).get_secret_value()})

    class Servers:
        def __init__(self, *_: Any, **__: Any) -> None:
            self.users = 0

        async def acquire(self) -> Endpoints:
            return embedded

        async def release(self) -> None:
            return None

    monkeypatch.setattr("chimera.app.EmbeddedServers", Servers)
    async with open_app(settings.model_copy(update={other: None})) as app:
        await fetch(app.pool, "SELECT 1")
    assert "Redis cannot be reached" not in caplog.text


# --- Redis -----------------------------------------------------------------------------------------------------------

NO_REDIS = {
    "port that is none": f"redis://:{SECRET}@127.0.0.1:{SECRET}/0",
    "slash in the password": f"redis://:1/{SECRET}@127.0.0.1:1/0",
    "at sign in the password": f"redis://:1@{SECRET}@127.0.0.1:1/0",
    "bracket": f"redis://:{SECRET}@[::1/0",
    "another kind": f"https://me:{SECRET}@127.0.0.1:1/0",
    "only a password": SECRET,
    "parameter that is none": f"redis://:{SECRET}@127.0.0.1:1/0?socket_timeout={SECRET}",
}


@pytest.mark.parametrize("url", NO_REDIS.values(), ids=NO_REDIS.keys())
async def test_a_redis_url_that_is_none_is_refused_without_quoting_it(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves TR-11: also where somebody prints the causes of an error."""
    with caplog.at_level(logging.DEBUG), pytest.raises(StoreUnavailable) as refused:
        async with open_redis(url):
            pass
    assert "CHIMERA_REDIS_URL" in refused.value.hint
    assert SECRET not in told(refused.value) + caplog.text


async def test_what_is_no_redis_or_refuses_us_is_told(endpoints: Endpoints) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10_000)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as web:
        for url in (
            f"redis://me:{SECRET}@127.0.0.1:{web.sockets[0].getsockname()[1]}/0",
            endpoints.redis_url.replace("://", f"://nobody:{SECRET}@"),
        ):
            async with asyncio.timeout(20):
                with pytest.raises(StoreUnavailable) as refused:
                    async with open_redis(url):
                        pass
            assert SECRET not in told(refused.value)


async def test_a_socket_is_found_wherever_it_is(tmp_path: Path, endpoints: Endpoints) -> None:
    """Also below the home folder of a user whose name is an address."""
    folder = tmp_path / "ada@example.com"
    folder.symlink_to(Path(urlsplit(endpoints.redis_url).path).parent)
    async with open_redis(f"unix://{folder}/valkey.sock") as client:
        assert await client.ping()


async def test_without_redis_a_swarm_opens_and_a_mission_ends(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves TR-24: gone from the beginning; the warning says what is missed, and keeps the password."""
    gone = Settings.model_validate({**dict(settings), "redis_url": f"redis://me:{SECRET}@{CLOSED}/0"})
    async with ChimeraSwarm(gone) as swarm:
        result = await swarm.run("Sing me a song")
        with pytest.raises(StoreUnavailable):
            await anext(swarm.app.context.events.watch(result.mission_id))
    assert result.status in ("done", "partial", "failed")
    assert "Redis cannot be reached" in caplog.text
    assert SECRET not in caplog.text


# --- what Postgres raises while it is used ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (pg.DiskFull("could not extend file: No space left on device\nHINT: Check free disk space."), StoreFull),
        (pg.OutOfMemory("out of memory"), StoreFull),
        (pg.UndefinedTable('relation "missions" does not exist'), SchemaOutdated),
        (pg.UndefinedColumn('column "x" does not exist'), SchemaOutdated),
        (pg.DeadlockDetected("deadlock detected"), StoreError),
        (pg.SerializationFailure("could not serialize access"), StoreError),
        (pg.AdminShutdown("terminating connection"), StoreUnavailable),
        (pg.TooManyConnections("too many clients already"), StoreUnavailable),
        (pg.UniqueViolation(f"duplicate key\nDETAIL: Key (text)=({SECRET}) already exists."), StoreError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_every_error_of_postgres_has_a_place_in_the_tree(raised: Exception, kind: type[ChimeraError]) -> None:
    with pytest.raises(kind) as mapped:
        async with store_errors():
            raise raised
    assert type(mapped.value) is kind
    assert mapped.value.__cause__ is raised
    assert SECRET not in str(mapped.value)
    assert "\n" not in mapped.value.message


async def test_a_timeout_of_the_callers_own_stays_its_own() -> None:
    with pytest.raises(TimeoutError, match="mine"):
        async with store_errors():
            raise TimeoutError("mine")


async def test_the_saver_of_langgraph_raises_our_errors(pool: Pool) -> None:
    """It uses the pool by itself, so the pool is where the errors get their names."""
    await fetch(pool, "DROP TABLE checkpoint_writes")
    with pytest.raises(SchemaOutdated):
        await AsyncPostgresSaver(pool).aget_tuple({"configurable": {"thread_id": "any"}})


async def test_a_statement_without_answer_has_a_deadline(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chimera.store.postgres.ANSWER_TIMEOUT_S", 0.2)
    with pytest.raises(StoreUnavailable, match=r"did not answer within 0\.2 s"):
        await fetch(pool, "SELECT pg_sleep(3600)")
    monkeypatch.undo()
    assert await fetch(pool, "SELECT 1 AS one") == [{"one": 1}]


async def test_a_pool_survives_the_loss_of_its_connections(pool: Pool) -> None:
    await fetch(
        pool,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND backend_type = 'client backend' AND pid <> pg_backend_pid()",  # whoever vacuums is not ours to end
    )
    for _ in range(10):
        assert await fetch(pool, "SELECT 1 AS one") == [{"one": 1}]


async def test_who_meets_one_lost_connection_waits_once_and_not_for_each_of_the_others(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(pool.connection()) for _ in range(5)]
        lost = [connection.info.backend_pid for connection in held]
    killer = await connect(str(pool.conninfo))
    await killer.execute("SELECT pg_terminate_backend(pid, 10000) FROM unnest(%s::int[]) AS pid", (lost,))
    await killer.close()

    pauses: list[float] = []

    async def asleep(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0.3)

    sleep = asyncio.sleep
    monkeypatch.setattr("psycopg_pool.pool_async.asleep", asleep)
    found = await fetch(pool, "SELECT pg_backend_pid() AS pid")
    assert found[0]["pid"] not in lost
    assert len(pauses) == 1
