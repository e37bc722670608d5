"""The schema is made, upgraded and refused as promised, and its checkpoints belong to LangGraph.

Proves TR-21: LangGraph's tables are its own to the last index, stock LangGraph reads and resumes a thread that Chimera
wrote. Proves TR-22: migrations are applied once, in order, all or nothing, by one process at a time. Proves TR-23 and
FR-77: an old schema is refused untouched where the owner must decide, and upgraded where Chimera owns the database; a
newer one is never touched; an empty one is set up without a question.
"""

import asyncio
import sys
from typing import Any

import pytest
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.types import Command

from chimera import ChimeraSwarm, Mission
from chimera.app import open_app
from chimera.core.contracts import MissionStatus, ReviewDecision
from chimera.core.errors import SchemaNewer, SchemaOutdated, StoreError
from chimera.core.settings import Settings
from chimera.graphs.mission import build_mission
from chimera.store.migrate import applied_version, ensure_schema, known_migrations, migrate
from chimera.store.postgres import Pool, fetch, open_pool

COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
WHERE table_schema = 'public' ORDER BY table_name, column_name"""
INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname"
INVALID = "SELECT count(*) AS n FROM pg_index WHERE NOT indisvalid"
OTHERS_WAIT = "SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
CHILD = """
import asyncio, sys
from chimera.store.migrate import ensure_schema
from chimera.store.postgres import open_pool
async def main():
    async with open_pool(sys.argv[1], 4) as pool:
        print("ready", flush=True)
        sys.stdin.readline()
        await asyncio.gather(*(ensure_schema(pool, may_upgrade=False) for _ in range(3)))
asyncio.run(main())
"""


async def schema(pool: Pool) -> list[dict[str, Any]]:
    """Every column and every index."""
    return [*await fetch(pool, COLUMNS), *await fetch(pool, INDEXES)]


def known_with(monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    """A Chimera that knows further migrations than this one."""
    known = known_migrations()
    added = [(known[-1][0] + number, f"added{number}", sql) for number, sql in enumerate(more, 1)]
    monkeypatch.setattr("chimera.store.migrate.known_migrations", lambda: [*known, *added])


# --- the checkpoints -------------------------------------------------------------------------------------------------


async def test_the_checkpoint_tables_are_those_that_stock_langgraph_makes(
    pool: Pool, database_url: str, empty_database_url: str
) -> None:
    async with AsyncPostgresSaver.from_conn_string(empty_database_url) as stock:
        await stock.setup()
    async with open_pool(empty_database_url, 1) as theirs:
        made_by_langgraph = await schema(theirs)
    ours = [row for row in await schema(pool) if str(row.get("table_name", row.get("tablename"))).startswith("checkp")]
    assert ours == made_by_langgraph
    assert (await fetch(pool, INVALID))[0]["n"] == 0
    versions = "SELECT v FROM checkpoint_migrations ORDER BY v"
    before = await fetch(pool, versions)
    async with AsyncPostgresSaver.from_conn_string(database_url) as stock:
        await stock.setup()  # finds nothing to do
    assert await fetch(pool, versions) == before
    assert before[-1]["v"] == len(AsyncPostgresSaver.MIGRATIONS) - 1


async def test_stock_langgraph_reads_and_resumes_a_thread(stage: Any, shared_database_url: str) -> None:
    """A mission that Chimera left waiting for its human is listed, read and finished with the stock saver."""
    play = stage.play({"ask first": [stage.plan(stage.task(1))]})
    async with stage.swarm(play) as swarm:
        waiting = await swarm.run(Mission(goal="ask first"), approve_plan=True)
        assert waiting.status == MissionStatus.WAITING
        assert play.worked() == []
        config: Any = {"configurable": {"thread_id": waiting.mission_id}, "recursion_limit": 200}
        async with AsyncPostgresSaver.from_conn_string(shared_database_url) as stock:
            saved = await stock.aget_tuple(config)
            assert saved is not None
            assert saved.checkpoint["channel_values"]["mission"]["goal"] == "ask first"
            assert len([item async for item in stock.alist(config)]) > 1
            graph = build_mission(checkpointer=stock)
            (asked,) = (await graph.aget_state(config)).interrupts
            answer = ReviewDecision(action="approve", reviewer="a person").plain()
            await graph.ainvoke(Command(resume={asked.id: answer}), config, context=swarm.app.context)
        result = await swarm.resume(waiting.mission_id)
    assert result.status == MissionStatus.DONE
    assert play.worked() == ["task 1"]


# --- migrating -------------------------------------------------------------------------------------------------------


async def test_several_processes_may_start_on_an_empty_database_at_once(empty_database_url: str) -> None:
    """Each of them makes the schema or finds it made; none fails, none waits for ever, nothing is made twice."""
    pipe = asyncio.subprocess.PIPE
    children = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, empty_database_url, stdin=pipe, stdout=pipe, stderr=pipe
        )
        for _ in range(2)
    ]
    async with asyncio.timeout(40):
        for child in children:
            assert child.stdout is not None
            assert await child.stdout.readline() == b"ready\n"
        ended = await asyncio.gather(*(child.communicate(b"go\n") for child in children))
    assert [child.returncode for child in children] == [0, 0], ended
    async with open_pool(empty_database_url, 2) as pool:
        applied = await fetch(pool, "SELECT version, name FROM migrations ORDER BY version")
        assert [(row["version"], row["name"]) for row in applied] == [(n, name) for n, name, _ in known_migrations()]
        assert await migrate(pool) == []


async def test_a_second_migration_waits_for_the_first(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both begin while a third session holds the lock; each migration is still applied once."""
    known_with(monkeypatch, "CREATE TABLE steps (n int); INSERT INTO steps VALUES (1)")
    async with open_pool(empty_database_url, 6) as pool:
        async with pool.connection() as first, first.transaction():
            await first.execute("SELECT pg_advisory_xact_lock(%s)", (0x6368696D,))
            both = [asyncio.create_task(migrate(pool)) for _ in range(2)]
            async with asyncio.timeout(20):
                while (await fetch(pool, OTHERS_WAIT))[0]["n"] < 2:  # noqa: ASYNC110 - the database gives no event
                    await asyncio.sleep(0.01)
            assert await applied_version(pool) == 0
        applied = await asyncio.gather(*both)
        assert sorted(map(len, applied))[0] == 0
        assert len(await fetch(pool, "SELECT n FROM steps")) == 1


