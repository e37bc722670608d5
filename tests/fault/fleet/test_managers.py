"""Missions that the fleet carries out: they wait for hundreds of agents without a worker, and outlive their workers.

Real worker processes with the real graphs of missions, teams and agents, on a real Postgres; models and tools are
simulated (``walker.py``).

Proves FR-351, FR-352, LAW-7 and LAW-4.
"""

import asyncio
import json
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from chimera import ChimeraSwarm
from chimera.cli.main import app
from chimera.core.contracts import Mission, ReviewDecision
from chimera.core.errors import MissionBusy
from chimera.core.settings import Settings
from chimera.store.embedded import Endpoints

if TYPE_CHECKING:
    from conftest import Fleet

PATIENCE_S = 90.0
FINAL = ("done", "partial", "failed", "rejected", "cancelled")

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="processes are stalled as on Linux"),
    pytest.mark.timeout(300),
]


async def ended(here: "Fleet", mission_id: str) -> dict[str, Any]:
    """A mission's row when it has ended, for the fleet too."""
    query = "SELECT * FROM missions WHERE id = %s AND status = ANY (%s)"
    (row,) = await here.until(query, mission_id, list(FINAL), patience_s=PATIENCE_S)
    await here.until(
        "SELECT 1 FROM runs WHERE thread_id = %s AND state IN ('done', 'cancelled')", mission_id, patience_s=PATIENCE_S
    )
    return row


def swarm_of(here: "Fleet") -> ChimeraSwarm:
    """What hands missions to the fleet."""
    return ChimeraSwarm(Settings.model_validate(here.settings))


def no_servers(_settings: Settings) -> list[Any]:
    """Chimera's own tool servers have no part in this."""
    return []


House = Callable[..., "Fleet"]


@pytest.fixture
def house(
    tmp_path: Path,
    database_url: str,
    make_fleet: Callable[[str], "Fleet"],
    endpoints: Endpoints,
    monkeypatch: pytest.MonkeyPatch,
    enrol: Callable[..., None],
) -> House:
    """Makes a fleet whose missions have so many tasks."""
    monkeypatch.setattr("chimera.app.first_party", no_servers)
    enrol(database_url, "ada")

    def make(*tasks: str, think_s: float = 0.05, **settings: Any) -> "Fleet":
        own = {"redis_url": endpoints.redis_url, "max_parallel": 200, "max_tokens": 10**12, **settings}
        return make_fleet(database_url).equip(tmp_path, own, think_s=think_s, tasks=list(tasks))

    return make


def tasks(number: int) -> list[str]:
    return [f"task {place}" for place in range(number)]


def each_once(here: "Fleet", number: int, missions: int = 1) -> None:
    """Every task had its one effect, and no step that was saved ran again."""
    effects = here.lines("effects")
    assert Counter(text for text, _ in {(effect["text"], effect["key"]) for effect in effects}) == dict.fromkeys(
        tasks(number), missions
    )
    attempts = here.rows("SELECT sum(attempts - 1)::int AS n FROM runs WHERE kind = 'agent'")[0]["n"]
    turns = [line for line in here.lines("turns") if line["run"] != "plan"]
    assert len(turns) <= 2 * number * missions + attempts
    assert here.rows("SELECT 1 FROM lanes WHERE running <> 0") == []


@pytest.mark.parametrize("number", [10, pytest.param(100, marks=pytest.mark.long)])
async def test_two_managers_with_all_their_tasks_share_one_worker_with_two_places(house: House, number: int) -> None:
    """Proves FR-351: while they wait they hold no place, or nothing could go on here."""
    here = house(*tasks(number), think_s=0.005)
    async with swarm_of(here) as swarm:
        missions = [await swarm.submit(Mission(goal="goal", deadline_s=200)) for _ in range(2)]
        here.hire("one", concurrency=2)
        for mission_id in missions:
            assert (await ended(here, mission_id))["status"] == "done"
    each_once(here, number, missions=2)
    managers = here.rows("SELECT attempts, failures FROM runs WHERE kind = 'mission'")
    assert [row["failures"] for row in managers] == [0, 0]
    assert all(2 <= row["attempts"] <= 6 for row in managers), "woken when all was over, and not for each of them"


