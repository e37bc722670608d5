"""Missions whose agents run on the fleet's workers: killed, drained, cancelled, late, slow, and without any worker.

Proves FR-349, LAW-7, LAW-4: real worker processes with the real agent graph, guards, judge and tool server.
"""

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage

from chimera import ChimeraSwarm
from chimera.core.contracts import Mission, MissionResult, Plan, ReviewDecision, ReviewItem, Task
from chimera.core.settings import Settings
from chimera.core.spotlight import read
from chimera.models.scripted import ScriptedModel
from chimera.store.embedded import Endpoints

if TYPE_CHECKING:
    from conftest import Fleet

LEDGER = Path(__file__).parent.parent.parent / "servers" / "ledger.py"


class Crew:
    """A mission in this process, and workers in others, with the tool server of the tests."""

    def __init__(self, fleet: "Fleet", folder: Path, redis_url: str, think_s: float) -> None:
        self.fleet = fleet
        servers = folder / "servers.json"
        command = {"command": sys.executable, "args": ["-I", "-S", str(LEDGER), str(folder / "effects.jsonl")]}
        servers.write_text(json.dumps({"mcpServers": {"ledger": command}}), "utf-8")
        settings = {"redis_url": redis_url, "servers": str(servers), "auto_approve": 0.8}
        fleet.equip(folder, settings, think_s=think_s, tasks=[], tools=True)
        self.asked: list[ReviewItem] = []

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

        lines = {"orchestrator": divide, "planner": plan, "judge": judge}
        models = {role: ScriptedModel(script=[line]) for role, line in lines.items()}
        all_settings = Settings.model_validate({**self.fleet.settings, "dispatch": "fleet", **settings})
        async with ChimeraSwarm(all_settings, models=models, reviewer=human) as swarm:
            yield swarm


@pytest.fixture
def crew(
    tmp_path: Path,
    database_url: str,
    make_fleet: Callable[[str], "Fleet"],
    endpoints: Endpoints,
    monkeypatch: pytest.MonkeyPatch,
    enrol: Callable[..., None],
) -> Callable[[float], Crew]:
    """Makes crews whose models think for so many seconds."""

    def none(_settings: Settings) -> list[Any]:
        return []

    monkeypatch.setattr("chimera.app.first_party", none)
    enrol(database_url, "ada")
    return lambda think_s: Crew(make_fleet(database_url), tmp_path, endpoints.redis_url, think_s)


def task(number: int, tool: str = "put", *needs: str) -> Task:
    tools = [f"ledger__{tool}"] if tool else []
    return Task(
        id=f"t{number}", title=f"task {number}", instruction=f"task {number}", tools=tools, depends_on=list(needs)
    )


async def test_a_worker_is_killed_in_the_middle_of_a_mission(crew: Callable[[float], Crew]) -> None:
    """Proves FR-349, LAW-7 and LAW-4: another one finishes, and each effect happened once."""
    here = crew(0.7)
    pids = {name: here.fleet.hire(name, concurrency=3) for name in ("one", "two")}
    await here.fleet.until("SELECT 1 FROM workers HAVING count(*) = 2")
    tasks = [*(task(number) for number in range(1, 6)), task(6, "put", "t1", "t2")]
    async with here.swarm(tasks) as swarm:
        running = asyncio.create_task(swarm.run(Mission(goal="goal", deadline_s=60)))
        rows = await here.fleet.until("SELECT worker FROM runs WHERE state = 'running' AND worker IS NOT NULL")
        await here.fleet.until("SELECT 1 FROM effects")
        here.fleet.signal(pids[rows[0]["worker"]], signal.SIGKILL)
        result = await running
    assert result.status == "done", (result, here.fleet.rows("SELECT id, state, error FROM runs"))
    effects = here.fleet.lines("effects")
    assert {effect["text"] for effect in effects} == {f"task {number}" for number in range(1, 7)}
    assert len({effect["key"] for effect in effects}) == 6, "what was sent twice was sent under one key"
    runs = here.fleet.rows("SELECT state, attempts FROM runs")
    assert [row["state"] for row in runs] == ["done"] * 6
    assert max(row["attempts"] for row in runs) == 2, "the killed worker had nothing to do: the test shows nothing"
    turns = Counter((turn["run"], turn["turn"]) for turn in here.fleet.lines("turns"))
    assert max(turns.values()) <= 2
    assert here.asked == []


@pytest.mark.long
async def test_the_process_of_the_mission_goes_and_comes_back(crew: Callable[[float], Crew]) -> None:
    """Proves FR-349: the runs go on without it, and it finds their outcomes."""
    here = crew(0.4)
    here.fleet.hire("one")
    async with here.swarm([task(1), task(2)]) as swarm:
        mission_id = swarm.app.context.new_id()
        running = asyncio.create_task(swarm.run(Mission(goal="goal", deadline_s=60), mission_id=mission_id))
        await here.fleet.until("SELECT 1 FROM runs WHERE state = 'running' HAVING count(*) = 2")
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    await here.fleet.until("SELECT 1 FROM runs WHERE state = 'done' HAVING count(*) = 2")
    async with here.swarm([task(1), task(2)]) as swarm:
        result = await swarm.resume(mission_id)
    assert result.status == "done"
    assert len(here.fleet.lines("turns")) == 4
    assert len(here.fleet.rows("SELECT id FROM runs")) == 2


async def test_nobody_works(crew: Callable[[float], Crew]) -> None:
    """Proves FR-349: a mission without workers ends at its deadline, and what it asked for is not begun later."""
    here = crew(0.1)
    async with here.swarm([task(1)]) as swarm:
        result: MissionResult = await swarm.run(Mission(goal="goal", deadline_s=2))
    assert result.status == "failed"
    here.fleet.hire("late")
    await here.fleet.until("SELECT 1 FROM runs WHERE state IN ('failed', 'cancelled')")
    assert here.fleet.lines("turns") == []


@pytest.mark.long
async def test_a_second_worker_tries_what_only_reads(crew: Callable[[float], Crew]) -> None:
    """Proves FR-349: a task that only reads is tried by another worker when it takes too long; one that acts is not."""
    here = crew(0.2)
    stalled = here.fleet.hire("one", ttl_s=30.0)
    async with here.swarm([task(1, "look"), task(2, "put")], hedge_after_s=1.0) as swarm:
        running = asyncio.create_task(swarm.run(Mission(goal="goal", deadline_s=40)))
        await here.fleet.until("SELECT 1 FROM runs WHERE state = 'running' HAVING count(*) = 2")
        here.fleet.signal(stalled, signal.SIGSTOP)
        here.fleet.hire("two")
        await here.fleet.until("SELECT 1 FROM runs WHERE state = 'done' AND thread_id LIKE '%%/hedge'")
        assert here.fleet.rows("SELECT id FROM runs WHERE state = 'done' AND thread_id NOT LIKE '%%/hedge'") == []
        here.fleet.signal(stalled, signal.SIGCONT)
        result = await running
    assert result.status == "done"
    assert len(here.fleet.rows("SELECT id FROM runs WHERE thread_id LIKE '%%/hedge'")) == 1
    assert [effect["text"] for effect in here.fleet.lines("effects") if effect["tool"] == "put"] == ["task 2"]