async def test_migrations_are_applied_in_order_and_only_the_new_ones(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = [number for number, _, _ in known_migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
    known_with(monkeypatch, "CREATE TABLE steps (n int)", "INSERT INTO steps VALUES (1)")
    assert await migrate(pool) == ["added1", "added2"]
    assert await migrate(pool) == []
    assert [row["n"] for row in await fetch(pool, "SELECT n FROM steps")] == [1]


@pytest.mark.parametrize("fresh", [True, False], ids=["empty database", "older schema"])
async def test_a_migration_that_fails_leaves_nothing(
    fresh: bool, empty_database_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_with(monkeypatch, "CREATE TABLE half (n int)", "INSERT INTO half SELECT 1 / 0")
    async with open_pool(empty_database_url if fresh else database_url, 2) as pool:
        before = await schema(pool)
        with pytest.raises(StoreError, match="division by zero"):
            await migrate(pool)
        assert await schema(pool) == before
        assert await applied_version(pool) == (0 if fresh else len(known_migrations()))


async def test_a_migration_that_is_killed_leaves_nothing(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_with(monkeypatch, "CREATE TABLE half (n int); SELECT pg_sleep(3600)")
    asleep = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    async with open_pool(empty_database_url, 3) as pool:
        migrating = asyncio.create_task(migrate(pool))
        async with asyncio.timeout(20):
            while not (found := await fetch(pool, asleep)):  # noqa: ASYNC110 - the database gives no event
                await asyncio.sleep(0.01)
        await fetch(pool, "SELECT pg_terminate_backend(%s)", (found[0]["pid"],))
        with pytest.raises(StoreError) as failed:
            await migrating
        assert failed.value.code == "CH301"
        assert await schema(pool) == []
        monkeypatch.undo()
        await ensure_schema(pool, may_upgrade=False)  # nothing is in its way


async def test_tables_of_another_program_are_not_touched(empty_database_url: str) -> None:
    """A database that is in use for something else, with a table of one of our names."""
    async with open_pool(empty_database_url, 2) as pool:
        await fetch(pool, "CREATE TABLE missions (apollo int)")
        before = await schema(pool)
        with pytest.raises(StoreError, match="missions"):
            await ensure_schema(pool, may_upgrade=True)
        assert await schema(pool) == before


# --- old and new -----------------------------------------------------------------------------------------------------


async def test_an_old_schema_on_a_named_database_is_refused_and_not_touched(
    pool: Pool, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    known_with(monkeypatch, "ALTER TABLE missions ADD COLUMN added int")
    before = await schema(pool)
    with pytest.raises(SchemaOutdated) as refused:
        async with open_app(settings):
            pass
    assert refused.value.code == "CH302"
    assert "chimera migrate" in refused.value.hint
    assert await schema(pool) == before
    assert await migrate(pool) == ["added1"]  # what that command does
    async with open_app(settings):
        pass


async def test_an_old_schema_is_upgraded_where_chimera_owns_the_database(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fetch(pool, "INSERT INTO audit_heads VALUES ('kept', 0, '')")
    known_with(monkeypatch, "ALTER TABLE audit_heads ADD COLUMN added int DEFAULT 7")
    await ensure_schema(pool, may_upgrade=True)
    assert (await fetch(pool, "SELECT tenant, added FROM audit_heads"))[0] == {"tenant": "kept", "added": 7}


@pytest.mark.parametrize("missing", ["DROP TABLE checkpoint_migrations, checkpoints", "DELETE FROM migrations"])
async def test_a_schema_that_lacks_tables_is_not_taken_for_a_current_one(pool: Pool, missing: str) -> None:
    """Whatever led there: it is made whole, or named, and never used."""
    await fetch(pool, missing)
    try:
        await ensure_schema(pool, may_upgrade=False)
    except StoreError:
        assert "DELETE" in missing
    else:
        await fetch(pool, "SELECT 1 FROM checkpoints")


async def test_older_tables_of_langgraph_count_as_an_old_schema(pool: Pool) -> None:
    await fetch(pool, "ALTER TABLE checkpoint_writes DROP COLUMN task_path")
    await fetch(pool, "DELETE FROM checkpoint_migrations WHERE v = 9")
    before = await schema(pool)
    with pytest.raises(SchemaOutdated, match="LangGraph"):
        await ensure_schema(pool, may_upgrade=False)
    assert await schema(pool) == before
    await ensure_schema(pool, may_upgrade=True)
    assert await schema(pool) != before
    await fetch(pool, "SELECT task_path FROM checkpoint_writes")


async def test_a_newer_schema_is_never_touched(pool: Pool, settings: Settings) -> None:
    await fetch(pool, "INSERT INTO migrations (version, name) VALUES (99, 'from the future')")
    before = await schema(pool)
    for owned in (True, False):
        with pytest.raises(SchemaNewer):
            await ensure_schema(pool, may_upgrade=owned)
    with pytest.raises(SchemaNewer) as refused:
        await migrate(pool)
    assert refused.value.code == "CH303"
    with pytest.raises(SchemaNewer):
        async with ChimeraSwarm(settings):
            pass
    assert await schema(pool) == before


async def test_two_changes_that_postgres_cannot_order_are_a_failure_of_the_store(pool: Pool) -> None:
    """A deadlock is no outage, and nobody's changed mind: what was begun can go on."""
    await fetch(pool, "INSERT INTO audit_heads VALUES ('a', 0, ''), ('b', 0, '')")
    update = "UPDATE audit_heads SET seq = seq + 1 WHERE tenant = %s"
    turn = asyncio.Barrier(2)

    async def cross(first: str, second: str) -> None:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(update, (first,))
            await turn.wait()
            await connection.execute(update, (second,))

    done = await asyncio.gather(cross("a", "b"), cross("b", "a"), return_exceptions=True)
    assert [type(error) for error in done if error is not None] == [StoreError]
