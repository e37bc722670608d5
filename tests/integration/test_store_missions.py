"""Missions, tasks, usage and effects as Postgres keeps them: found, held, committed, counted, and done once.

Proves FR-28: a mission is held by one process, however its id is written, until that process lets go or its connection
dies, and who lost the hold finds out. Proves TR-8, and TR-36 in the table: one key, one effect. A result made from what
is no longer asked is void. Text that Postgres cannot hold stops nothing.
"""

import asyncio
import uuid
from contextlib import AsyncExitStack
from typing import Any

import pytest

from chimera.core.contracts import (
    Criterion,
    Mission,
    MissionResult,
    MissionStatus,
    Plan,
    Task,
    TaskResult,
    Usage,
    Verdict,
)
from chimera.core.errors import ConflictError, InputError, MissionBusy, MissionNotFound, StoreUnavailable
from chimera.core.money import Money
from chimera.store import usage
from chimera.store.effects import EffectJournal
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool, fetch
from chimera.store.usage import UsageLog

ID = "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11"
ALIKE = "0b9d5a52-9a5e-4a39-8e0b-ffffffffffff"
OTHER = "f0000000-9a5e-4a39-8e0b-4a8d2b6d0c11"
YES = Verdict(outcome="approve", confidence=0.9)
NO_IDS = [
    "",
    " ",
    "%",
    "_",
    "0b9d5a5_",
    "0b%",
    "\\",
    "'",
    "zz",
    "0B9D5A52-9A5E-4A39-8E0B-4A8D2B6D0C1X",
    "0b\x00",
    "\ud83d",
]


@pytest.fixture
def database_url(shared_database_url: str) -> str:
    """One database for this file."""
    return shared_database_url


@pytest.fixture
async def missions(pool: Pool, database_url: str) -> MissionStore:
    """Missions with the ids above, and no others."""
    await fetch(pool, "TRUNCATE missions CASCADE")
    store = MissionStore(pool, database_url)
    for mission_id in (ID, ALIKE, OTHER):
        await store.create(mission_id, Mission(goal="first"))
    return store


def another(database_url: str, pool: Pool) -> MissionStore:
    """The store of another process."""
    return MissionStore(pool, database_url)


def result(task_id: str = "t1", *, version: str, **fields: Any) -> TaskResult:
    return TaskResult(task_id=task_id, status="done", context_version=version, **fields)


# --- finding ---------------------------------------------------------------------------------------------------------


async def test_a_mission_is_found_by_a_unique_prefix(missions: MissionStore) -> None:
    for given in (ID, ID.upper(), f" {ID} ", ID[:-1], "0b9d5a52-9a5e-4a39-8e0b-4"):
        assert await missions.find(given) == ID
    assert await missions.find("f") == OTHER


async def test_what_is_no_unique_prefix_and_no_id_finds_nothing(missions: MissionStore) -> None:
    for given in ("0b9d", "1", *NO_IDS):
        with pytest.raises(MissionNotFound) as refused:
            await missions.find(given)
        assert str(refused.value).isprintable()
    for given in (str(uuid.uuid4()), ID[:-1], *NO_IDS):
        with pytest.raises(MissionNotFound) as refused:
            await missions.get(given)
        str(refused.value).encode()
        if given in NO_IDS:
            with pytest.raises(MissionNotFound):
                async with missions.running_alone(given):
                    pass


async def test_a_mission_is_recorded_once(missions: MissionStore) -> None:
    await missions.create(ID, Mission(goal="second"))
    assert (await missions.context(ID)).goal == "first"


# --- what Postgres cannot hold ---------------------------------------------------------------------------------------


async def test_a_mission_with_nul_characters_is_kept_and_its_version_fits(missions: MissionStore) -> None:
    """The planner works from what is kept: a version of anything else would make every result void."""
    asked = Mission(goal="a\x00b", persona="\x00", constraints=["\x00"], inputs={"feed": "x\x00"})
    mission_id = str(uuid.uuid4())
    await missions.create(mission_id, asked)
    row = await missions.get(mission_id)
    assert row["goal"] == row["mission"]["goal"] == "a\ufffdb"
    assert row["context_version"] == (await missions.context(mission_id)).context_version
    await missions.amend(mission_id, asked.model_copy(update={"goal": "c\x00"}))
    row = await missions.get(mission_id)
    assert row["goal"] == "c\ufffd"
    assert row["context_version"] == (await missions.context(mission_id)).context_version


