"""A process that steps hundreds of threads is killed in the middle; every thread goes on, whichever runner takes it.

Proves FR-301 and FR-302, with a real SIGKILL: in each thread at most the one step that was under way runs again.
"""

import asyncio
import operator
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from chimera.fleet.lean import LeanRunner
from chimera.store.checkpoints import open_saver
from chimera.store.postgres import open_pool

THREADS = 200
NODES = 6


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    box: dict[str, Any]


def graph(saver: Any, starts: Path) -> Any:
    """A chain of nodes that note their start on disk, and take a moment."""
    note = os.open(starts, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def node(name: str) -> Any:
        async def run(state: State, config: RunnableConfig) -> State:
            thread = config.get("configurable", {})["thread_id"]
            os.write(note, f"{thread} {name}\n".encode())
            await asyncio.sleep(0.01)
            return {"log": [name], "box": {"last": name}}

        return run

    builder: Any = StateGraph(State)
    for number in range(NODES):
        builder.add_node(f"n{number}", node(f"n{number}"))
        builder.add_edge(START if not number else f"n{number - 1}", f"n{number}")
    builder.add_edge(f"n{NODES - 1}", END)
    return builder.compile(checkpointer=saver)


def place(number: int) -> Any:
    return {"configurable": {"thread_id": f"killed-{number}"}, "recursion_limit": 20}


async def doomed(url: str, starts: Path) -> None:
    """Run all threads until somebody kills this process."""
    async with open_pool(url, 4) as pool, open_saver(pool) as saver:
        runner = LeanRunner(graph(saver, starts))
        await asyncio.gather(*(runner.ainvoke({"log": ["go"]}, place(number)) for number in range(THREADS)))


def begun(url: str, starts: Path) -> "subprocess.Popen[bytes]":
    """The process that is to be killed."""
    return subprocess.Popen([sys.executable, __file__, url, str(starts)])


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_hundreds_of_threads_go_on_after_a_kill(database_url: str, tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    child = begun(database_url, starts)
    deadline = time.monotonic() + 120
    while not starts.exists() or starts.read_text("utf-8").count("\n") < THREADS * 3:
        assert child.poll() is None
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    child.kill()
    child.wait()
    before = len(starts.read_text("utf-8").splitlines())
    async with open_pool(database_url, 8) as pool, open_saver(pool) as saver:
        stock = graph(saver, starts)
        lean = LeanRunner(stock)

        async def go_on(number: int) -> Any:
            there = await saver.aget_tuple(place(number)) is not None
            runner = lean if number % 2 else stock
            return await runner.ainvoke(None if there else {"log": ["go"]}, place(number), durability="sync")

        found = await asyncio.gather(*(go_on(number) for number in range(THREADS)))
    runs = Counter(starts.read_text("utf-8").splitlines())
    twice = Counter(line.split()[0] for line, times in runs.items() for _ in range(times - 1))
    assert [one["log"] for one in found] == [["go", *(f"n{number}" for number in range(NODES))]] * THREADS
    assert before < THREADS * NODES  # it was killed in the middle
    assert runs.total() >= THREADS * NODES
    assert max(twice.values()) == 1


if __name__ == "__main__":
    asyncio.run(doomed(sys.argv[1], Path(sys.argv[2])))
