"""One suite for both engines: every run is carried out once, whatever happens to workers, engine and callers.

Real worker processes, killed with SIGKILL and stalled with SIGSTOP; a real Postgres and a real NATS server. A lease
lasts 1.5 s here where it is to run out, and longer where it must not, however busy the machine is.

Proves FR-341, FR-342, FR-343, FR-344, FR-345, FR-346, FR-347, FR-348, FR-380 and FR-381.
"""

import asyncio
import signal
import sys
from collections import Counter
from typing import TYPE_CHECKING

import psycopg
import pytest

from chimera.core.errors import ConflictError, InputError, LeaseLost
from chimera.store.postgres import open_pool
from chimera.store.runs import NewRun

if TYPE_CHECKING:
    from conftest import Yard

EITHER = pytest.mark.parametrize("yard", ["postgres", pytest.param("nats", marks=pytest.mark.long)], indirect=True)
"""All of it holds on both engines; what is tried on NATS takes long."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="whether a process ended is read from /proc")


CALM_S = 6.0
"""A lease that nobody loses by being slow."""


def ids(number: int, name: str = "run") -> list[str]:
    return [f"{name}-{place:03}" for place in range(number)]


@EITHER
async def test_killed(yard: "Yard") -> None:
    """Proves FR-343: what a killed worker carried is carried out by another one, and nothing is done twice."""
    pids = {name: yard.hire(name, concurrency=30, ttl_s=2.5) for name in ("one", "two")}
    await yard.ready(2)
    await yard.ask(*ids(40), nap_s=2.0)
    await yard.until("SELECT 1 FROM marks WHERE what = 'start' HAVING count(*) = 40")
    busiest = Counter(row["worker"] for row in yard.rows("SELECT worker FROM runs")).most_common(1)[0][0]
    yard.signal(pids[busiest], signal.SIGKILL)
    await yard.until_over(40)
    assert len(yard.rows("SELECT run FROM ledger")) == 40
    assert Counter(row["run"] for row in yard.marks("end")) == dict.fromkeys(ids(40), 1)
    begun, ended = ({row["run"] for row in yard.marks(what) if row["worker"] == busiest} for what in ("start", "end"))
    assert begun - ended <= {row["id"] for row in yard.rows("SELECT id FROM runs WHERE attempts > 1")}
    assert begun - ended, "the worker was killed when it had finished: the test shows nothing"


@EITHER
async def test_a_long_run_is_left_alone(yard: "Yard") -> None:
    """Proves FR-342: a run may last longer than the lease, as its worker renews that."""
    for worker in ("one", "two"):
        yard.hire(worker, ttl_s=2.5)
    await yard.ready(2)
    await yard.ask(*ids(6), nap_s=4.0)
    await yard.until_over(6)
    assert {row["attempts"] for row in yard.rows("SELECT attempts FROM runs")} == {1}
    assert len(yard.marks("start")) == 6


@EITHER
async def test_a_stalled_worker_wakes_up(yard: "Yard") -> None:
    """Proves FR-344: it saves nothing any more, what it says is not heard, and it begins anew."""
    stalled = yard.hire("one")
    await yard.ask(*ids(8), steps=8, nap_s=0.25, saves=True)
    await yard.until("SELECT 1 FROM checkpoints")
    yard.signal(stalled, signal.SIGSTOP)
    yard.hire("two", ttl_s=CALM_S)
    await yard.until("SELECT 1 FROM runs WHERE worker = 'two' HAVING count(*) = 8")
    yard.signal(stalled, signal.SIGCONT)
    await yard.until_over(8)
    saved = yard.rows("SELECT thread_id, checkpoint_id FROM checkpoints ORDER BY checkpoint_id")
    second = [row for row in saved if row["checkpoint_id"].startswith("0002")]
    assert len(second) == 64, "the second worker saved every step"
    assert len(saved) - 64 < 64, "the first one none after it woke up"
    assert {row["worker"] for row in yard.marks("end")} == {"two"}
    assert len(yard.marks("end")) == 8
    await yard.until("SELECT 1 FROM workers WHERE id = 'one' AND state = 'running' AND epoch > 1")
    await yard.ask("late")
    await yard.until_over(9)


@EITHER
async def test_asked_for_again_and_again(yard: "Yard") -> None:
    """Proves FR-341: an id is a run, however often it is enqueued, before, while and after it runs."""
    new = await asyncio.gather(*(yard.ask(*ids(5), nap_s=0.2) for _ in range(4)))
    assert sorted(run for some in new for run in some) == ids(5)
    yard.hire(ttl_s=CALM_S)
    await yard.until("SELECT 1 FROM runs WHERE state = 'running'")
    assert await yard.ask(*ids(5)) == []
    await yard.until_over(5)
    assert await yard.ask(*ids(5)) == []
    ended = await yard.engine.ended("run-000", 5)
    assert ended is not None
    assert ended.outcome == {"said": "done", "attempts": 1}
    assert len(yard.marks("start")) == 5


@EITHER
async def test_the_engine_restarts(yard: "Yard") -> None:
    """Proves FR-345: connections are made again, what was told in between is found, nothing is lost or done twice."""
    yard.hire(ttl_s=CALM_S)
    await yard.ask(*ids(10, "before"), nap_s=1.0)
    await yard.until("SELECT 1 FROM runs WHERE state = 'running' HAVING count(*) = 10")
    yard.nats.kill()
    yard.rows(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() "
        "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    await yard.ask(*ids(10, "between"))
    yard.nats.start()
    await yard.ask(*ids(10, "after"))
    await yard.until_over(30)
    assert Counter(row["run"] for row in yard.marks("end")).most_common(1)[0][1] == 1


@EITHER
async def test_priority(yard: "Yard") -> None:
    """Proves FR-346: of one tenant the runs of higher priority come first, and else the older ones."""
    await yard.ask(*ids(6, "low"))
    await yard.ask(*ids(6, "high"), priority=5)
    yard.hire(concurrency=1, ttl_s=CALM_S)
    await yard.until_over(12)
    assert [row["run"] for row in yard.marks("start")] == [*ids(6, "high"), *ids(6, "low")]


@EITHER
async def test_cancelled(yard: "Yard") -> None:
    """Proves FR-347: at once what waits; what runs is broken off by its worker."""
    await yard.ask("waits", delay_s=3600)
    assert await yard.engine.cancel("waits") == "cancelled"
    yard.hire()
    await yard.ask("runs", nap_s=60.0)
    await yard.until("SELECT 1 FROM marks WHERE what = 'start'")
    assert await yard.engine.cancel("runs") == "running"
    ended = await yard.engine.ended("runs", 10)
    assert ended is not None
    assert ended.state == "cancelled"
    assert await yard.engine.cancel("runs") == "cancelled"
    with pytest.raises(InputError):
        await yard.engine.cancel("unknown")
    await yard.ask("next")
    await yard.until_over(1)
    assert [row["run"] for row in yard.rows("SELECT run FROM ledger")] == ["next"]


@pytest.mark.parametrize("how", ["signal", "order"])
@EITHER
async def test_drained(yard: "Yard", how: str) -> None:
    """Proves FR-348: it ends after the step under way, and another worker goes on, without a failure being counted."""
    first = yard.hire("one")
    await yard.ask(*ids(5), steps=20, nap_s=0.15)
    await yard.until("SELECT 1 FROM marks WHERE what = 'start' HAVING count(*) = 5")
    if how == "signal":
        yard.signal(first, signal.SIGTERM)
    else:
        await yard.engine.drain("one")
    assert yard.ends(first)
    rows = yard.rows("SELECT state, failures, worker FROM runs")
    assert {(row["state"], row["failures"], row["worker"]) for row in rows} == {("queued", 0, None)}
    assert yard.rows("SELECT state FROM workers") == [{"state": "stopped"}]
    yard.hire("two")
    await yard.until_over(5)
    with pytest.raises(InputError, match="no worker"):
        await yard.engine.drain("one")


@EITHER
async def test_poison(yard: "Yard") -> None:
    """Proves FR-343: a run that kills its workers is set aside after its tries; told to, it runs again."""
    await yard.ask("poison", poison=True, max_failures=2)
    for worker in ("one", "two"):
        pid = yard.hire(worker)
        assert yard.ends(pid)
    yard.hire("three")
    await yard.ask("good")
    await yard.until("SELECT 1 FROM runs WHERE state = 'dead'")
    ended = await yard.engine.ended("poison", 5)
    assert ended is not None
    assert ended.error is not None
    assert "2 of 2 tries" in ended.error["message"]
    await yard.until_over(1)
    assert len(yard.marks("start", "poison")) == 2
    yard.rows("UPDATE runs SET payload = '{}' WHERE id = 'poison'")
    await yard.engine.replay("poison")
    await yard.until_over(2)
    with pytest.raises(InputError, match="is done"):
        await yard.engine.replay("poison")


async def keep_two(yard: "Yard", until_over: int) -> int:
    """Start another worker for each that has died, until so many runs are over; how many died."""
    hired = 0
    over = "SELECT 1 FROM runs WHERE state IN ('done', 'dead') HAVING count(*) >= %s"
    while not await asyncio.to_thread(yard.rows, over, until_over):
        yard.drop_ended()
        while len(yard.pids) < 2:
            yard.hire(f"hand-{hired}")
            hired += 1
        await asyncio.sleep(0.1)
    return hired - len(yard.pids)


@pytest.mark.long
@pytest.mark.timeout(180)
@EITHER
async def test_poison_among_others(yard: "Yard") -> None:
    """Proves FR-381: it is found and set aside, and of all that were with it when it took workers down nobody is."""
    await yard.ask(*ids(24, "good"), nap_s=1.0)
    await yard.ask("poison", poison=True, max_failures=2)
    died = await keep_two(yard, 25)
    rows = {row["id"]: row for row in yard.rows("SELECT id, state, failures, losses, error FROM runs")}
    assert [run for run, row in rows.items() if row["state"] == "dead"] == ["poison"]
    assert rows["poison"]["error"]["code"] == "CH706"
    assert died <= 6, "two with all others, one with 15, one with 3, two alone"
    assert max(row["failures"] for run, row in rows.items() if run != "poison") == 0
    assert len(yard.rows("SELECT run FROM ledger")) == 24


@pytest.mark.long
@pytest.mark.timeout(300)
@EITHER
async def test_innocents_outlive_their_workers(yard: "Yard") -> None:
    """Proves FR-381: sixteen workers are killed before anybody makes a step, and all is carried out in the end."""
    await yard.ask(*ids(12), nap_s=2.5)
    for number in range(16):
        yard.hire(f"hand-{number}", ttl_s=0.9)
        await yard.until("SELECT 1 FROM runs WHERE worker = %s AND begun", f"hand-{number}")
        yard.kill(f"hand-{number}")
    assert yard.rows("SELECT 1 FROM runs WHERE losses > 4") != [], "the test shows nothing"
    for worker in ("one", "two"):
        yard.hire(worker)
    await yard.until_over(12, patience_s=120)
    assert len(yard.rows("SELECT run FROM ledger")) == 12


@pytest.mark.long
@EITHER
async def test_postgres_hangs_for_longer_than_a_lease(yard: "Yard") -> None:
    """Proves FR-380: the workers lose their leases, begin anew, and none of their runs is to blame for that."""
    for worker in ("one", "two"):
        yard.hire(worker, concurrency=5)
    await yard.ask(*ids(10), nap_s=4.0, max_failures=1)
    await yard.until("SELECT 1 FROM marks WHERE what = 'start' HAVING count(*) = 10")
    with psycopg.connect(yard.database_url) as hanging:
        hanging.execute("LOCK TABLE workers")
        await asyncio.sleep(3.0)
    await yard.until_over(10)
    assert yard.rows("SELECT 1 FROM workers WHERE epoch > 1 HAVING count(*) = 2"), "no lease was lost"
    rows = yard.rows("SELECT max(losses) AS losses, max(failures) AS failures, max(attempts) AS attempts FROM runs")
    assert (rows[0]["losses"], rows[0]["failures"]) == (0, 0)
    assert rows[0]["attempts"] > 1


@EITHER
async def test_failures_are_tried_again_and_then_set_aside(yard: "Yard") -> None:
    """Proves FR-343: what passes is tried again, what cannot pass is not, and a bug is after its tries."""
    yard.hire(ttl_s=CALM_S)
    await yard.ask("passing", fails=1, good=False)
    await yard.ask("broken", fails=99, good=False, max_failures=2)
    await yard.ask("refused", fails=99)
    states = {run: await yard.engine.ended(run, 20) for run in ("passing", "broken", "refused")}
    assert {run: ended.state for run, ended in states.items() if ended} == {
        "passing": "done",
        "broken": "dead",
        "refused": "failed",
    }
    attempts = {row["id"]: row["attempts"] for row in yard.rows("SELECT id, attempts FROM runs")}
    assert attempts == {"passing": 2, "broken": 2, "refused": 1}


@EITHER
async def test_not_before_its_time(yard: "Yard") -> None:
    """Proves FR-346: a delayed run starts when its time has come, by the database's clock."""
    yard.hire(ttl_s=CALM_S)
    await yard.ask("later", delay_s=1.2)
    await yard.ask("now")
    await yard.until_over(2)
    due = yard.rows(
        "SELECT m.at >= r.not_before AS due FROM marks AS m JOIN runs AS r ON r.id = m.run WHERE m.what = 'start'"
    )
    assert [row["due"] for row in due] == [True, True]
    assert [row["run"] for row in yard.marks("start")] == ["now", "later"]


