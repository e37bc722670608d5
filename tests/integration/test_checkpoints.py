"""Checkpoints of many threads in one transaction, in LangGraph's own tables, on a real Postgres.

Proves FR-360: LangGraph's conformance suite passes on our saver as on its own, and each goes on with what the other
wrote. Proves FR-361: a put returns after its commit, whole batches at a time, and what cannot be written is told to
whoever waits for it and to nobody else. Proves FR-362: the queue is bounded, and a lost connection loses nothing.
"""

import asyncio
import operator
import uuid
from collections.abc import AsyncGenerator, Callable
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointMetadata, empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt

from chimera.core.clock import SystemClock
from chimera.core.contracts import Usage
from chimera.core.errors import LeaseLost, StoreError, StoreUnavailable
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.checkpoints import GroupCommit, GroupCommitSaver, Lease, open_saver
from chimera.store.checkpoints.rows import Unit
from chimera.store.postgres import Pool, fetch, open_pool
from chimera.store.usage import UsageLog

Make = Callable[[Pool], AsyncPostgresSaver]
SAVERS: dict[str, Make] = {"stock": AsyncPostgresSaver, "group": GroupCommitSaver}


@pytest.mark.parametrize("name", SAVERS)
async def test_langgraphs_own_conformance_suite_passes(name: str, pool: Pool) -> None:
    @checkpointer_test(name=name)
    async def tested() -> AsyncGenerator[AsyncPostgresSaver]:
        yield SAVERS[name](pool)

    report = await validate(tested)
    failed = {kind: found.failures for kind, found in report.results.items() if found.detected and not found.passed}
    assert failed == {}
    assert {kind for kind, found in report.results.items() if found.passed} >= {
        "put",
        "put_writes",
        "get_tuple",
        "list",
        "delete_thread",
        "prune",
    }


class State(TypedDict, total=False):
    done: Annotated[list[str], operator.add]
    text: str


def graph(saver: AsyncPostgresSaver, calls: list[str]) -> Any:
    """Two branches, one of which asks a human, behind a fan-out; then a join."""

    def branch(state: State) -> dict[str, Any]:
        calls.append(f"branch {state.get('text')}")
        return {"done": [f"branch {state.get('text')}"]}

    def asks(state: State) -> dict[str, Any]:
        calls.append("asks")
        return {"done": [f"told {interrupt('go on?')}"]}

    def fan(state: State) -> list[Send]:
        return [Send("branch", {"text": str(number)}) for number in range(3)] + [Send("asks", {})]

    builder = StateGraph(State)
    builder.add_node("first", lambda state: {"text": "a \u2603 b"})
    builder.add_node("branch", branch)
    builder.add_node("asks", asks)
    builder.add_node("last", lambda state: {"done": ["last"]})
    builder.add_edge(START, "first")
    builder.add_conditional_edges("first", fan, ["branch", "asks"])
    builder.add_edge(["branch", "asks"], "last")
    builder.add_edge("last", END)
    return builder.compile(checkpointer=saver)


@pytest.mark.parametrize(("writer", "reader"), [("stock", "group"), ("group", "stock"), ("group", "group")])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_each_goes_on_with_the_threads_of_the_other(
    pool: Pool, writer: str, reader: str, durability: Any
) -> None:
    calls: list[str] = []
    config: RunnableConfig = {"configurable": {"thread_id": f"{writer}-{reader}-{durability}"}}
    first, second = graph(SAVERS[writer](pool), calls), graph(SAVERS[reader](pool), calls)
    await first.ainvoke({"done": ["start"]}, config, durability=durability)
    seen = await second.aget_state(config)
    assert [item.value for item in seen.interrupts] == ["go on?"]
    answer = {item.id: "yes" for item in seen.interrupts}
    result = await second.ainvoke(Command(resume=answer), config, durability=durability)
    assert sorted(result["done"]) == ["branch 0", "branch 1", "branch 2", "last", "start", "told yes"]
    assert sorted(calls) == ["asks", "asks", "branch 0", "branch 1", "branch 2"], "no branch ran twice"
    histories = [
        [(at.metadata, at.values, at.next) async for at in each.aget_state_history(config)] for each in (first, second)
    ]
    assert histories[0] == histories[1]


def unit(thread: str, body: str = "{}", size: int = 10) -> Unit:
    checkpoint = (thread, "", "1", None, f'{{"v": 4, "id": "1", "text": "{body}"}}', "{}")
    return Unit((checkpoint,), [(thread, "", "channel", "1", "bytes", b"x" * size)])


async def saved(pool: Pool) -> set[str]:
    rows = await fetch(pool, "SELECT thread_id FROM checkpoints JOIN checkpoint_blobs USING (thread_id)")
    return {row["thread_id"] for row in rows}


async def test_what_many_tasks_save_at_once_is_few_transactions(pool: Pool) -> None:
    group = GroupCommit(pool)
    threads = {f"t{number}" for number in range(500)}

    async def save(thread: str) -> None:
        await group.commit(unit(thread))
        committed.add(thread)

    committed: set[str] = set()
    before = pool.get_stats().get("requests_num", 0)
    await asyncio.gather(*map(save, threads))
    assert pool.get_stats()["requests_num"] - before < 10
    assert committed == await saved(pool) == threads


