"""Who is blamed when a worker is lost: claims, losses and sweeps by hand, on a real Postgres, without any process.

Proves FR-380 and FR-381.
"""

from collections.abc import Sequence
from typing import Any

import pytest

from chimera.store.checkpoints.group import GroupCommit, Lease
from chimera.store.checkpoints.rows import Unit
from chimera.store.postgres import Pool, fetch
from chimera.store.runs import Claim, Ending, NewRun, RunStore
from chimera.store.workers import WorkerStore

ROOM = 100
DUE = """
UPDATE runs SET not_before = now() - interval '30 seconds' + place * interval '1 ms'
FROM (SELECT id AS due, rank() OVER (ORDER BY not_before) AS place FROM runs WHERE state = 'delayed') AS in_order
WHERE id = due AND not_before > now()
"""


class Hall:
    """Workers by hand."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.runs, self._workers = RunStore(pool), WorkerStore(pool)
        self._steps = 0

    async def ask(self, *ids: str, max_failures: int = 5, pool: str = "default") -> None:
        """Enqueue runs."""
        new = [NewRun(run, f"thread-{run}", {}, max_failures=max_failures, pool=pool) for run in ids]
        assert await self.runs.enqueue(new) == list(ids)

    async def hire(self, name: str, pools: Sequence[str] | None = None) -> Lease:
        """A worker."""
        return await self._workers.register(name, engine="postgres", concurrency=ROOM, pools=pools, ttl_s=600)

    async def claim(self, lease: Lease, room: int = ROOM) -> list[Claim]:
        """What a worker gets, now that nobody has to wait any more after a loss; the order stays."""
        await fetch(self._pool, DUE)
        return await self.runs.claim(lease, room)

    async def begin(self, lease: Lease, room: int = ROOM) -> list[Claim]:
        """What a worker gets, and begins with."""
        claims = await self.claim(lease, room)
        for claim in claims:
            await self.runs.begin(claim)
        return claims

    async def lose(self, lease: Lease) -> dict[str, str]:
        """The worker is gone; what became of its runs."""
        query = "UPDATE workers SET expires_at = now() - interval '1 second' WHERE id = %s"
        await fetch(self._pool, query, (lease.worker,))
        return await self.runs.sweep()

    async def step(self, lease: Lease, *claims: Claim) -> None:
        """Runs make a step."""
        for claim in claims:
            self._steps += 1
            row = (claim.thread_id, "", f"{self._steps:06}", None, '{"v": 4}', "{}")
            await GroupCommit(self._pool, lease=lease).commit(Unit((row,)))

    async def finish(self, *claims: Claim) -> None:
        """Runs end."""
        await self.runs.end([Ending(claim, "done", outcome={}) for claim in claims])

    async def leave(self, lease: Lease) -> None:
        """A worker says that it ends."""
        await self._workers.leave(lease)

    async def alter(self, query: str) -> None:
        """Change what no clock of a test can."""
        await fetch(self._pool, query)

    async def found(self, *names: str) -> dict[str, tuple[Any, ...]]:
        """These columns of each run."""
        rows = await self.runs.listed(limit=1_000)
        return {str(row["id"]): tuple(row[name] for name in names) for row in rows}


@pytest.fixture
def hall(pool: Pool) -> Hall:
    return Hall(pool)


def ids(number: int, name: str = "run") -> list[str]:
    return [f"{name}-{place:03}" for place in range(number)]


async def test_only_what_had_begun_is_blamed(hall: Hall) -> None:
    """Proves FR-380: of those that were at a loss before, whoever did not get its turn has no part in the next one."""
    await hall.ask(*ids(3))
    one = await hall.hire("one")
    assert len(await hall.claim(one)) == 3
    await hall.lose(one)
    two = await hall.hire("two")
    claims = {claim.id: claim for claim in await hall.claim(two)}
    assert [claim.losses for claim in claims.values()] == [1, 1, 1]
    await hall.runs.begin(claims["run-001"])
    assert set((await hall.lose(two)).values()) == {"queued", "delayed"}
    assert await hall.found("losses", "failures") == {"run-000": (1, 0), "run-001": (2, 1), "run-002": (1, 0)}


async def test_a_new_step_ends_every_suspicion(hall: Hall) -> None:
    """Proves FR-380: who has made a step since is where every other run is."""
    await hall.ask("run", max_failures=3)
    for number in range(12):
        lease = await hall.hire(f"w{number}")
        (claim,) = await hall.begin(lease)
        await hall.step(lease, claim)
        assert set((await hall.lose(lease)).values()) == {"queued"}
    assert await hall.found("losses", "failures", "attempts") == {"run": (1, 1, 12)}


@pytest.mark.parametrize("why", ["it left", "Postgres restarted"])
async def test_nobody_is_blamed_for_what_ends_in_order_or_with_postgres(hall: Hall, why: str) -> None:
    """Proves FR-380: a worker that says that it ends, and a restart of Postgres since the run was claimed."""
    await hall.ask(*ids(2), max_failures=1)
    for number in range(7):
        lease = await hall.hire(f"w{number}")
        assert len(await hall.begin(lease)) == 2
        if why == "it left":
            await hall.leave(lease)
        else:
            await hall.alter("UPDATE runs SET started_at = pg_postmaster_start_time() - interval '1 second'")
        assert await hall.lose(lease) == {"run-000": "queued", "run-001": "queued"}
    assert await hall.found("losses", "failures") == {"run-000": (0, 0), "run-001": (0, 0)}


async def test_what_fails_for_want_of_postgres_is_not_counted(hall: Hall) -> None:
    """Proves FR-380: it is tried again without a failure, if Postgres itself has ended since; else it is one."""
    await hall.ask("run", max_failures=2)
    away, ended = {"code": "CH301", "message": "away"}, dict[str, str]()
    for number, restarted in enumerate((True, True, True, False, True, False)):
        lease = await hall.hire(f"w{number}")
        (claim,) = await hall.begin(lease)
        if restarted:
            await hall.alter("UPDATE runs SET started_at = pg_postmaster_start_time() - interval '1 second'")
        ended = await hall.runs.end([Ending(claim, "retry", error=away)])
        await hall.leave(lease)
    assert ended == {"run": "dead"}
    assert await hall.found("failures", "attempts") == {"run": (2, 6)}


@pytest.mark.parametrize("swept", ["before", "after"])
async def test_a_worker_that_is_well_clears_its_runs(hall: Hall, swept: str) -> None:
    """Proves FR-380: also when others have blamed them by then; what was blamed before stays."""
    await hall.ask("run")
    await hall.begin(lease := await hall.hire("gone"))
    await hall.lose(lease)
    await hall.begin(lease := await hall.hire("well"))
    if swept == "before":
        assert await hall.lose(lease) == {"run": "delayed"}
        assert await hall.found("losses", "failures") == {"run": (2, 2)}
    await hall.runs.excuse(lease)
    await hall.lose(lease)
    await hall.runs.excuse(lease)
    assert await hall.found("losses", "failures") == {"run": (1, 1)}


async def test_suspects_are_tried_with_fewer_and_fewer_others(hall: Hall) -> None:
    """Proves FR-381: 16 together, then 4, then each alone, and nothing else goes where one of the last is."""
    await hall.ask(*ids(40))
    for number in range(2):
        lease = await hall.hire(f"w{number}")
        assert len(await hall.begin(lease)) == 40
        await hall.lose(lease)
    taken = list[str]()
    for number, few in enumerate((16, 4, 1, 1)):
        lease = await hall.hire(f"x{number}")
        taken = [claim.id for claim in await hall.begin(lease)]
        assert len(taken) == few
        if few < 16:
            await hall.ask(f"new-{number}")
            assert await hall.claim(lease) == []
        await hall.lose(lease)
        # Those that were not in this group have nothing to do with it any more.
        await hall.alter(f"UPDATE runs SET state = 'done' WHERE id <> ALL ('{{{','.join(taken)}}}')")
    (of_one_that_was_alone_twice,) = await hall.runs.listed(ids=taken)
    assert (of_one_that_was_alone_twice["losses"], of_one_that_was_alone_twice["failures"]) == (6, 2)


async def test_others_go_on_beside_suspects_and_one_worker_makes_room(hall: Hall) -> None:
    """Proves FR-381: of the workers that could take it the first claims nothing until it is empty enough; the others go
    on, and when the suspect has made a step its worker takes on others as before.
    """
    await hall.ask("poison?")
    for number in range(4):
        await hall.begin(lease := await hall.hire(f"w{number}"))
        await hall.lose(lease)
    first, second = await hall.hire("x1"), await hall.hire("x2")
    await hall.alter("UPDATE runs SET not_before = now() + interval '1 hour'")
    await hall.ask(*ids(4))
    busy = [*await hall.runs.claim(first, 2), *await hall.runs.claim(second, 2)]
    assert len(busy) == 4
    await hall.ask(*ids(20, "more"))
    assert await hall.claim(first) == [], "it makes room"
    assert len(await hall.claim(second, 5)) == 5
    await hall.finish(*busy)
    (suspect,) = await hall.begin(first)
    assert suspect.id == "poison?"
    assert await hall.claim(first) == [], "it is alone"
    await hall.step(first, suspect)
    assert len(await hall.claim(first, 5)) == 5


async def test_one_that_finds_no_worker_for_itself_is_tried_anywhere(hall: Hall) -> None:
    """Proves FR-381: after a minute, so that long runs elsewhere do not hold it up for ever."""
    await hall.ask("poison?", "long")
    for number in range(4):
        await hall.begin(lease := await hall.hire(f"w{number}"))
        await hall.lose(lease)
        await hall.alter("UPDATE runs SET losses = 0, failures = 0, state = 'queued' WHERE id = 'long'")
    await hall.alter("UPDATE runs SET not_before = now() + interval '1 hour' WHERE id = 'poison?'")
    only = await hall.hire("only")
    assert [claim.id for claim in await hall.runs.claim(only, 1)] == ["long"]
    assert await hall.claim(only) == []
    await hall.alter("UPDATE runs SET not_before = now() - interval '61 seconds' WHERE id = 'poison?'")
    assert [claim.id for claim in await hall.begin(only)] == ["poison?"]
    await hall.lose(only)
    assert await hall.found("losses", "failures") == {"poison?": (5, 0), "long": (1, 0)}


async def test_the_limits_of_a_pool_hold_for_suspects(hall: Hall) -> None:
    """Proves FR-381: and a worker makes no room for what could not be claimed."""
    await hall.ask("poison?")
    for number in range(2):
        await hall.begin(lease := await hall.hire(f"w{number}"))
        await hall.lose(lease)
    lease = await hall.hire("x")
    await hall.alter("INSERT INTO pools (name, concurrency) VALUES ('other', 50)")
    await hall.ask(*ids(30), pool="other")
    for limits in ("concurrency = 0", "concurrency = 9, tenant_limit = 0", "tenant_limit = NULL, budget_units = 0"):
        await hall.alter(f"UPDATE pools SET {limits} WHERE name = 'default'")
        assert {claim.pool for claim in await hall.claim(lease, 6)} == {"other"}
    await hall.alter("UPDATE pools SET budget_units = NULL WHERE name = 'default'")
    assert await hall.claim(lease, 6) == [], "it makes room, as it carries 18"


@pytest.mark.parametrize("poisons", [1, 3])
async def test_poison_is_found_and_takes_nobody_along(hall: Hall, poisons: int) -> None:
    """Proves FR-381: each is dead after a bounded number of workers, whoever is with it; all others are done."""
    await hall.ask(*ids(60, "good"), *ids(poisons, "poison"), max_failures=3)
    lost, states = 0, dict[str, tuple[Any, ...]]()
    for turn in range(200):
        lease = await hall.hire(f"w{turn}")
        claims = await hall.begin(lease)
        if any(claim.id.startswith("poison") for claim in claims):
            await hall.lose(lease)
            lost += 1
        else:
            await hall.finish(*claims)
            await hall.leave(lease)
        states = await hall.found("state")
        if set(states.values()) <= {("done",), ("dead",)}:
            break
    assert {run for run, (state,) in states.items() if state == "dead"} == set(ids(poisons, "poison"))
    assert {run for run, (state,) in states.items() if state == "done"} == set(ids(60, "good"))
    assert lost <= 4 + 3 * poisons + 2 * (poisons - 1)
    assert max(failures for run, (failures,) in (await hall.found("failures")).items() if run.startswith("good")) == 0


async def test_innocents_outlive_many_workers(hall: Hall) -> None:
    """Proves FR-381: 40 workers are lost one after the other before anybody makes a step, and nobody is dead for it.

    By the number of tries without a step, which stood here before, all would be after five.
    """
    await hall.ask(*ids(30))
    for number in range(40):
        lease = await hall.hire(f"w{number}")
        assert await hall.begin(lease)
        assert "dead" not in (await hall.lose(lease)).values()
    assert min(losses for (losses,) in (await hall.found("losses")).values()) >= 4
    last = await hall.hire("last")
    while claims := await hall.begin(last):
        await hall.finish(*claims)
    assert set((await hall.found("state")).values()) == {("done",)}