@EITHER
async def test_too_late(yard: "Yard") -> None:
    """Proves FR-346: what did not begin or end before its deadline fails, and says so."""
    await yard.ask("never begun", deadline_s=0.01)
    await yard.ask("too slow", deadline_s=1.5, nap_s=60.0, priority=1)
    yard.hire()
    for run in ("never begun", "too slow"):
        ended = await yard.engine.ended(run, 15)
        assert ended is not None
        assert (ended.state, (ended.error or {})["code"]) == ("failed", "CH705")


@EITHER
async def test_no_tenant_has_more_than_its_share(yard: "Yard") -> None:
    """Proves FR-346: a tenant's limit holds over all workers, and a tenant that asks for much starves nobody."""
    yard.rows("UPDATE pools SET tenant_limit = 3 WHERE name = 'default'")
    await yard.ask(*ids(12, "much"), tenant="much", nap_s=0.3)
    await yard.ask(*ids(2, "little"), tenant="little", nap_s=0.3)
    for worker in ("one", "two"):
        yard.hire(worker, ttl_s=CALM_S)
    await yard.until_over(14)
    starts = yard.marks("start")
    assert "little-001" in [row["run"] for row in starts[:5]]
    assert most_at_once(yard, "much") == 3


def most_at_once(yard: "Yard", name: str) -> int:
    changes = sorted(
        (row["at"], 1 if row["what"] == "start" else -1)
        for row in yard.rows("SELECT * FROM marks WHERE starts_with(run, %s)", name)
    )
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


