"""Missions whose agents run on the fleet's workers: killed, drained, cancelled, late, slow, and without any worker.

Proves FR-349, LAW-7, LAW-4: real worker processes with the real agent graph, guards, judge and tool server.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage, BaseMessage
from psycopg.rows import dict_row

from chimera import ChimeraSwarm
from chimera.core.contracts import Mission, MissionResult, Plan, ReviewDecision, ReviewItem, Task
from chimera.core.settings import Settings
from chimera.core.spotlight import read
from chimera.models.scripted import ScriptedModel
from chimera.store.embedded import Endpoints

HERE = Path(__file__).parent
LEDGER = HERE.parent.parent / "servers" / "ledger.py"
PATIENCE_S = 30.0


class Crew:
    """A mission in this process, and workers in others."""

    def __init__(self, folder: Path, database_url: str, endpoints: Endpoints, think_s: float) -> None:
        self.database_url = database_url
        self._folder = folder
        servers = folder / "servers.json"
        command = {"command": sys.executable, "args": ["-I", "-S", str(LEDGER), str(folder / "effects.jsonl")]}
        servers.write_text(json.dumps({"mcpServers": {"ledger": command}}), "utf-8")
        urls = {"database_url": database_url, "redis_url": endpoints.redis_url}
        self.settings: dict[str, Any] = {"home": str(folder / "home"), "servers": str(servers), "auto_approve": 0.8}
        self.settings |= urls
        config = {"settings": self.settings, "turns": str(folder / "turns.jsonl"), "think_s": think_s}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(HERE / "crew.py"), json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self._read()
        self._pids: list[int] = []

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def hire(self, worker: str, **plan: Any) -> int:
        """Start a worker process."""
        assert self._process.stdin is not None
        order = {"id": worker, "concurrency": 20, "ttl_s": 2.0, "poll_s": 0.5, "drain_s": 5.0, **plan}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        self._pids.append(int(self._read()["pid"]))
        return self._pids[-1]

    def close(self) -> None:
        """End every process."""
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait(PATIENCE_S)

    # --- what happens ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def swarm(self, tasks: Sequence[Task], **settings: Any) -> AsyncGenerator[ChimeraSwarm]:
        """A swarm that has its agents run on the fleet."""

        def form(tools: Sequence[str], filled: dict[str, Any]) -> AIMessage:
            return AIMessage(
                content="", tool_calls=[{"name": tools[0], "args": filled, "id": "form", "type": "tool_call"}]
            )

        def divide(_messages: Sequence[BaseMessage], tools: Sequence[str]) -> AIMessage:
            return form(tools, {"teams": [{"name": "team", "goal": "goal"}]})

        def plan(_messages: Sequence[BaseMessage], tools: Sequence[str]) -> AIMessage:
            return form(tools, Plan(tasks=list(tasks), confidence=0.9).plain())

        def judge(messages: Sequence[BaseMessage], tools: Sequence[str]) -> AIMessage:
            criteria = read(messages[1].content)["criteria"]
            checks = [{"criterion": text, "passed": True, "why": ""} for text in criteria]
            return form(tools, {"checks": checks, "confidence": 0.95})

        async def human(item: ReviewItem) -> ReviewDecision:
            self.asked.append(item)
            return ReviewDecision(action="approve", reviewer="ada")

        self.asked: list[ReviewItem] = []
        lines = {"orchestrator": divide, "planner": plan, "judge": judge}
        models = {role: ScriptedModel(script=[line]) for role, line in lines.items()}
        all_settings = Settings.model_validate({**self.settings, "dispatch": "fleet", **settings})
        async with ChimeraSwarm(all_settings, models=models, reviewer=human) as swarm:
            yield swarm

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The turns or the effects, in order."""
        path = self._folder / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of the database."""
        with (
            psycopg.connect(self.database_url, autocommit=True) as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            cursor.execute(query.encode(), values)
            return cursor.fetchall() if cursor.description else []

    async def until(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """The rows, as soon as there are any."""
        end = time.monotonic() + PATIENCE_S
        while not (rows := await asyncio.to_thread(self.rows, query, *values)):
            assert time.monotonic() < end, f"never: {query}; {self.rows('SELECT id, state, error FROM runs')}"
            await asyncio.sleep(0.05)
        return rows


@pytest.fixture
def crew(
    tmp_path: Path,
    database_url: str,
    endpoints: Endpoints,
    monkeypatch: pytest.MonkeyPatch,
    enrol: Callable[..., None],
) -> Generator[Callable[[float], Crew]]:
    """Makes crews whose models think for so many seconds."""

    def none(_settings: Settings) -> list[Any]:
        return []

    monkeypatch.setattr("chimera.app.first_party", none)
    enrol(database_url, "ada")
    made: list[Crew] = []

    def make(think_s: float) -> Crew:
        made.append(Crew(tmp_path, database_url, endpoints, think_s))
        return made[-1]

    yield make
    for each in made:
        each.close()


def task(number: int, tool: str = "put", *needs: str) -> Task:
    tools = [f"ledger__{tool}"] if tool else []
    return Task(
        id=f"t{number}", title=f"task {number}", instruction=f"task {number}", tools=tools, depends_on=list(needs)
    )


async def test_a_worker_is_killed_in_the_middle_of_a_mission(crew: Callable[[float], Crew]) -> None:
    """Proves FR-349, LAW-7 and LAW-4: another one finishes, and each effect happened once."""
    here = crew(0.7)
    pids = {name: here.hire(name, concurrency=3) for name in ("one", "two")}
    await here.until("SELECT 1 FROM workers HAVING count(*) = 2")
    tasks = [*(task(number) for number in range(1, 6)), task(6, "put", "t1", "t2")]
    async with here.swarm(tasks) as swarm:
        running = asyncio.create_task(swarm.run(Mission(goal="goal", deadline_s=60)))
        rows = await here.until("SELECT worker FROM runs WHERE state = 'running' AND worker IS NOT NULL")
        await here.until("SELECT 1 FROM effects")
        os.kill(pids[rows[0]["worker"]], signal.SIGKILL)
        result = await running
    assert result.status == "done", (result, here.rows("SELECT id, state, error FROM runs"))
    effects = here.lines("effects")
    assert {effect["text"] for effect in effects} == {f"task {number}" for number in range(1, 7)}
    assert len({effect["key"] for effect in effects}) == 6, "what was sent twice was sent under one key"
    runs = here.rows("SELECT state, attempts FROM runs")
    assert [row["state"] for row in runs] == ["done"] * 6
    assert max(row["attempts"] for row in runs) == 2, "the killed worker had nothing to do: the test shows nothing"
    turns = Counter((turn["task"], turn["done"]) for turn in here.lines("turns"))
    assert max(turns.values()) <= 2
    assert here.asked == []


@pytest.mark.long
async def test_the_process_of_the_mission_goes_and_comes_back(crew: Callable[[float], Crew]) -> None:
    """Proves FR-349: the runs go on without it, and it finds their outcomes."""
    here = crew(0.4)
    here.hire("one")
    async with here.swarm([task(1), task(2)]) as swarm:
        mission_id = swarm.app.context.new_id()
        running = asyncio.create_task(swarm.run(Mission(goal="goal", deadline_s=60), mission_id=mission_id))
        await here.until("SELECT 1 FROM runs WHERE state = 'running' HAVING count(*) = 2")
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    await here.until("SELECT 1 FROM runs WHERE state = 'done' HAVING count(*) = 2")
    async with here.swarm([task(1), task(2)]) as swarm:
        result = await swarm.resume(mission_id)
    assert result.status == "done"
    assert len(here.lines("turns")) == 4
    assert len(here.rows("SELECT id FROM runs")) == 2


async def test_nobody_works(crew: Callable[[float], Crew]) -> None:
    """Proves FR-349: a mission without workers ends at its deadline, and what it asked for is not begun later."""
    here = crew(0.1)
    async with here.swarm([task(1)]) as swarm:
        result: MissionResult = await swarm.run(Mission(goal="goal", deadline_s=2))
    assert result.status == "failed"
    here.hire("late")
    await here.until("SELECT 1 FROM runs WHERE state IN ('failed', 'cancelled')")
    assert here.lines("turns") == []


@pytest.mark.long
async def test_a_second_worker_tries_what_only_reads(crew: Callable[[float], Crew]) -> None:
    """Proves FR-349: a task that only reads is tried by another worker when it takes too long; one that acts is not."""
    here = crew(0.2)
    stalled = here.hire("one", ttl_s=30.0)
    async with here.swarm([task(1, "look"), task(2, "put")], hedge_after_s=1.0) as swarm:
        running = asyncio.create_task(swarm.run(Mission(goal="goal", deadline_s=40)))
        await here.until("SELECT 1 FROM runs WHERE state = 'running' HAVING count(*) = 2")
        os.kill(stalled, signal.SIGSTOP)
        here.hire("two")
        await here.until("SELECT 1 FROM runs WHERE state = 'done' AND thread_id LIKE '%%/hedge'")
        assert here.rows("SELECT id FROM runs WHERE state = 'done' AND thread_id NOT LIKE '%%/hedge'") == []
        os.kill(stalled, signal.SIGCONT)
        result = await running
    assert result.status == "done"
    assert len(here.rows("SELECT id FROM runs WHERE thread_id LIKE '%%/hedge'")) == 1
    assert [effect["text"] for effect in here.lines("effects") if effect["tool"] == "put"] == ["task 2"]