async def test_the_managers_worker_is_killed_while_it_waits(house: House) -> None:
    """Proves FR-351 and LAW-7: nobody has the mission then, and the next worker goes on where it was."""
    here = house(*tasks(12), think_s=0.2)
    async with swarm_of(here) as swarm:
        mission_id = await swarm.submit(Mission(goal="goal", deadline_s=200))
        here.hire("one", concurrency=4)
        await here.until("SELECT 1 FROM runs WHERE kind = 'mission' AND state = 'waiting'")
        await here.until("SELECT 1 FROM runs WHERE kind = 'agent' AND state = 'done'")
        assert await swarm.app.context.missions.attended(mission_id)
        with pytest.raises(MissionBusy, match="the fleet has"):
            await swarm.resume(mission_id)
        here.kill("one")
        assert here.rows("SELECT worker FROM runs WHERE kind = 'mission'") == [{"worker": None}]
        here.hire("two", concurrency=4)
        row = await ended(here, mission_id)
    assert row["status"] == "done"
    each_once(here, 12)
    assert len([line for line in here.lines("turns") if line["run"] == "plan"]) == 1, "it was planned once"


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
async def test_a_manager_is_killed_and_stalled_anywhere(house: House, seed: int) -> None:
    """Proves FR-351, LAW-7 and LAW-4: also while it plans, asks for its agents, and judges."""
    pick, here = random.Random(seed), house(*tasks(20), think_s=0.1)
    stalled: list[tuple[float, int]] = []
    async with swarm_of(here) as swarm:
        mission_id = await swarm.submit(Mission(goal="goal", deadline_s=250))
        for number in range(9):
            while len(here.pids) < 2:
                here.hire(f"w{number}-{len(here.pids)}", concurrency=6, ttl_s=3.0)
            (busy, *_) = await here.until(
                "SELECT worker FROM runs WHERE state = 'running' AND worker = ANY (%s) "
                "UNION SELECT NULL FROM missions WHERE status = 'done' ORDER BY worker",
                list(here.pids),
            )
            await asyncio.sleep(pick.uniform(0.0, 0.8))
            pid = here.pids.pop(busy["worker"] or "", None)
            if pid is not None:
                kills = pick.random() < 0.6
                here.signal(pid, signal.SIGKILL if kills else signal.SIGSTOP)
                stalled += [] if kills else [(time.monotonic() + 5.0, pid)]
            for wakes, sleeper in stalled[:]:
                if time.monotonic() >= wakes:
                    here.signal(sleeper, signal.SIGCONT)
                    here.signal(sleeper, signal.SIGTERM)
                    stalled.remove((wakes, sleeper))
        here.hire("last", concurrency=6, ttl_s=3.0)
        for _, sleeper in stalled:
            here.signal(sleeper, signal.SIGCONT)
        row = await ended(here, mission_id)
        for _, sleeper in stalled:
            here.signal(sleeper, signal.SIGKILL)
    assert row["status"] == "done"
    each_once(here, 20)


