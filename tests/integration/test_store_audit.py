"""One chain whoever writes: tasks and processes at the same time, writers that are cancelled, killed or refused.

Proves TR-18 and LAW-8 under concurrency, and that an event whose append returned is on the record: nothing that happens
to another writer, or to this one afterwards, takes it away.
"""

import asyncio
import json
import random
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from chimera.core.clock import SystemClock
from chimera.core.errors import AuditBroken, SchemaOutdated, StoreError, StoreUnavailable
from chimera.store import postgres
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Pool, fetch, open_pool

MISSION = "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11"
BLOCKED = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
    "AND query LIKE '%%audit_heads%%' AND pid <> pg_backend_pid()"
)
CHILD = """
import asyncio, sys
from chimera.core.clock import SystemClock
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import open_pool
async def main(url, name, count):
    async with open_pool(url, 4) as pool:
        log = AuditLog(pool, SystemClock())
        print("ready", flush=True)
        sys.stdin.readline()
        async def one(number):
            print(await log.append(AuditEvent("k", name, tenant="ab"[number % 2])), flush=True)
        async with asyncio.TaskGroup() as group:
            slots = asyncio.Semaphore(8)
            async def turn(number):
                async with slots:
                    await one(number)
            for number in range(count):
                group.create_task(turn(number))
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def event(name: str, **fields: Any) -> AuditEvent:
    return AuditEvent("decision", name, **fields)


@pytest.fixture
def log(pool: Pool, clock: SystemClock) -> AuditLog:
    return AuditLog(pool, clock)


async def actors(pool: Pool, tenant: str = "default") -> list[str]:
    """Who acted, in the order of the chain."""
    rows = await fetch(pool, "SELECT body FROM audit_events WHERE tenant = %s ORDER BY seq", (tenant,))
    return [json.loads(row["body"])["actor"] for row in rows]


async def child(url: str, name: str, count: int) -> asyncio.subprocess.Process:
    """A process that appends when it is told to, and prints the hash of what is on the record."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, url, name, str(count), stdin=pipe, stdout=pipe
    )


@asynccontextmanager
async def head_taken(pool: Pool, log: AuditLog) -> AsyncGenerator[None]:
    """Another transaction has the head of the chain, so that whoever appends has to wait."""
    await log.append(event("first"))
    async with pool.connection() as other, other.transaction():
        await other.execute("SELECT 1 FROM audit_heads FOR UPDATE")
        yield


async def blocked(pool: Pool, count: int = 1) -> int:
    """Wait until so many backends wait for the head; one of them."""
    async with asyncio.timeout(20):
        while len(found := await fetch(pool, BLOCKED)) < count:  # noqa: ASYNC110 - the database gives no event
            await asyncio.sleep(0.01)
    return int(found[0]["pid"])


async def test_processes_and_tasks_write_one_chain(pool: Pool, log: AuditLog, database_url: str) -> None:
    """Two processes and many tasks of this one, over two tenants: every event once, every hash that was told kept."""
    count = 60
    children = [await child(database_url, f"child {number}", count) for number in range(2)]
    async with asyncio.timeout(40):
        for one in children:
            assert one.stdout is not None
            assert await one.stdout.readline() == b"ready\n"
        mine = asyncio.gather(*(log.append(event("mine", tenant="ab"[number % 2])) for number in range(count)))
        told = await asyncio.gather(*(one.communicate(b"go\n") for one in children))
        hashes = [*await mine, *(line for out, _ in told for line in out.decode().split())]
    assert [await log.verify(tenant) for tenant in "ab"] == [3 * count / 2] * 2
    kept = await fetch(pool, "SELECT hash FROM audit_events")
    assert sorted(hashes) == sorted(row["hash"] for row in kept)
    for tenant in "ab":
        order = await actors(pool, tenant)
        assert {name: order.count(name) for name in set(order)} == dict.fromkeys(
            ("mine", "child 0", "child 1"), count // 2
        )


