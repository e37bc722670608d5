"""What a pool is for: its model, its tools, its money, and its share of the work. Proves FR-383 on a real Postgres."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage

from chimera import app
from chimera.bench.fleet.leaf import Leaf, SimulatedTools
from chimera.cli.working import Pools, session
from chimera.core.seats import Seats
from chimera.core.settings import Settings
from chimera.fleet.engine import Ended
from chimera.fleet.postgres_engine import PostgresEngine, open_postgres_engine
from chimera.fleet.remote import RemoteDispatch
from chimera.fleet.worker import Worker, WorkerPlan
from chimera.guards.effects import Effects, ToolListing
from chimera.models.scripted import ScriptedModel
from chimera.store.effects import EffectJournal
from chimera.store.pools import AgentPool, PoolStore
from chimera.store.postgres import fetch
from chimera.store.runs import NewRun
from chimera.tools.capability import ToolResult

MISSION = "6a5d3a1c-9a5e-4a39-8e0b-4a8d2b6d0c13"


def turn(messages: Sequence[BaseMessage], tools: Sequence[str]) -> AIMessage:
    """Search, then answer; each is paid for. What is named so searches for what hangs."""
    used = {"input_tokens": 1_000, "output_tokens": 0, "total_tokens": 1_000}
    if any(isinstance(message, ToolMessage) for message in messages):
        return AIMessage("orders and prices", usage_metadata=used)
    text = "hang" if "run-hang" in str(messages[1].content) else "orders"
    called = ToolCall(name=tools[0], args={"text": text}, id="0", type="tool_call")
    return AIMessage("", tool_calls=[called], usage_metadata=used)


@dataclass
class Hanging(SimulatedTools):
    """A tool that never answers some calls."""

    hang: int = 0

    async def call(self, name: str, arguments: dict[str, Any], **given: Any) -> ToolResult:
        """Answer, or hang."""
        if arguments["text"] == "hang":
            self.hang += 1
            await asyncio.sleep(3_600)
        return await super().call(name, arguments, **given)


def none(_settings: Settings) -> list[Any]:
    return []


@dataclass
class Place:
    """An app, its pools, and an engine."""

    opened: app.App
    engine: PostgresEngine
    leaf: Leaf
    pools: PoolStore
    tools: Hanging

    async def ask(self, name: str, pool: str) -> None:
        """Enqueue a run of an agent that searches."""
        run = self.leaf.run(name)
        payload = {"state": run.state, "recursion_limit": 60, "answers": None}
        await self.engine.enqueue([NewRun(name, run.thread_id, payload, pool=pool)])

    async def ended(self, name: str) -> Ended:
        """What became of it."""
        ended = await self.engine.ended(name, 30)
        assert ended is not None
        return ended

    @asynccontextmanager
    async def working(self, seats: int = 10) -> AsyncGenerator[None]:
        """A worker in which so many compute at once, for as long as the block lasts."""
        plan, taken = WorkerPlan("w", concurrency=10, ttl_s=30.0, poll_s=0.1, drain_s=0.2), Seats(seats)
        worker = Worker(self.engine, session(self.opened, 10, seats=taken), plan, seats=taken)
        running = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            worker.drain()
            await running


@pytest.fixture
async def place(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Place]:
    monkeypatch.setattr(app, "first_party", none)
    chosen = settings.model_copy(update={"max_tokens": 10**9, "prices": {"scripted": (7_000, 0)}})
    models = {"*": ScriptedModel(script=[turn])}
    async with app.open_app(chosen, app.Roles(models=models)) as opened:
        tools = Hanging(random.Random(1))
        effects = Effects(tools, EffectJournal(opened.pool))
        context = replace(opened.context, tools=ToolListing(tools), effects=effects)
        opened = replace(opened, context=context)
        leaf = Leaf(context, MISSION)
        await context.missions.create(leaf.mission_id, leaf.mission)
        async with open_postgres_engine(opened.pool, opened.database_url) as engine:
            yield Place(opened, engine, leaf, PoolStore(opened.pool), tools)


async def test_a_pool_has_its_own_model(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its workers ask that one; the other roles, and other pools, ask those of the settings."""
    monkeypatch.setattr(app, "first_party", none)
    async with app.open_app(settings.model_copy(update={"models": {"judge": "openai:strict"}})) as opened:
        pools = Pools(opened)
        own = pools.context_of(AgentPool("own", 5, model="openai:own"))
        plain = pools.context_of(AgentPool("plain", 5))
        assert [own.models.names(role) for role in ("worker", "judge")] == [["openai:own"], ["openai:strict"]]
        assert plain.models.names("worker") == opened.context.models.names("worker") == ["offline"]
        assert pools.context_of(AgentPool("own", 9, model="openai:own")) is own