@pytest.mark.long
async def test_what_is_not_done_in_time_is_left_out(house: House) -> None:
    """Proves FR-351: the manager is woken in time, asks whether to go on with what there is, and reports that."""
    here = house("task 0", "stuck", "task 1", max_attempts=1, max_replans=0)
    async with swarm_of(here) as swarm:
        mission_id = await swarm.submit(Mission(goal="goal", deadline_s=15))
        here.hire("one", concurrency=10)
        await here.until("SELECT 1 FROM missions WHERE status = 'waiting'")
        assert here.rows("SELECT 1 FROM missions WHERE updated_at > deadline_at") == [], "it was woken too late"
        asked = await swarm.app.context.reviews.pending(mission_id)
        (item,) = [item for item in asked if item.payload.get("kind") == "give_up"]
        assert item.payload["failed"] == ["t1"]
        await here.until("SELECT 1 FROM runs WHERE kind = 'mission' AND state = 'done'")
        await swarm.answer(item.id, ReviewDecision(action="approve", reviewer="ada"))
        await swarm.resubmit(mission_id)
        row = await ended(here, mission_id)
    assert row["status"] == "partial"
    assert [text in row["result"]["answer"] for text in ("task 0: written", "task 1: written")] == [True, True]
    assert Counter(line["run"] for line in here.lines("turns"))["stuck"] == 0


async def test_a_parked_mission_is_cancelled_with_all_that_it_waits_for(house: House) -> None:
    """Proves FR-352: at once, whoever has its agents."""
    here = house("stuck 0", "stuck 1", "stuck 2")
    async with swarm_of(here) as swarm:
        mission_id = await swarm.submit(Mission(goal="goal", deadline_s=200))
        here.hire("one", concurrency=2)
        await here.until("SELECT 1 FROM runs WHERE state = 'running' HAVING count(*) = 2")
        await here.until("SELECT 1 FROM runs WHERE state = 'waiting'")
        assert await swarm.cancel(mission_id)
        assert (await ended(here, mission_id))["status"] == "cancelled"
        await here.until("SELECT 1 FROM runs WHERE state = 'cancelled' HAVING count(*) = 4")


async def test_a_mission_that_asks_a_human_is_handed_over_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves FR-352: through the command line; it waits for an answer as any mission does."""
    here = house(*tasks(2))
    monkeypatch.setenv("CHIMERA_HOME", here.settings["home"])
    for name in ("database_url", "redis_url"):
        monkeypatch.setenv(f"CHIMERA_{name.upper()}", here.settings[name])

    async def chimera(*arguments: str) -> Any:
        done = await asyncio.to_thread(lambda: CliRunner().invoke(app, [*arguments, "--json"]))
        return json.loads(done.stdout)

    mission_id = (await chimera("run", "goal", "--detach", "--approve-plan"))["mission_id"]
    here.hire("one", concurrency=10)
    await here.until("SELECT 1 FROM missions WHERE status = 'waiting'")
    await here.until("SELECT 1 FROM runs WHERE kind = 'mission' AND state = 'done'")
    async with swarm_of(here) as swarm:
        (item,) = await swarm.app.context.reviews.pending(mission_id)
        await swarm.answer(item.id, ReviewDecision(action="approve", reviewer="ada"))
        assert (await chimera("resume", mission_id, "--detach"))["status"] == "running"
        row = await ended(here, mission_id)
    assert row["status"] == "done"
    each_once(here, 2)
    assert len(here.rows("SELECT 1 FROM runs WHERE kind = 'mission'")) == 2


@pytest.mark.long
async def test_a_second_worker_tries_what_only_reads_and_takes_long(house: House) -> None:
    """Proves FR-351: a straggler is tried again elsewhere, where its task changes nothing."""
    here = house("look 0", "look 1", hedge_after_s=2.0)
    async with swarm_of(here) as swarm:
        mission_id = await swarm.submit(Mission(goal="goal", deadline_s=100))
        here.hire("one", concurrency=10, ttl_s=60.0)
        await here.until("SELECT 1 FROM runs WHERE kind = 'agent' AND state = 'running' HAVING count(*) = 2")
        await here.until("SELECT 1 FROM runs WHERE kind = 'mission' AND state = 'waiting'")
        here.signal(here.pids["one"], signal.SIGSTOP)
        here.hire("two", concurrency=10)
        row = await ended(here, mission_id)
        here.signal(here.pids["one"], signal.SIGCONT)
    assert row["status"] == "done"
    assert here.rows("SELECT 1 FROM runs WHERE thread_id LIKE '%%/hedge' AND state = 'done'")