async def test_a_unit_that_cannot_be_written_fails_alone(pool: Pool) -> None:
    group = GroupCommit(pool)
    units = [unit(f"t{number}", "\\u0000" if number in (7, 23) else "fine") for number in range(40)]
    done = await asyncio.gather(*map(group.commit, units), return_exceptions=True)
    assert [number for number, error in enumerate(done) if error is not None] == [7, 23]
    assert all(isinstance(error, StoreError) for error in (done[7], done[23]))
    assert len(await saved(pool)) == 38
    await group.commit(unit("after"))


async def test_what_is_written_together_fails_apart(pool: Pool, clock: SystemClock) -> None:
    """A lost lease stops the steps, and neither what goes on the record nor what is counted. Proves FR-367."""
    lost, kept = GroupCommit(pool, lease=Lease("nobody", 1)), GroupCommit(pool)
    log, usage, mission = AuditLog(pool, clock), UsageLog(pool), str(uuid.uuid4())
    before = pool.get_stats().get("requests_num", 0)
    done = await asyncio.gather(
        *(lost.commit(unit(f"lost{number}")) for number in range(5)),
        *(log.append(AuditEvent("k", str(number))) for number in range(3)),
        *(usage.total(mission) for _ in range(2)),
        kept.commit(unit("kept")),
        return_exceptions=True,
    )
    assert [type(found) for found in done] == [LeaseLost] * 5 + [str] * 3 + [Usage] * 2 + [type(None)]
    assert pool.get_stats()["requests_num"] - before == 5, "one for all of it, and one for each kind after that failed"
    assert await saved(pool) == {"kept"}
    assert await log.verify() == 3


async def test_who_gives_up_waiting_takes_nobody_along(pool: Pool) -> None:
    group = GroupCommit(pool)
    tasks = [asyncio.create_task(group.commit(unit(f"t{number}"))) for number in range(30)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [number for number, error in enumerate(done) if error is not None] == [3]
    assert await saved(pool) >= {f"t{number}" for number in range(30) if number != 3}


async def test_the_queue_is_bounded_and_everybody_gets_a_turn(pool: Pool) -> None:
    group = GroupCommit(pool, room_bytes=20_000)
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, group.waiting_bytes)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(group.commit(unit(f"t{number}", size=5_000)) for number in range(60)))
    watching.cancel()
    assert len(await saved(pool)) == 60
    assert 20_000 < most < 2 * 20_000, "what comes when there is no room waits outside"
    assert group.waiting_bytes == 0


async def test_two_writes_of_one_key_end_as_if_one_came_after_the_other(pool: Pool) -> None:
    group = GroupCommit(pool)

    def written(value: bytes, *, replaces: bool) -> Unit:
        return Unit(writes=[("t", "", "1", "task", "", 0, "channel", "bytes", value)], replaces=replaces)

    await asyncio.gather(
        group.commit(written(b"first", replaces=False)), group.commit(written(b"second", replaces=False))
    )
    (row,) = await fetch(pool, "SELECT blob FROM checkpoint_writes")
    assert row["blob"] == b"first"
    await asyncio.gather(group.commit(written(b"third", replaces=True)), group.commit(written(b"4", replaces=False)))
    (row,) = await fetch(pool, "SELECT blob FROM checkpoint_writes")
    assert row["blob"] == b"third"


async def test_a_lost_connection_loses_nothing(pool: Pool, database_url: str) -> None:
    """Backends are killed all the while, after each unit that was saved; what was in doubt is sent again."""
    group = GroupCommit(pool)
    progress, struck, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def kill() -> None:
        async with open_pool(database_url, 1) as other:
            while not over.is_set():
                await progress.wait()
                query = (
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
                if await fetch(other, query):
                    struck.set()
                progress.clear()

    async def save(number: int) -> None:
        for step in range(5):
            if step == 3:
                await struck.wait()
            await group.commit(unit(f"t{number}-{step}"))
            progress.set()

    killer = asyncio.create_task(kill())
    try:
        async with asyncio.timeout(50):
            await asyncio.gather(*map(save, range(40)))
    finally:
        over.set()
        progress.set()
        await killer
    assert struck.is_set()
    assert len(await saved(pool)) == 200


async def test_a_server_that_stays_away_is_told_to_everybody(pool: Pool) -> None:
    group = GroupCommit(pool, patience_s=0.2)
    await pool.close()
    done = await asyncio.gather(*(group.commit(unit(f"t{number}")) for number in range(5)), return_exceptions=True)
    assert [type(error) for error in done] == [StoreUnavailable] * 5


async def test_a_saver_that_is_closed_has_written_everything(pool: Pool) -> None:
    metadata: CheckpointMetadata = {"source": "input", "step": -1, "parents": {}}
    async with open_saver(pool) as saver:
        config: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        checkpoint = {**empty_checkpoint(), "channel_values": {"text": "é", "list": (1, 2)}}
        task = asyncio.create_task(saver.aput(config, checkpoint, metadata, {"list": "1"}))  # pyright: ignore[reportArgumentType]
        await asyncio.sleep(0)
    assert task.done()
    found = await AsyncPostgresSaver(pool).aget_tuple(config)
    assert found is not None
    assert found.checkpoint["channel_values"]["text"] == "é"
