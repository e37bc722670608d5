"""What a worker measures of its agents' steps, and where it is seen: real runs on a real Postgres, on either runner.

Proves FR-353.
"""

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from langchain_core.outputs import ChatResult
from typer.testing import CliRunner

from chimera import app
from chimera.bench.fleet.leaf import Leaf, simulated
from chimera.cli.main import app as commands
from chimera.cli.working import session
from chimera.core.clock import SystemClock
from chimera.core.settings import Settings
from chimera.core.timing import bucket
from chimera.fleet.measuring import Measuring
from chimera.fleet.postgres_engine import open_postgres_engine
from chimera.fleet.worker import Worker, WorkerPlan
from chimera.models.scripted import ScriptedModel
from chimera.store.latencies import LatencyStore, Measured
from chimera.store.postgres import Pool, fetch
from chimera.store.runs import NewRun
from chimera.store.workers import WorkerStore

MISSION = "6a5d3a1c-9a5e-4a39-8e0b-4a8d2b6d0c12"
RUNS = 5
THINK_S = 0.02


class Slow(ScriptedModel):
    """A model that thinks."""

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        await asyncio.sleep(THINK_S)
        kwargs.pop("run_manager", None)
        return self._generate(args[0], **kwargs)


def turn(messages: Sequence[BaseMessage], tools: Sequence[str]) -> AIMessage:
    """Search, then answer."""
    if any(isinstance(message, ToolMessage) for message in messages):
        return AIMessage("orders and prices")
    return AIMessage("", tool_calls=[ToolCall(name=tools[0], args={"text": "orders"}, id="0", type="tool_call")])


def none(_settings: Settings) -> list[Any]:
    return []


@asynccontextmanager
async def working(settings: Settings, runner: str) -> AsyncGenerator[Measured]:
    """A worker carries out a few agents; what it measured is there when it has stopped."""
    model = Slow(script=[turn])
    chosen = settings.model_copy(update={"agent_runner": runner, "max_tokens": 10**9})
    async with app.open_app(chosen, app.Roles(models={"*": model})) as opened:
        context, _ = simulated(opened, random.Random(1))
        leaf = Leaf(context, MISSION)
        await context.missions.create(leaf.mission_id, leaf.mission)
        async with open_postgres_engine(opened.pool, opened.database_url) as engine:
            measuring = Measuring(opened.pool, SystemClock().monotonic)
            body = session(replace(opened, context=context), 10, measuring)
            worker = Worker(engine, body, WorkerPlan("w", ttl_s=30.0), measuring)
            runs = [leaf.run(f"run-{number}") for number in range(RUNS)]
            await engine.enqueue(
                [
                    NewRun(f"r{number}", run.thread_id, {"state": run.state, "recursion_limit": 60, "answers": None})
                    for number, run in enumerate(runs)
                ]
            )
            working = asyncio.create_task(worker.run())
            for number in range(RUNS):
                ended = await engine.ended(f"r{number}", 30)
                assert ended is not None
                assert ended.state == "done"
            worker.drain()
            await working
        yield await LatencyStore(opened.pool).measured()


@pytest.mark.parametrize("runner", ["lean", "stock"])
async def test_every_part_of_every_step_is_measured(
    settings: Settings, runner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "first_party", none)
    async with working(settings, runner) as measured:
        (pool,) = measured.values()
    assert list(measured) == ["default"]
    assert list(pool) == ["queue", "framework", "guard", "model", "tool"]
    times = {part: figures["n"] for part, figures in pool.items()}
    # Two turns, one call of a tool, a guard before and after it: worker, guard, tool, guard, worker, conclude.
    assert {**times, "framework": 0, "guard": 0} == {
        "queue": RUNS,
        "framework": 0,
        "guard": 0,
        "model": 2 * RUNS,
        "tool": RUNS,
    }
    assert times["guard"] >= 2 * RUNS
    assert 6 * RUNS <= times["framework"] <= 8 * RUNS
    assert pool["model"]["p99_s"] >= pool["model"]["p50_s"] > THINK_S * 0.9


async def test_workers_are_added_up_and_only_whoever_has_the_lease_is_heard(pool: Pool) -> None:
    workers, store = WorkerStore(pool), LatencyStore(pool)
    given: dict[str, Any] = {"engine": "postgres", "concurrency": 1, "pools": None, "ttl_s": 60}
    leases = [await workers.register(name, **given) for name in ("a", "b")]
    for lease in leases:
        await store.put(lease, {("p", "tool"): {bucket(0.1): 10, bucket(5.0): 1}, ("p", "guard"): {bucket(0.01): 1}})
    found = (await store.measured("p"))["p"]
    assert list(found) == ["guard", "tool"]
    assert found["tool"]["n"] == 22
    assert found["tool"]["p50_s"] == pytest.approx(0.1, rel=0.03)
    assert found["tool"]["p99_s"] == pytest.approx(5.0, rel=0.03)
    await store.put(leases[0], {("p", "tool"): {bucket(1.0): 1}})  # in the place of what was there, the guard's too
    assert {part: figures["n"] for part, figures in (await store.measured())["p"].items()} == {"guard": 1, "tool": 12}
    await workers.leave(leases[1])
    await store.put(leases[1], {})
    assert (await store.measured())["p"]["tool"]["n"] == 12
    await fetch(pool, "UPDATE latencies SET measured_at = now() - interval '6 minutes' WHERE worker = 'b'")
    assert (await store.measured())["p"]["tool"]["n"] == 1
    assert await store.measured("other") == {}


def test_top_and_pools_show_them(
    settings: Settings, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fill() -> None:
        async with app.open_pool(database_url, 2) as pool:
            given: dict[str, Any] = {"engine": "postgres", "concurrency": 1, "pools": None, "ttl_s": 60}
            lease = await WorkerStore(pool).register("a", **given)
            await LatencyStore(pool).put(lease, {("default", "model"): {bucket(1.5): 3}})

    asyncio.run(fill())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHIMERA_HOME", str(settings.home))
    for name in ("database_url", "redis_url"):
        monkeypatch.setenv(f"CHIMERA_{name.upper()}", getattr(settings, name).get_secret_value())
    figures = {"n": 3, **{name: pytest.approx(1.5, rel=0.03) for name in ("p50_s", "p95_s", "p99_s")}}
    top = json.loads(CliRunner().invoke(commands, ["top", "--json"]).stdout)
    assert top["pools"][0]["latencies"] == {"model": figures}
    shown = json.loads(CliRunner().invoke(commands, ["pools", "show", "default", "--json"]).stdout)
    assert shown["latencies"] == {"model": figures}
    assert shown["name"] == "default"
    for command in (["top", "--once"], ["pools", "show", "default"]):
        said = CliRunner().invoke(commands, command)
        assert "p95" in said.stdout, said
        assert "1.5" in said.stdout
    missing = CliRunner().invoke(commands, ["pools", "show", "gone", "--json"])
    assert json.loads(missing.stdout)["error"]["code"] == "CH100"
