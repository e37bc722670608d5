"""Workers are killed and stalled at any instruction, hundreds of times, and no run is lost and no effect repeated.

Real worker processes with the real agents' graph, guards, audit log, journal of effects and checkpoints, on either
runner; model and tools are simulated. Runs are kept in flight all the time, so that each point, chosen by a seed, meets
dozens of them at dozens of places. The database itself watches that nobody writes who lost the lease.

Proves FR-342, FR-343, FR-344, FR-345 and LAW-4.
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from chimera.core.contracts import Mission, Task
from chimera.store.embedded import EmbeddedServers, Endpoints
from chimera.store.embedded.layout import Layout
from chimera.store.embedded.processes import family
from chimera.store.migrate import migrate
from chimera.store.missions import MissionStore
from chimera.store.postgres import open_pool
from chimera.store.runs import NewRun, RunStore

if TYPE_CHECKING:
    from conftest import Fleet, Nats

MISSION = "5d3a1c52-9a5e-4a39-8e0b-4a8d2b6d0c77"
TTL_S = 2.0
PATIENCE_S = 150.0
IN_FLIGHT = 24
CREW = 3
ROOM = 10
TURNS = 8
TOOLS = ("ledger__put", "ledger__note")

# Whoever saves a step of a run, or says that it is done, is a worker that has it, in its present turn.
WATCH = """
CREATE TABLE violations (what text, run text, by_worker text, of_worker text);
CREATE INDEX ON runs (thread_id);
CREATE FUNCTION watch_step() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE me text := current_setting('application_name');
BEGIN
    INSERT INTO violations SELECT 'step', r.id, me, r.worker FROM runs AS r
    LEFT JOIN workers AS w ON w.id = r.worker AND w.epoch = r.worker_epoch
    WHERE r.thread_id = NEW.thread_id AND (r.worker IS DISTINCT FROM me OR w.id IS NULL);
    RETURN NEW;
END $$;
CREATE FUNCTION watch_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'done' AND (OLD.state <> 'running' OR OLD.worker <> current_setting('application_name')
        OR NOT EXISTS (SELECT FROM workers AS w WHERE w.id = OLD.worker AND w.epoch = OLD.worker_epoch)) THEN
        INSERT INTO violations VALUES ('end', OLD.id, current_setting('application_name'), OLD.worker);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER watched BEFORE INSERT OR UPDATE ON checkpoints FOR EACH ROW EXECUTE FUNCTION watch_step();
