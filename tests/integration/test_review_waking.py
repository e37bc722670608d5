"""A decision wakes whoever keeps the mission that waits for it: at once, once, and also when nobody heard.

Proves FR-732.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from chimera import ChimeraSwarm, Mission
from chimera.review.closing import DECIDED
from chimera.server import keeper as keeping
from chimera.server.callers import Caller
from chimera.server.keeper import Keeper
from chimera.store.postgres import fetch

if TYPE_CHECKING:
    from conftest import Stage

ADA = Caller("default", "ada", "human")
PATIENCE_S = 30.0


@asynccontextmanager
async def waits(stage: "Stage", **options: Any) -> AsyncGenerator[tuple[ChimeraSwarm, Keeper, str, str]]:
    """A mission that a keeper keeps and that waits for an answer about its plan: its id and the item's."""
    play = stage.play({"go": [stage.plan(stage.task(1))]})
    async with stage.swarm(play, **options) as swarm:
        keeper = Keeper(swarm.app)
        async with keeper.open():
            mission = await keeper.begin(Mission(goal="go"), ADA, approve_plan=True)
            await keeper.wait(mission, PATIENCE_S)
            (item,) = await swarm.app.context.reviews.pending(mission)
            yield swarm, keeper, mission, item.id
            assert play.worked() == ["task 1"]  # once


async def ended(swarm: ChimeraSwarm, mission: str) -> float:
    """The time at which a mission was done."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if (await swarm.app.context.missions.get(mission))["status"] == "done":
                break
            await asyncio.sleep(0.01)
    return time.perf_counter()


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """A keeper that would look by itself only after a minute."""
    monkeypatch.setattr(keeping, "LOOK_S", 60.0)


async def test_a_decision_wakes_its_mission_at_once(stage: "Stage", deaf: None) -> None:
    async with waits(stage) as (swarm, _, mission, item):
        begun = time.perf_counter()
        await swarm.answer(item, stage.decide())
        assert await ended(swarm, mission) - begun < 10.0


async def test_a_decision_with_a_grace_wakes_when_it_acts(stage: "Stage", deaf: None) -> None:
    async with waits(stage) as (swarm, _, mission, item):
        begun = time.perf_counter()
        await swarm.app.context.oversight.decisions.answer(item, stage.decide(), grace_s=0.5)
        assert 0.5 <= await ended(swarm, mission) - begun < 10.0


async def test_what_is_asked_back_wakes_it_too(stage: "Stage", deaf: None) -> None:
    async with waits(stage) as (swarm, keeper, mission, item):
        desk = swarm.app.context.oversight.decisions.desk
        await desk.ask(item, "ada", "why?")
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if (await desk.card(item)).state == "open" and not keeper.has(mission):
                    break
                await asyncio.sleep(0.01)
        (note,) = await desk.notes(item)
        assert note.reply == "because the goal says so"
        await swarm.answer(item, stage.decide())
        await ended(swarm, mission)


async def test_it_goes_on_by_itself_when_the_notification_is_lost(
    stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection that listens is ended by the server, again and again."""
    monkeypatch.setattr(keeping, "LOOK_S", 0.3)
    async with waits(stage) as (swarm, _, mission, item):
        ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE %s AND pid <> pg_backend_pid()"
        answering = asyncio.create_task(swarm.answer(item, stage.decide()))
        ended_by_us = 0
        for _ in range(5):
            ended_by_us += len(await fetch(swarm.app.pool, ends, (f'LISTEN "{DECIDED}"%',)))
            await asyncio.sleep(0.05)
        assert ended_by_us
        await answering
        await ended(swarm, mission)
