"""Live events: to listeners here, through Redis to watchers elsewhere, and in nobody's way.

Proves TR-15, FR-367, and TR-24: a mission ends with the same result when Redis is emptied, killed or hangs in its
middle.
"""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from chimera import ChimeraSwarm, Mission
from chimera.core import specs
from chimera.core.clock import ManualClock, SystemClock
from chimera.core.contracts import Event, MissionResult, ReviewDecision, ReviewItem
from chimera.core.errors import StoreUnavailable
from chimera.core.settings import Settings
from chimera.review.reviewers import SCRIPTED
from chimera.store import events
from chimera.store.embedded import Endpoints
from chimera.store.embedded.valkey import program
from chimera.store.events import EventBus

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
async def redis(endpoints: Endpoints) -> AsyncGenerator[Redis]:
    async with Redis.from_url(endpoints.redis_url) as client:
        yield client


@pytest.fixture
def bus(redis: Redis) -> EventBus:
    return EventBus(redis, SystemClock())


@pytest.fixture
def mission_id() -> str:
    return os.urandom(8).hex()


async def watched(bus: EventBus, mission_id: str, count: int) -> list[Event]:
    """The first events that a watcher elsewhere sees."""
    seen: list[Event] = []
    async with asyncio.timeout(20):
        async for event in bus.watch(mission_id):
            seen.append(event)
            if len(seen) == count:
                break
    return seen


async def test_listeners_and_watchers_get_every_event_of_their_mission(
    bus: EventBus, redis: Redis, mission_id: str
) -> None:
    elsewhere = EventBus(redis, SystemClock())
    async with bus.listen(mission_id) as first, bus.listen(mission_id) as second, bus.listen("another") as other:
        await bus.publish(mission_id, "task", number=0)
        watching = asyncio.create_task(watched(elsewhere, mission_id, 4))  # what was kept, then what comes
        for number in range(1, 4):
            await bus.publish(mission_id, "task", number=number)
        here = [first.get_nowait() for _ in range(4)]
        assert [event.data["number"] for event in here] == [0, 1, 2, 3]
        assert [second.get_nowait() for _ in range(4)] == here
        assert other.empty()
    assert await watching == here
    assert all(specs.problems("EVENT", event.plain()) == [] for event in here)
    await bus.publish(mission_id, "task")  # nobody listens any more
    assert first.empty()
    assert 0 < await redis.ttl(f"chimera:events:{mission_id}") <= events.KEEP_S


async def test_a_listener_that_does_not_read_loses_events_and_stops_nobody(
    bus: EventBus, mission_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "QUEUE_SIZE", 3)
    async with asyncio.timeout(20), bus.listen(mission_id) as slow, bus.listen(mission_id) as quick:
        seen: list[int] = []
        for number in range(10):
            await bus.publish(mission_id, "task", number=number)
            seen.append(quick.get_nowait().data["number"])
        assert seen == list(range(10))
        assert [slow.get_nowait().data["number"] for _ in range(slow.qsize())] == [0, 1, 2]


async def test_what_waits_for_redis_is_bounded(bus: EventBus, mission_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "QUEUE_SIZE", 3)
    for number in range(10):  # nothing is sent before this task waits for the first time
        await bus.publish(mission_id, "task", number=number)
    await bus.flush()
    await bus.publish(mission_id, "last")
    kept = await watched(bus, mission_id, 4)
    assert [event.data.get("number") for event in kept] == [0, 1, 2, None]


async def test_odd_text_in_an_event_stops_nothing(bus: EventBus, mission_id: str) -> None:
    await bus.publish(mission_id, "task", title="cut \ud83d", nul="a\x00b", number=float("nan"))
    (event,) = await watched(bus, mission_id, 1)
    assert event.data == {"title": "cut \ufffd", "nul": "a\ufffdb", "number": None}


# --- Redis fails -----------------------------------------------------------------------------------------------------


@dataclass
class OwnValkey:
    """A Valkey that a test may harm."""

    process: asyncio.subprocess.Process
    url: str

    def send(self, number: signal.Signals) -> None:
        """Signal the server, if there still is one."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def end(self) -> None:
        """Kill it, whatever state it is in."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@pytest.fixture