@EITHER
async def test_pools_share_by_weight_and_a_full_one_is_a_bulkhead(yard: "Yard") -> None:
    """Proves FR-346: as heavy as they are, pools get room; one that is full, shut or out of money holds up no other."""
    yard.rows(
        "INSERT INTO pools (name, concurrency, weight, budget_units, spent_units) VALUES ('heavy', 100, 3, NULL, 0), "
        "('light', 100, 1, NULL, 0), ('full', 1, 100, NULL, 0), ('shut', 0, 100, NULL, 0), ('poor', 9, 100, 5, 5)"
    )
    for name in ("heavy", "light", "full", "shut", "poor"):
        await yard.ask(*ids(10, name), pool=name, nap_s=60.0)
    lease = await yard.engine.register("by-hand", 9, None, 30)
    claims = await yard.engine.claim(lease, 9, None)
    assert Counter(claim.pool for claim in claims) == {"heavy": 6, "light": 2, "full": 1}
    more = await yard.engine.claim(lease, 4, ["light", "full", "shut"])
    assert Counter(claim.pool for claim in more) == {"light": 4}


@EITHER
async def test_what_hangs_or_fails_holds_up_nobody_else(yard: "Yard") -> None:
    """Proves FR-346: measured, beside a pool that hangs and a tenant that fails for ever, on one worker.

    The pool has its places and no more, and the tenant starts no more runs than its neighbour while that has any.
    """
    yard.rows("INSERT INTO pools (name, concurrency, weight) VALUES ('hangs', 5, 1000)")
    await yard.ask(*ids(20, "hangs"), pool="hangs", nap_s=60.0)
    await yard.ask(*ids(60, "fails"), tenant="fails", nap_s=0.3, fails=9_999, good=False, max_failures=999)
    yard.hire(concurrency=11, ttl_s=CALM_S)
    await yard.until("SELECT 1 FROM marks WHERE run LIKE 'fails%%' HAVING count(*) > 60")
    await yard.ask(*ids(40, "good"), tenant="good", nap_s=0.3)
    await yard.until("SELECT 1 FROM runs WHERE tenant = 'good' AND state = 'done' HAVING count(*) = 40")
    starts = [row["run"].partition("-")[0] for row in yard.marks("start")]
    first, last = starts.index("good"), len(starts) - starts[::-1].index("good")
    assert starts[first:last].count("fails") <= 40 + 10, "as many as its neighbour, and what was begun already"
    assert starts.count("hangs") == 5
    assert {row["attempts"] for row in yard.rows("SELECT attempts FROM runs WHERE tenant = 'good'")} == {1}