async def test_results_with_odd_text_and_numbers_are_kept(missions: MissionStore) -> None:
    """A tool that cut its text within an emoji, a NUL, a number that is none: whatever came, it is on record."""
    odd = {
        "nul": "a\x00b",
        "half": "cut \ud83d",
        "pair": "\ud83d\ude00",
        "nan": float("nan"),
        "deep": [[-1e999]],
    }
    kept = {"nul": "a\ufffdb", "half": "cut \ufffd", "pair": "\U0001f600", "nan": None, "deep": [[None]]}
    asked = await missions.context(ID)
    task = Task(
        id="t1",
        title="a\x00b",
        instruction="x\x00",
        arguments={"a__b": odd},
        criteria=[Criterion(kind="contains", value="\x00")],
    )
    await missions.plan_tasks(ID, "team", 1, Plan(tasks=[task]), asked.context_version)
    bad = result(version=asked.context_version, answer="\x00", error=odd)
    verdict = Verdict(outcome="approve", confidence=1.0, reasons=["\x00"])
    assert await missions.commit_task(ID, "team", 1, "done", bad, verdict)
    (row,) = await missions.tasks(ID)
    assert (row["title"], row["plan"]["arguments"]["a__b"]) == ("a\ufffdb", kept)
    assert (row["result"]["answer"], row["result"]["error"]) == ("\ufffd", kept)
    await missions.finish(MissionResult(mission_id=ID, status=MissionStatus.DONE, answer="\x00", reasons=["\x00"]))
    assert (await missions.get(ID))["result"]["answer"] == "\ufffd"


# --- what is asked, and what was made of it --------------------------------------------------------------------------


async def test_a_result_of_an_older_context_is_void(missions: MissionStore) -> None:
    before = await missions.context(ID)
    plan = Plan(tasks=[Task(id=f"t{number}", title="t", instruction="i") for number in (1, 2, 10)])
    await missions.plan_tasks(ID, "team", 1, plan, before.context_version)
    assert await missions.commit_task(ID, "team", 1, "done", result("t1", version=before.context_version), YES)
    await missions.amend(ID, Mission(goal="second"))
    assert not await missions.commit_task(ID, "team", 1, "done", result("t2", version=before.context_version), YES)
    now = await missions.context(ID)
    assert await missions.commit_task(ID, "team", 1, "failed", result("t10", version=now.context_version), YES)
    assert not await missions.commit_task(ID, "team", 2, "done", result("t1", version=now.context_version), YES)
    states = [(row["id"], row["state"]) for row in await missions.tasks(ID)]
    assert states == [("t1", "done"), ("t2", "void"), ("t10", "failed")]


async def test_a_commit_and_an_amendment_at_the_same_time_come_one_after_the_other(missions: MissionStore) -> None:
    """Whatever the order, a result counts only if it was made from what was asked when it was committed."""
    for turn in range(20):
        await missions.amend(ID, Mission(goal=f"goal {turn}"))
        version = (await missions.context(ID)).context_version
        await missions.plan_tasks(ID, "team", turn, Plan(tasks=[Task(id="t1", title="t", instruction="i")]), version)
        committed, _ = await asyncio.gather(
            missions.commit_task(ID, "team", turn, "done", result(version=version), YES),
            missions.amend(ID, Mission(goal=f"after {turn}")),
        )
        row = (await missions.tasks(ID))[-1]
        assert row["state"] == ("done" if committed else "void")
        assert not await missions.commit_task(ID, "team", turn, "done", result(version=version), YES)


async def test_a_plan_is_recorded_once_and_what_is_done_stays_done(missions: MissionStore) -> None:
    version = (await missions.context(ID)).context_version
    plan = Plan(tasks=[Task(id="t1", title="t", instruction="i")])
    await missions.plan_tasks(ID, "team", 1, plan, version)
    await missions.start_task(ID, "team", 1, "t1", 1)
    assert await missions.commit_task(ID, "team", 1, "done", result(version=version), YES)
    await missions.plan_tasks(ID, "team", 1, plan, version)
    await missions.start_task(ID, "team", 1, "t1", 2)
    (row,) = await missions.tasks(ID)
    assert (row["state"], row["attempt"]) == ("done", 1)


async def test_a_mission_that_ended_is_not_moved_or_amended(missions: MissionStore) -> None:
    await missions.finish(MissionResult(mission_id=ID, status=MissionStatus.DONE))
    await missions.set_status(ID, MissionStatus.WAITING)
    assert not await missions.request_cancel(ID)
    with pytest.raises(InputError):
        await missions.amend(ID, Mission(goal="second"))
    with pytest.raises(InputError):
        await missions.amend(ALIKE, Mission(goal="second", tenant="somebody-else"))
    assert (await missions.get(ID))["status"] == MissionStatus.DONE
    assert (await missions.get(ALIKE))["goal"] == "first"