async def valkey(tmp_path: Path, free_port: Callable[[], int]) -> AsyncGenerator[OwnValkey]:
    """A Valkey of the test's own; whoever uses it waits a second for an answer."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        str(program()), "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(tmp_path),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(20):
        while b"Ready to accept connections" not in await process.stdout.readline():
            pass
    own = OwnValkey(process, f"redis://127.0.0.1:{port}/0?socket_timeout=1")
    yield own
    await own.end()


async def test_a_dead_redis_is_left_alone_for_a_while(valkey: OwnValkey, mission_id: str) -> None:
    """It is asked again after a pause, and costs nobody anything until then."""
    clock = ManualClock(START)
    async with Redis.from_url(valkey.url) as client, asyncio.timeout(20):
        bus = EventBus(client, clock)
        await bus.publish(mission_id, "kept")
        await bus.flush()
        valkey.send(signal.SIGSTOP)
        async with bus.listen(mission_id) as queue:
            for number in range(200):  # nobody waits; one batch is on its way for a second
                await bus.publish(mission_id, "lost", number=number)
            assert queue.qsize() == 200
            await bus.flush()
        valkey.send(signal.SIGCONT)
        await bus.publish(mission_id, "not sent")
        clock.advance(events.PAUSE_S + 1)
        await bus.publish(mission_id, "again")
        kinds: list[str] = []
        while "again" not in kinds:
            kinds = [event.kind for event in await watched(bus, mission_id, len(kinds) + 1)]
        assert kinds[0] == "kept"
        assert kinds[-1] == "again"
        assert set(kinds[1:-1]) <= {"lost"}  # what was on its way already


async def test_a_watcher_learns_that_redis_is_gone(valkey: OwnValkey, mission_id: str) -> None:
    async with Redis.from_url(valkey.url) as client, asyncio.timeout(20):
        watching = asyncio.create_task(watched(EventBus(client, SystemClock()), mission_id, 1))
        await valkey.end()
        with pytest.raises(StoreUnavailable) as told:
            await watching
    assert told.value.code == "CH301"


async def left_alone(_: OwnValkey) -> None:
    return None


async def emptied(valkey: OwnValkey) -> None:
    async with Redis.from_url(valkey.url) as client:
        await client.flushall()


async def killed(valkey: OwnValkey) -> None:
    await valkey.end()


async def hung(valkey: OwnValkey) -> None:
    valkey.send(signal.SIGSTOP)


def lasting(result: MissionResult, artifacts: list[bytes]) -> dict[str, Any]:
    """What of a result must not depend on Redis: all but its own id and the hashes that cover times."""
    return {**result.model_dump(exclude={"mission_id", "trail"}), "contents": artifacts}


async def test_a_mission_ends_the_same_whatever_happens_to_redis(
    settings: Settings, feed: Path, valkey: OwnValkey, caplog: pytest.LogCaptureFixture
) -> None:
    """The main job, whose Redis fails while the plan is under review: before its tools, its judge and its report."""
    asked = Mission(goal="Find what is rising and write a short briefing with sources", inputs={"feed": str(feed)})
    own = settings.model_copy(update={"redis_url": Settings.model_validate({"redis_url": valkey.url}).redis_url})

    async def ends(*harms: Callable[[OwnValkey], Awaitable[None]]) -> AsyncGenerator[dict[str, Any]]:
        """One mission for each harm, in one swarm."""
        async with ChimeraSwarm(own) as swarm:
            for harm in harms:

                async def review(_: ReviewItem, harm: Callable[[OwnValkey], Awaitable[None]] = harm) -> ReviewDecision:
                    await harm(valkey)
                    return ReviewDecision(action="approve", reviewer=SCRIPTED)

                result = await swarm.run(asked, reviewer=review, approve_plan=True)
                await swarm.app.context.audit.verify()
                found = swarm.app.context.artifacts
                yield lasting(result, [found.read(result.mission_id, item.name)[1] for item in result.artifacts])

    undisturbed, *others = [result async for result in ends(left_alone, emptied)]
    assert undisturbed["status"] == "done"
    assert "do not reach Redis" not in caplog.text
    others += [result async for result in ends(hung)]
    assert "do not reach Redis" in caplog.text  # it was missed, and that was all
    caplog.clear()
    valkey.send(signal.SIGCONT)
    others += [result async for result in ends(killed)]
    assert "do not reach Redis" in caplog.text
    assert others == [undisturbed] * 3