@EITHER
async def test_two_workers_with_one_id(yard: "Yard") -> None:
    """Proves FR-344: the second one is refused while the first is alive, and not afterwards."""
    first = await yard.engine.register("one", 5, None, 2.0)
    with pytest.raises(ConflictError, match="one is alive"):
        await yard.engine.register("one", 5, None, 2.0)
    await yard.until("SELECT 1 FROM workers WHERE expires_at < clock_timestamp()")
    yard.hire("one")
    await yard.until("SELECT 1 FROM workers WHERE epoch > %s", first.epoch)
    await yard.ask("run")
    await yard.until_over(1)
    assert await yard.engine.claim(first, 5, None) == []
    with pytest.raises(LeaseLost):
        await yard.engine.renew(first, 2.0)


@EITHER
async def test_a_clock_that_is_an_hour_wrong(yard: "Yard") -> None:
    """Proves FR-342: leases, delays and deadlines are by the database's clock, whatever a worker's says."""
    yard.hire("behind", clock_s=-3600, concurrency=3, ttl_s=2.5)
    yard.hire("ahead", clock_s=3600, concurrency=3, ttl_s=2.5)
    yard.hire("moved", clock_s=3600, moved_after_s=1.5, concurrency=3, ttl_s=2.5)
    await yard.ready(3)
    await yard.ask(*ids(9), nap_s=3.0, deadline_s=60)
    await yard.ask("later", delay_s=1.0)
    await yard.until_over(10)
    assert {row["attempts"] for row in yard.rows("SELECT attempts FROM runs")} == {1}
    assert {row["worker"] for row in yard.marks("start")} == {"behind", "ahead", "moved"}