async def test_what_was_told_is_there_after_a_kill(pool: Pool, log: AuditLog, database_url: str) -> None:
    """The process is killed in the middle of its appends, at a point that nobody chose."""
    writing = await child(database_url, "killed", 100_000)
    assert writing.stdout is not None
    assert writing.stdin is not None
    async with asyncio.timeout(40):
        await writing.stdout.readline()
        writing.stdin.write(b"go\n")
        some = [(await writing.stdout.readline()).decode().strip() for _ in range(random.Random(7).randint(20, 60))]
        writing.kill()
        rest = (await writing.stdout.read()).decode()
        await writing.wait()
    told = some + rest[: rest.rfind("\n") + 1].split()  # the last line may be cut
    kept = {row["hash"] for row in await fetch(pool, "SELECT hash FROM audit_events")}
    assert set(told) <= kept
    assert sum([await log.verify(tenant) for tenant in "ab"]) == len(kept)
    await log.append(event("after", tenant="a"))
    await log.verify("a")


async def stall(pool: Pool, log: AuditLog) -> None:
    """Take the head, as an append does, and do nothing more until another one has appended."""
    async with pool.connection() as connection, connection.transaction():
        await connection.cursor().executemany("UPDATE audit_heads SET seq = seq WHERE tenant = %s", [("default",)] * 2)
        await log.append(event("second"))