async def test_a_mission_that_is_reopened_has_time_and_is_not_cancelled(missions: MissionStore) -> None:
    assert await missions.request_cancel(ID)
    before = await missions.get(ID)
    await missions.reopen(ID, 3_600)
    after = await missions.get(ID)
    assert (before["cancel_requested"], after["cancel_requested"]) == (True, False)
    assert after["deadline_at"] > before["deadline_at"]
    assert after["status"] == MissionStatus.RUNNING


async def test_the_newest_missions_of_a_tenant_come_first(missions: MissionStore) -> None:
    await missions.create(mine := str(uuid.uuid4()), Mission(goal="g", tenant="mine"))
    assert [str(row["id"]) for row in await missions.newest("mine")] == [mine]
    assert [str(row["id"]) for row in await missions.newest("default", 2)] == [OTHER, ALIKE]


# --- holding ---------------------------------------------------------------------------------------------------------


async def test_a_mission_is_held_by_one_however_its_id_is_written(
    missions: MissionStore, pool: Pool, database_url: str
) -> None:
    elsewhere = another(database_url, pool)
    async with missions.running_alone(ID):
        for store in (missions, elsewhere):
            for written in (ID, ID.upper(), ID.replace("-", "")):
                with pytest.raises(MissionBusy) as refused:
                    async with store.running_alone(written):
                        pass
                assert refused.value.code == "CH703"
        async with elsewhere.running_alone(ALIKE):  # another mission is another hold
            pass
        assert (await missions.get(ID))["goal"] == "first"
    async with elsewhere.running_alone(ID):
        pass


async def test_it_is_known_which_missions_anybody_runs(missions: MissionStore, pool: Pool, database_url: str) -> None:
    """Proves FR-21: of all missions of a page, in any process, however their keys look as numbers."""
    tenant, names = "page", [str(uuid.UUID(int=number)) for number in range(1, 21)]
    for name in names:
        await missions.create(name, Mission(goal="go", tenant=tenant))
    elsewhere = MissionStore(pool, database_url)

    async def attended() -> set[str]:
        rows = await elsewhere.newest(tenant)
        assert len(rows) == len(names)
        return {str(row["id"]) for row in rows if row["attended"]}

    async with AsyncExitStack() as stack:
        for name in names[:10]:
            await stack.enter_async_context(missions.running_alone(name.upper()))
        assert await attended() == set(names[:10])
        assert [await elsewhere.attended(name) for name in (names[0], names[10])] == [True, False]
    async with asyncio.timeout(40):  # Postgres takes a moment to notice that a connection has gone
        while await attended():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.02)


async def test_a_hold_ends_with_what_failed_under_it(missions: MissionStore) -> None:
    with pytest.raises(ZeroDivisionError):
        async with missions.running_alone(ID):
            raise ZeroDivisionError
    async with missions.running_alone(ID):
        pass