@EITHER
async def test_fifty_megabytes(yard: "Yard") -> None:
    """Proves FR-341: a run that carries too much is refused, and says what to do."""
    with pytest.raises(InputError, match="at most 8,000,000") as refused:
        await yard.ask("large", text="x" * 50_000_000)
    assert "artifact" in refused.value.hint
    assert yard.rows("SELECT id FROM runs") == []
    with pytest.raises(InputError, match="no pool 'gone'"):
        await yard.engine.enqueue([NewRun("r", "t", {}, pool="gone")])


@EITHER
async def test_fifty_megabytes_come_out(yard: "Yard") -> None:
    """Proves FR-341: an outcome that is too large fails its run, and its worker and its neighbours go on."""
    yard.hire(ttl_s=CALM_S)
    await yard.ask("large", says=12_500_000)
    await yard.ask(*ids(3))
    ended = await yard.engine.ended("large", 30)
    assert ended is not None
    assert (ended.state, "too large" in (ended.error or {})["message"]) == ("failed", True)
    await yard.until_over(3)
    assert yard.rows("SELECT epoch FROM workers") == [{"epoch": 1}]


@EITHER
async def test_an_agent_is_deleted_while_it_works(yard: "Yard", database_url: str) -> None:
    """Proves FR-340: its run goes on with another agent; a quarantined one gets nothing to do."""
    from chimera.store.agents import AgentStore

    async with open_pool(database_url, 2) as pool:
        agents = AgentStore(pool)
        assert await agents.create(["a", "b", "q"]) == 3
        await agents.change("q", "quarantined")
        yard.hire()
        await yard.ask("run", nap_s=60.0)
        await yard.until("SELECT 1 FROM marks WHERE what = 'start'")
        assert (await agents.get("a"))["state"] == "working"
        yard.rows("UPDATE runs SET payload = '{}'")  # whoever has it next does not nap
        await agents.remove("a")
        await yard.until_over(1)
        assert [row["state"] for row in await agents.listed()] == ["waiting", "quarantined"]
        rows = yard.rows("SELECT attempts, failures FROM runs")
        assert rows == [{"attempts": 2, "failures": 0}]


@EITHER
async def test_a_pool_is_set_to_zero(yard: "Yard") -> None:
    """Proves FR-346: nothing new starts there, what runs goes on, and the rest starts when there is room again."""
    yard.hire(concurrency=4)
    await yard.ask(*ids(4), nap_s=2.5)
    await yard.until("SELECT 1 FROM runs WHERE state = 'running' HAVING count(*) = 4")
    await yard.ask(*ids(2, "next"))
    yard.rows("UPDATE pools SET concurrency = 0")
    await yard.until_over(4)
    await yard.ask("more")
    yard.rows("INSERT INTO pools (name, concurrency) VALUES ('other', 5)")
    await yard.ask("elsewhere", pool="other")
    await yard.until_over(5)
    assert len(yard.rows("SELECT 1 FROM runs WHERE state = 'queued'")) == 3
    yard.rows("UPDATE pools SET concurrency = 9 WHERE name = 'default'")
    await yard.until_over(8)