async def test_a_pool_pays_for_its_runs_and_takes_no_more_when_its_money_is_gone(place: Place) -> None:
    await place.pools.add(AgentPool("paying", 5, budget_units=20))
    async with place.working():
        await place.ask("run-1", "paying")
        assert (await place.ended("run-1")).state == "done"
        assert (await place.pools.get("paying")).spent_units == 14, "two calls of 1,000 tokens at 7 each"
        await place.ask("run-2", "paying")
        assert (await place.ended("run-2")).state == "done"
        assert (await place.pools.get("paying")).spent_units == 28, "what has begun comes to its end"
        await place.ask("run-3", "paying")
        await place.ask("run-4", "default")
        assert (await place.ended("run-4")).state == "done"
        assert (await place.engine.runs.get("run-3"))["state"] == "queued"
        await place.pools.change("paying", budget_units=None)
        assert (await place.ended("run-3")).state == "done"


async def test_a_pool_uses_none_but_its_tools(place: Place) -> None:
    await place.pools.add(AgentPool("files", 5, tools=["files__*"]))
    async with place.working():
        await place.ask("run-1", "files")
        ended = await place.ended("run-1")
    assert (ended.state, (ended.error or {})["code"]) == ("failed", "CH500")
    assert "notes__search" in (ended.error or {})["message"]


async def test_a_tool_that_hangs_holds_up_nobody_but_its_pool(place: Place) -> None:
    """Who waits for it has no seat, and no more places of the worker than its pool may have."""
    await place.pools.add(AgentPool("stuck", 4, weight=100))
    for number in range(8):
        await place.ask(f"run-hang-{number}", "stuck")
    async with place.working(seats=2):
        async with asyncio.timeout(30):
            while place.tools.hang < 4:  # noqa: ASYNC110 - it calls nobody
                await asyncio.sleep(0.02)
        for number in range(20):
            await place.ask(f"run-{number}", "default")
        assert [(await place.ended(f"run-{number}")).state for number in range(20)] == ["done"] * 20
        states = Counter(row["state"] for row in await place.engine.runs.listed() if "hang" in row["id"])
        assert states == {"running": 4, "queued": 4}
        assert place.tools.hang == 4


async def test_work_goes_to_the_pools_by_their_room(place: Place) -> None:
    """Also what comes within a second, before anybody has looked at the pools again."""
    await place.pools.change("default", concurrency=0)
    await place.pools.add(AgentPool("small", 10))
    await place.pools.add(AgentPool("large", 15, weight=2))
    await place.pools.add(AgentPool("broke", 1_000, budget_units=0))
    await place.pools.add(AgentPool("others", 1_000, tools=["files__*"]))
    dispatch = RemoteDispatch(place.engine, place.opened.pool)
    asking = [
        asyncio.create_task(dispatch.run(place.leaf.run(f"run-{number}"), place.leaf.context)) for number in range(40)
    ]
    async with asyncio.timeout(30):
        while sum((counts := await by_pool(place)).values()) < 40:  # noqa: ASYNC110 - the database gives no event
            await asyncio.sleep(0.05)
    for task in asking:
        task.cancel()
    await asyncio.wait(asking)
    assert counts == {"small": 10, "large": 30}
    await place.pools.add(AgentPool("special", 1, tools=["notes__*"]))
    dispatch = RemoteDispatch(place.engine, place.opened.pool)
    last = asyncio.create_task(dispatch.run(place.leaf.run("run-last"), place.leaf.context))
    async with asyncio.timeout(30):
        while "special" not in await by_pool(place):  # noqa: ASYNC110 - the database gives no event
            await asyncio.sleep(0.05)
    last.cancel()
    await asyncio.wait([last])


async def by_pool(place: Place) -> dict[str, int]:
    rows = await fetch(place.opened.pool, "SELECT pool, count(*) AS n FROM runs GROUP BY pool")
    return {row["pool"]: row["n"] for row in rows}