async def test_whoever_lost_its_hold_finds_out_when_it_looks(
    missions: MissionStore, pool: Pool, database_url: str
) -> None:
    """The connection dies, another process takes over: the first one must not go on unaware."""
    end_holders = (
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    elsewhere = another(database_url, pool)
    async with missions.running_alone(ID):
        await fetch(pool, end_holders)
        async with asyncio.timeout(20), until_held(elsewhere):
            with pytest.raises(StoreUnavailable):
                await missions.get(ID)
            with pytest.raises(StoreUnavailable):
                await missions.context(ID)
        assert (await missions.get(ALIKE))["goal"] == "first"  # nobody held that
    assert (await missions.get(ID))["goal"] == "first"


class until_held:  # noqa: N801 - reads as the words it stands for
    """Take the hold as soon as Postgres has noticed that its holder is gone."""

    def __init__(self, store: MissionStore) -> None:
        self._store = store

    async def __aenter__(self) -> None:
        while True:
            self._hold = self._store.running_alone(ID)
            try:
                return await self._hold.__aenter__()
            except MissionBusy:
                await asyncio.sleep(0.01)

    async def __aexit__(self, *raised: Any) -> None:
        await self._hold.__aexit__(*raised)


# --- usage -----------------------------------------------------------------------------------------------------------


async def test_usage_adds_up_exactly_and_each_call_counts_once(missions: MissionStore, pool: Pool) -> None:
    log = UsageLog(pool)
    assert await log.total(ID) == Usage()
    calls = [str(uuid.uuid4()) for _ in range(20)]
    one = Usage(calls=1, tokens_in=3, tokens_out=5, cost=Money(units=7))
    await asyncio.gather(*(log.add(call, ID, "worker", "m", one) for call in calls * 3))
    await log.add(str(uuid.uuid4()), ALIKE, "worker", "m", one)
    assert await log.total(ID) == Usage(calls=20, tokens_in=60, tokens_out=100, cost=Money(units=140))


async def test_usage_is_exact_beyond_what_a_table_column_holds(missions: MissionStore, pool: Pool) -> None:
    log, most = UsageLog(pool), 2**63 - 1
    for _ in range(3):
        usage = Usage(calls=1, tokens_in=most, tokens_out=most, cost=Money(units=most))
        await log.add(str(uuid.uuid4()), ID, "worker", "m", usage)
    assert await log.total(ID) == Usage(calls=3, tokens_in=3 * most, tokens_out=3 * most, cost=Money(units=3 * most))


async def test_usage_keeps_its_asset_and_never_adds_two(missions: MissionStore, pool: Pool) -> None:
    log = UsageLog(pool)
    await log.add(str(uuid.uuid4()), ID, "worker", "m", Usage(calls=1, cost=Money(units=7, asset="EUR")))
    assert (await log.total(ID)).cost == Money(units=7, asset="EUR")
    await log.add(str(uuid.uuid4()), ID, "worker", "m", Usage(calls=1, cost=Money(units=7)))
    with pytest.raises(InputError):
        await log.total(ID)


# --- effects ---------------------------------------------------------------------------------------------------------


async def test_of_many_that_begin_an_effect_one_makes_it(missions: MissionStore, pool: Pool) -> None:
    journal, key = EffectJournal(pool), str(uuid.uuid4())
    begun = await asyncio.gather(*(journal.begin(key, ID, "a__b", "digest") for _ in range(20)))
    assert begun.count(None) == 1
    assert {known["state"] for known in begun if known} == {"begun"}


async def test_a_recorded_effect_is_never_recorded_otherwise(missions: MissionStore, pool: Pool) -> None:
    journal, key = EffectJournal(pool), str(uuid.uuid4())
    assert await journal.begin(key, ID, "a__b", "digest") is None
    odd = {"text": "a\x00b\ud83d", "data": {"nan": float("nan")}}
    await journal.end(key, "done", odd)
    await journal.end(key, "failed", {"late": True})
    known = await journal.begin(key, ID, "a__b", "digest")
    assert known is not None
    assert (known["state"], known["result"]) == ("done", {"text": "a\ufffdb\ufffd", "data": {"nan": None}})


async def test_a_key_that_stands_for_another_effect_is_a_conflict(missions: MissionStore, pool: Pool) -> None:
    """Also one that failed, and may be made again, is made again as it was."""
    journal = EffectJournal(pool)
    for ended in ("", "done", "failed"):
        key = str(uuid.uuid4())
        await journal.begin(key, ID, "a__b", "digest")
        if ended:
            await journal.end(key, ended, {})
        for capability, arguments in (("a__c", "digest"), ("a__b", "other"), ("a__c", "other")):
            with pytest.raises(ConflictError) as refused:
                await journal.begin(key, ID, capability, arguments)
            assert refused.value.code == "CH702"
        (row,) = await fetch(pool, "SELECT capability, arguments, state FROM effects WHERE key = %s", (key,))
        assert row == {"capability": "a__b", "arguments": "digest", "state": ended or "begun"}
    assert await journal.begin(key, ID, "a__b", "digest") is None


async def test_what_another_process_used_is_known_within_a_second(
    missions: MissionStore, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what this one used, at once. Proves FR-367."""
    ours, theirs = UsageLog(pool), UsageLog(pool)
    one = Usage(calls=1, tokens_in=3, tokens_out=5, cost=Money(units=7))
    assert await ours.total(ID) == Usage()
    await theirs.add(str(uuid.uuid4()), ID, "worker", "m", one)
    for count in (1, 2):
        await ours.add(str(uuid.uuid4()), ID, "worker", "m", one)
        assert (await ours.total(ID)).calls == count, "its own, and of the other's what it has read"
    monkeypatch.setattr(usage, "FRESH_S", 0.0)
    assert (await ours.total(ID)).calls == 3