CREATE TRIGGER watched BEFORE INSERT OR UPDATE ON checkpoint_writes FOR EACH ROW EXECUTE FUNCTION watch_step();
CREATE TRIGGER watched BEFORE UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION watch_end();
"""
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="processes are stalled and watched as on Linux"),
    pytest.mark.timeout(1_800),
]


class Field:
    """Workers on one database, the runs that they carry, and what they did."""

    def __init__(self, fleet: "Fleet", folder: Path, redis_url: str, runner: str, seed: int, **settings: Any) -> None:
        self.pick = random.Random(seed)
        given = {"redis_url": redis_url, "max_tokens": 10**12, "agent_runner": runner, **settings}
        self.fleet = fleet.equip(folder, given, think_s=0.05, tasks=[])
        self.rows, self.lines = fleet.rows, fleet.lines
        self.stalled: dict[str, float] = {}
        self._hired = self._turns = 0
        self.asked = 0
        self.met: Counter[str] = Counter()

    # --- workers -----------------------------------------------------------------------------------------------------

    def hire(self) -> None:
        """Start workers until enough are awake, in the place of those too that began while Postgres was away."""
        self.fleet.drop_ended()
        while len(self.fleet.pids) - len(self.stalled) < CREW:
            name = f"walker-{self._hired}"
            self._hired += 1
            self.fleet.hire(name, concurrency=ROOM, ttl_s=TTL_S)

    def wake(self, *, all_of_them: bool = False) -> None:
        """Wake the workers that have slept through their lease."""
        for name, until in list(self.stalled.items()):
            if all_of_them or time.monotonic() >= until:
                self.fleet.signal(self.fleet.pids[name], signal.SIGCONT)
                del self.stalled[name]

    async def harm(self) -> None:
        """Kill or stall a worker that carries something, wherever it is."""
        victim, end = "", time.monotonic() + PATIENCE_S
        while not victim:
            assert time.monotonic() < end, self.rows("SELECT state, count(*) FROM runs GROUP BY state")
            self.hire()
            self.wake()
            busy = self.rows("SELECT DISTINCT worker FROM runs WHERE state = 'running' ORDER BY worker")
            able = [row["worker"] for row in busy if row["worker"] in self.fleet.pids.keys() - self.stalled.keys()]
            victim = self.pick.choice(able) if able else ""
            if not victim:
                await asyncio.sleep(0.02)
        await self._progress()
        await asyncio.sleep(self.pick.uniform(0.0, 0.3))
        if self.pick.random() < 0.6:
            self.fleet.kill(victim)
            self.met["killed"] += 1
        else:
            self.fleet.signal(self.fleet.pids[victim], signal.SIGSTOP)
            self.stalled[victim] = time.monotonic() + self.pick.uniform(1.2, 2.0) * TTL_S
            self.met["stalled"] += 1

    async def _progress(self) -> None:
        """Let the agents take a few turns, or what is harmed is always the same first step on a slow machine."""
        end = time.monotonic() + 10
        while len(self.lines("turns")) < self._turns + TURNS and time.monotonic() < end:  # noqa: ASYNC110 - of others
            await asyncio.sleep(0.02)
        self._turns = len(self.lines("turns"))

    # --- runs --------------------------------------------------------------------------------------------------------

    def run(self) -> NewRun:
        """The next run: an agent with two effects to have, one that may be sent twice and one that may not."""
        name = f"run-{self.asked}"
        self.asked += 1
        mission = Mission(goal="Write down what is asked.")
        task = Task(id="t1", title=name, instruction=name, tools=list(TOOLS))
        state: dict[str, Any] = {
            "mission_id": MISSION,
            "mission": mission.plain(),
            "context_version": mission.context_version,
            "team": name,
            "plan_round": 1,
            "attempt": 1,
            "task": task.plain(),
            "feedback": [],
            "builds_on": [],
            "earlier": [],
            "messages": [],
        }
        payload = {"state": state, "recursion_limit": 60, "answers": None}
        return NewRun(id=name, thread_id=f"{MISSION}/{name}", payload=payload, max_failures=100)

    def wanted(self) -> list[NewRun]:
        """As many new runs as have ended."""
        row = self.rows("SELECT count(*) AS n FROM runs WHERE state <> 'done'")[0]
        return [self.run() for _ in range(IN_FLIGHT - row["n"])]


@asynccontextmanager
async def opened(field: Field, url: str) -> AsyncGenerator[RunStore]:
    """The database with its watch, and the mission of all runs."""
    async with open_pool(url, 2) as pool:
        field.rows(WATCH)
        assert await MissionStore(pool, url).create(MISSION, Mission(goal="Write down what is asked."))
        yield RunStore(pool)


async def walk(field: Field, runs: RunStore, points: int) -> None:
    """Harm workers at so many points, then let those that are left finish."""
    for _ in range(points):
        await runs.enqueue(field.wanted())
        await field.harm()
    await finish(field)


async def finish(field: Field) -> None:
    """Until nothing is left to do."""
    end = time.monotonic() + PATIENCE_S
    while left := field.rows("SELECT id, state, failures, error FROM runs WHERE state <> 'done'"):
        assert time.monotonic() < end, left
        assert not [row for row in left if row["state"] in ("dead", "failed", "cancelled")], left
        field.wake()
        field.hire()
        await asyncio.sleep(0.1)
    field.wake(all_of_them=True)
    await asyncio.sleep(0.3)  # whoever was woken last has its say, which must change nothing


def inspect(field: Field) -> None:
    """What must be true of all that was done."""
    assert field.rows("SELECT * FROM violations") == [], "somebody wrote who had lost the lease"
    assert field.fleet.miscounted() == []
    rows = {row["id"]: row for row in field.rows("SELECT id, state, attempts, outcome FROM runs")}
    assert len(rows) == field.asked
    keys: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for effect in field.lines("effects"):
        keys[effect["text"], effect["tool"]].append(effect["key"])
    for name, row in rows.items():
        said = row["outcome"]["result"]["answer"]
        put, note = (keys[name, tool] for tool in TOOLS)
        assert len(set(put)) == 1, (name, put)
        assert len(note) <= 1, (name, note)
        assert len(note) == 1 or "unclear" in said, (name, "an effect is missing, and nobody says so")
    turns = Counter(line["run"] for line in field.lines("turns"))
    assert all(turns[name] <= 3 + row["attempts"] - 1 for name, row in rows.items()), "a step that was saved ran again"
    again = sum(row["attempts"] - 1 for row in rows.values())
    assert again >= field.met.total() / 2, "hardly anything was under way: the test shows little"


@pytest.fixture
def make_field(tmp_path: Path, make_fleet: Callable[[str], "Fleet"]) -> Callable[..., Field]:
    """Makes fields."""

    def make(database_url: str, *given: Any, **settings: Any) -> Field:
        return Field(make_fleet(database_url), tmp_path, *given, **settings)

    return make


@pytest.mark.parametrize(
    ("runner", "points", "seed"),
    [
        ("lean", 3, 1),
        pytest.param("lean", 6, 7, marks=pytest.mark.long),
        pytest.param("stock", 4, 2, marks=pytest.mark.long),
        pytest.param("lean", 200, 3, marks=pytest.mark.long),
        pytest.param("stock", 200, 4, marks=pytest.mark.long),
    ],
)
async def test_workers_are_killed_and_stalled_anywhere(
    make_field: Callable[..., Field], database_url: str, endpoints: Endpoints, runner: str, points: int, seed: int
) -> None:
    """Proves FR-343, FR-344 and LAW-4: no run is lost, no effect repeated, nothing written without the lease."""
    field = make_field(database_url, endpoints.redis_url, runner, seed)
    async with opened(field, database_url) as runs:
        await walk(field, runs, points)
    inspect(field)
    assert field.met.total() == points


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["restarted", "killed"])
async def test_postgres_restarts_under_load(
    make_field: Callable[..., Field], tmp_path: Path, number: signal.Signals
) -> None:
    """Proves FR-345: Postgres ends while dozens of runs are under way and workers are harmed, and all of it goes on."""
    home = tmp_path / "own"
    servers = EmbeddedServers(home, idle_s=30)
    endpoints = await servers.acquire()
    try:
        async with open_pool(endpoints.database_url, 2) as pool:
            await migrate(pool)
        field = make_field(endpoints.database_url, endpoints.redis_url, "lean", 5)
        async with opened(field, endpoints.database_url) as runs:
            await runs.enqueue(field.wanted())
            await field.harm()
            before = family(Layout(home).marker).postmasters
            for pid in before:
                os.kill(pid, number)
            await back(home, before, field)
            await runs.enqueue(field.wanted())
            await walk(field, runs, 4)
        inspect(field)
    finally:
        await servers.release()
        await EmbeddedServers(home).stop(force=True)


async def back(home: Path, before: list[int], field: Field) -> None:
    """Wait until its keeper has started Postgres again, and it answers."""
    end = time.monotonic() + PATIENCE_S
    while True:
        assert time.monotonic() < end
        if family(Layout(home).marker).postmasters not in ([], before):
            with suppress(psycopg.Error):
                field.rows("SELECT 1")
                return
        await asyncio.sleep(0.05)


@pytest.mark.long
async def test_nats_restarts_under_load(
    make_field: Callable[..., Field], database_url: str, endpoints: Endpoints, nats: "Nats"
) -> None:
    """Proves FR-345: NATS ends while dozens of runs are under way and workers are harmed, and all of it goes on."""
    field = make_field(database_url, endpoints.redis_url, "lean", 6, engine="nats", nats_url=nats.url)
    async with opened(field, database_url) as runs:
        await runs.enqueue(field.wanted())
        await field.harm()
        nats.kill()
        await runs.enqueue(field.wanted())
        await field.harm()
        nats.start()
        await walk(field, runs, 4)
    inspect(field)