async def test_a_process_that_stalls_within_a_write_holds_the_others_up_for_seconds_only(
    database_url: str, clock: SystemClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the head of the chain and says nothing more. Proves TR-37: it loses the head, and the others write."""
    async with AsyncExitStack() as pools:
        with monkeypatch.context() as short:
            short.setattr(postgres, "TRANSACTION_S", 0.5)  # of the connection that is opened now
            stalled = await pools.enter_async_context(open_pool(database_url, 1))
        pool = await pools.enter_async_context(open_pool(database_url, 4))
        log = AuditLog(pool, clock)
        await log.append(event("first"))
        async with asyncio.timeout(20):
            with pytest.raises(StoreUnavailable):
                await stall(stalled, log)
        assert await actors(pool) == ["first", "second"]


async def test_a_transaction_that_takes_its_time_is_not_cut_short(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "TRANSACTION_S", 0.5)
    async with open_pool(database_url, 1) as pool, pool.connection() as connection, connection.transaction():
        await postgres.take_time(connection)
        await connection.execute("SELECT pg_sleep(0.7)")


async def test_verifying_while_others_append_sees_no_tampering(pool: Pool, log: AuditLog) -> None:
    await log.append(event("first"))
    running = True

    async def append() -> None:
        while running:
            await log.append(event("busy"))

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(append())
        lengths = [await log.verify() for _ in range(40)]
        running = False
    assert lengths == sorted(lengths)
    assert lengths[-1] > lengths[0]


async def test_a_cancelled_append_takes_no_other_with_it(pool: Pool, log: AuditLog) -> None:
    """One whose event is being written, and some that wait: the rest are on the record."""
    async with head_taken(pool, log):
        writer = asyncio.create_task(log.append(event("writer")))
        await blocked(pool)
        waiting = [asyncio.create_task(log.append(event(f"waiting {number}"))) for number in range(5)]
        await asyncio.sleep(0)
        for one in (writer, waiting[0], waiting[2]):
            one.cancel()
            with pytest.raises(asyncio.CancelledError):
                await one
        late = asyncio.create_task(log.append(event("late")))
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        told = await asyncio.gather(*(one for one in (*waiting, late) if not one.cancelled()))
    order = await actors(pool)
    kept = [row["hash"] for row in await fetch(pool, "SELECT hash FROM audit_events ORDER BY seq")]
    assert await log.verify() == len(order)
    assert [kept[order.index(name)] for name in ("waiting 1", "waiting 3", "waiting 4", "late")] == told
    assert all(order.count(name) == 1 for name in set(order))


async def test_a_failure_reaches_everyone_who_waits(pool: Pool, log: AuditLog) -> None:
    await fetch(pool, "ALTER TABLE audit_events RENAME TO away")
    async with asyncio.timeout(20):
        told = await asyncio.gather(*(log.append(event("x")) for _ in range(10)), return_exceptions=True)
    assert [type(error) for error in told] == [SchemaOutdated] * 10
    await fetch(pool, "ALTER TABLE away RENAME TO audit_events")
    assert await log.verify() == 0
    await log.append(event("x"))  # nothing is stuck
    assert await log.verify() == 1


async def test_a_lost_connection_is_told_and_the_next_append_works(pool: Pool, log: AuditLog) -> None:
    async with head_taken(pool, log):
        writer = asyncio.create_task(log.append(event("writer")))
        await fetch(pool, "SELECT pg_terminate_backend(%s)", (await blocked(pool),))
        with pytest.raises(StoreUnavailable):
            await writer
        late = asyncio.create_task(log.append(event("late")))
    await late
    assert await actors(pool) == ["first", "late"]
    assert await log.verify() == 2


async def test_an_event_that_cannot_be_written_fails_alone(pool: Pool, log: AuditLog) -> None:
    """It waits in one batch with others, who must not learn of it."""
    odd = {"text": "a\x00b\ud83d", "number": float("inf")}
    async with head_taken(pool, log):
        writer = asyncio.create_task(log.append(event("writer")))
        await blocked(pool)
        good = [
            asyncio.create_task(log.append(event("good", data=odd, tenant=tenant))) for tenant in ("default", "x\x00")
        ]
        bad = [
            asyncio.create_task(log.append(event("bad", data={"object": object()}))),
            asyncio.create_task(log.append(event("bad", mission_id="nonsense"))),
        ]
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await asyncio.gather(writer, *good)
    told = await asyncio.gather(*bad, return_exceptions=True)
    assert [type(error) for error in told] == [TypeError, StoreError]
    assert await actors(pool) == ["first", "writer", "good"]
    assert (await log.tail("default", 1))[0]["data"] == {"text": "a\ufffdb\ufffd", "number": None}
    assert await log.verify("x\ufffd") == 1


async def test_a_mission_id_may_be_written_in_any_way(pool: Pool, log: AuditLog) -> None:
    for written in (MISSION, MISSION.upper(), MISSION.replace("-", "")):
        await log.append(event("one", mission_id=written))
    assert await log.verify() == 3
    assert len(await log.of_mission(MISSION)) == 3


async def test_a_chain_longer_than_a_page_verifies(pool: Pool, log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chimera.store.audit.chain._PAGE", 3)
    await asyncio.gather(*(log.append(event("x")) for _ in range(10)))
    assert await log.verify() == 10
    await fetch(pool, "ALTER TABLE audit_events DISABLE TRIGGER ALL")
    await fetch(pool, "DELETE FROM audit_events WHERE seq = 3")
    with pytest.raises(AuditBroken, match="event 3 is missing"):
        await log.verify()


async def test_tail_and_mission_show_the_newest_last(pool: Pool, log: AuditLog) -> None:
    for name in "abc":
        await log.append(event(name, mission_id=MISSION if name != "b" else None))
    assert [found["actor"] for found in await log.tail("default", 2)] == ["b", "c"]
    assert [found["actor"] for found in await log.of_mission(MISSION)] == ["a", "c"]
    assert await log.tail("nobody", 5) == []
    assert await log.verify("nobody") == 0


async def test_append_after_the_swarm_was_closed_is_an_error(database_url: str, clock: SystemClock) -> None:
    async with open_pool(database_url, 1) as closing:
        log = AuditLog(closing, clock)
    with pytest.raises(StoreUnavailable):
        await log.append(event("late"))
