"""What is critical stops the agent that tried it, until a human says otherwise.

Proves FR-118, FR-119, FR-120 and FR-121, on a real Postgres: one deed is one incident, whoever reports it and how
often; the agent, and above a rate its pool, gets nothing through; no agent, no script and nobody unknown lets anybody
go; what cannot be known is refused.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from chimera.cli.main import app
from chimera.core.clock import ManualClock
from chimera.core.contracts import Decision, Mission, ReviewDecision, ReviewPoint, Threat
from chimera.core.errors import ChimeraError, ConflictError, GuardRejected, InputError, StoreUnavailable
from chimera.core.ids import random_ids
from chimera.core.settings import Settings
from chimera.guards.gateway import Chain, SecurityGateway
from chimera.guards.incidents import FRESH_S, Incidents, Quarantine
from chimera.guards.oversight import Oversight, oversee
from chimera.guards.request import Edge, GuardRequest, reject
from chimera.review.queue import ReviewQueue
from chimera.review.reviewers import SCRIPTED
from chimera.store.agents import AgentStore
from chimera.store.audit import AuditLog
from chimera.store.checkpoints import Lease
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool, fetch, open_pool
from chimera.store.runs import Ending, NewRun, RunStore
from chimera.store.workers import WorkerStore

MISSION = "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11"
OTHER = "1b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c12"
CRITICAL = reject("flow.exfiltration", "<b>the key</b> was on its way out", Threat.CRITICAL)


def asked(payload: str = "x", pool: str = "writers", agent: str = "agent:a", **fields: Any) -> GuardRequest:
    given: dict[str, Any] = {"mission_id": MISSION, "mission": Mission(goal="g"), **fields}
    return GuardRequest(edge=Edge.TOOL_CALL, payload={"text": payload}, pool=pool, agent_id=agent, **given)


class Desk:
    """The parts, on one database, and a clock that only the test moves."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.clock = ManualClock(datetime(2026, 3, 1, tzinfo=UTC))
        self.audit = AuditLog(pool, self.clock)
        self.reviews = ReviewQueue(pool)
        self.oversight = self.process()
        self.incidents, self.decisions = self.oversight.incidents, self.oversight.decisions

    def process(self, pool: Pool | None = None) -> Oversight:
        """What another process would have."""
        given = {"database_url": "postgresql://named", "incident_pool_limit": 2, "incident_window_s": 60}
        settings, used = Settings.model_validate(given), pool or self.pool
        return oversee(settings, used, self.reviews, self.audit, self.clock, random_ids())

    async def events(self, *kinds: str) -> list[dict[str, Any]]:
        """The events on the record, of some kinds."""
        return [event for event in await self.audit.tail("default", 1_000) if event["kind"] in kinds]

    async def holds(self, agent: str = "agent:a", pool: str = "writers", mission: str = MISSION, **fields: Any) -> bool:
        """Whether a request of an agent is refused."""
        incidents: Incidents = fields.pop("incidents", self.incidents)
        guard = Quarantine(incidents)
        return await guard.check(asked(agent=agent, pool=pool, mission_id=mission, **fields)) is not None


@pytest.fixture
async def pool(shared_database_url: str, enrol: Callable[..., None]) -> AsyncGenerator[Pool]:
    """One database for all tests here, emptied for each."""
    async with open_pool(shared_database_url, 8) as opened:
        for table in ("audit_events", "audit_checkpoints"):
            await fetch(opened, f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        await fetch(opened, "TRUNCATE missions, reviews, incidents, quarantines, audit_events, audit_heads CASCADE")
        enrol(shared_database_url, "ada", "bob", "user", *(f"ada {number}" for number in range(3)))
        yield opened


@pytest.fixture
async def desk(pool: Pool, shared_database_url: str) -> Desk:
    store = MissionStore(pool, shared_database_url)
    for mission in (MISSION, OTHER):
        await store.create(mission, Mission(goal="g"))
    return Desk(pool)


async def test_a_critical_decision_is_one_incident_however_often_it_is_reported(desk: Desk) -> None:
    found = await asyncio.gather(*(desk.incidents.opened(CRITICAL, asked(), "agent:a") for _ in range(5)))
    again = await desk.process().incidents.opened(CRITICAL, asked(), "agent:a")
    assert len({incident.id for incident in [*found, again] if incident}) == 1
    (incident,) = await desk.incidents.listed()
    assert (incident.agent, incident.pool, incident.rule, incident.threat) == (
        "agent:a",
        "writers",
        "flow.exfiltration",
        "critical",
    )
    assert incident.quarantined == ["agent agent:a"]
    (event,) = await desk.events("incident.opened")
    assert incident.trail == event["hash"]
    assert (event["mission_id"], event["data"]["incident"]) == (MISSION, incident.id)
    (item,) = await desk.reviews.pending(MISSION)
    assert (item.id, item.point, item.payload["blocking"]) == (incident.review_id, ReviewPoint.SECURITY, False)
    assert [asked["data"]["item"] for asked in await desk.events("review.asked")] == [item.id]


async def test_another_deed_is_another_incident_and_so_is_the_same_after_a_release(desk: Desk) -> None:
    first = await desk.incidents.opened(CRITICAL, asked("x"), "agent:a")
    second = await desk.incidents.opened(CRITICAL, asked("y"), "agent:a")
    assert first is not None
    assert second is not None
    assert first.id != second.id
    await desk.decisions.release(first.id, "ada", "a mistake")
    assert await desk.holds()  # the other one holds it still
    await desk.decisions.release(second.id, "ada", "a mistake too")
    assert not await desk.holds()
    third = await desk.incidents.opened(CRITICAL, asked("x"), "agent:a")
    assert third is not None
    assert third.id not in (first.id, second.id)
    assert await desk.holds()


@pytest.mark.parametrize("threat", [threat for threat in Threat if threat is not Threat.CRITICAL])
async def test_what_is_not_critical_is_no_incident(desk: Desk, threat: Threat) -> None:
    assert await desk.incidents.opened(reject("x", "y", threat), asked(), "agent:a") is None
    assert await desk.incidents.listed(released=True) == []


async def test_only_the_agent_is_held_back(desk: Desk) -> None:
    """Another one of the pool is not, nor one of the same name in another tenant."""
    await desk.incidents.opened(CRITICAL, asked(), "agent:a")
    refused = await Quarantine(desk.incidents).check(asked())
    assert refused is not None
    assert (refused.action, refused.rules) == ("reject", ["incident.quarantine"])
    assert await desk.holds(mission=OTHER)
    assert not await desk.holds("agent:b")
    elsewhere = asked(mission=Mission(goal="g", tenant="acme"))
    assert await Quarantine(desk.incidents).check(elsewhere) is None


async def test_a_place_in_a_mission_is_held_back_in_that_mission_only(desk: Desk) -> None:
    """Places have the same names in every mission."""
    await desk.incidents.opened(CRITICAL, asked(agent="agent:team-1/0/t1/0"), "agent:team-1/0/t1/0")
    assert await desk.holds("agent:team-1/0/t1/0")
    assert not await desk.holds("agent:team-1/0/t1/0", mission=OTHER)


async def test_a_person_is_reported_and_not_held_back(desk: Desk) -> None:
    incident = await desk.incidents.opened(CRITICAL, asked(agent="user"), "user")
    assert incident is not None
    assert incident.quarantined == []
    assert not await desk.holds("user")
    assert (await desk.decisions.release(incident.id, "user", "it was a test")).state == "released"


async def test_above_a_rate_the_pool_is_held_back(desk: Desk) -> None:
    """More than two within a minute; those of another pool and older ones do not count."""
    await desk.incidents.opened(CRITICAL, asked("old"), "agent:old")
    desk.clock.advance(61)
    await desk.incidents.opened(CRITICAL, asked(pool="readers"), "agent:r")
    for name in "ab":
        await desk.incidents.opened(CRITICAL, asked(), f"agent:{name}")
    assert not await desk.holds("agent:x")
    last = await desk.incidents.opened(CRITICAL, asked(), "agent:c")
    assert last is not None
    assert last.quarantined == ["agent agent:c", "pool writers"]
    assert await desk.holds("agent:x")
    assert not await desk.holds("agent:x", pool="readers")
    await desk.decisions.release(last.id, "ada", "looked at")
    assert not await desk.holds("agent:x")
    assert await desk.holds("agent:a")


async def test_incidents_at_the_same_time_count_each_other(desk: Desk, shared_database_url: str) -> None:
    async with open_pool(shared_database_url, 4) as other:
        processes = [desk.process(), desk.process(other), desk.process()]
        await asyncio.gather(
            *(one.incidents.opened(CRITICAL, asked(), f"agent:{place}") for place, one in enumerate(processes))
        )
    held = await fetch(desk.pool, "SELECT count(*) AS n FROM quarantines WHERE kind = 'pool'")
    assert held[0]["n"] == 1


async def test_a_change_counts_at_once_here_and_within_a_second_elsewhere(desk: Desk) -> None:
    process = desk.process()
    elsewhere = process.incidents
    assert not await desk.holds()
    assert not await desk.holds(incidents=elsewhere)
    incident = await desk.incidents.opened(CRITICAL, asked(), "agent:a")
    assert incident is not None
    assert await desk.holds()
    assert not await desk.holds(incidents=elsewhere)  # read a moment ago
    desk.clock.advance(FRESH_S)
    assert await desk.holds(incidents=elsewhere)
    assert await desk.holds()
    await process.decisions.release(incident.id, "ada", "looked at")
    assert not await desk.holds(incidents=elsewhere)
    assert await desk.holds()
    desk.clock.advance(FRESH_S)
    assert not await desk.holds()


async def test_what_was_read_before_a_change_does_not_hide_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list is read, an incident is opened, and only then the answer comes."""
    store = desk.incidents._store  # pyright: ignore[reportPrivateUsage] - to stop between two statements
    held, reading, go_on = store.held, asyncio.Event(), asyncio.Event()

    async def slowly() -> Any:
        found = await held()
        reading.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(store, "held", slowly)
    async with asyncio.timeout(20):
        waiting = asyncio.create_task(desk.holds())
        await reading.wait()
        await desk.incidents.opened(CRITICAL, asked(), "agent:a")
        go_on.set()
        assert await waiting


async def test_a_database_that_fails_holds_everybody_back(desk: Desk, shared_database_url: str) -> None:
    async with open_pool(shared_database_url, 1) as closing:
        incidents = desk.process(closing).incidents
    decision = await incidents.is_quarantined("agent:b", "writers")
    assert decision is not None
    assert (decision.action, decision.rules) == ("reject", ["incident.quarantine", "incident.unknown"])
    with pytest.raises(ChimeraError):
        await incidents.opened(CRITICAL, asked(), "agent:a")


async def test_that_it_cannot_be_known_is_no_verdict_on_the_agent(desk: Desk) -> None:
    """It is on the record as a rejection, and whoever asked hears that the store failed, so that it is tried again."""
    gateway = SecurityGateway({Edge.TOOL_CALL: Chain([Quarantine(desk.incidents)])}, desk.audit, desk.incidents)
    await fetch(desk.pool, "ALTER TABLE quarantines RENAME TO away")
    try:
        with pytest.raises(StoreUnavailable, match="cannot be known"):
            await gateway.validate_request("agent:new", asked(agent="agent:new"))
    finally:
        await fetch(desk.pool, "ALTER TABLE away RENAME TO quarantines")
    (event,) = await desk.events("guard.decision")
    assert (event["data"]["action"], event["data"]["rules"]) == ("reject", ["incident.quarantine", "incident.unknown"])


async def test_a_list_that_cannot_be_read_any_more_is_not_used_for_long(desk: Desk) -> None:
    assert not await desk.holds()
    await fetch(desk.pool, "ALTER TABLE quarantines RENAME TO away")
    assert not await desk.holds()
    desk.clock.advance(FRESH_S)
    assert await desk.holds()
    await fetch(desk.pool, "ALTER TABLE away RENAME TO quarantines")
    assert not await desk.holds()


@pytest.mark.parametrize(
    "by", ["agent:a", "Agent:b", " ada", "\u200bada", "ａda", "Ada", "pool:writers", "peer:x", "carol", SCRIPTED]
)
async def test_nobody_but_a_human_releases(desk: Desk, by: str) -> None:
    """``carol`` is an agent, and nobody is enrolled by the names that look like ada's."""
    incident = await desk.incidents.opened(CRITICAL, asked(agent="carol"), "carol")
    assert incident is not None
    with pytest.raises(GuardRejected):
        await desk.decisions.release(incident.id, by, "please")
    assert await desk.holds("carol")
    (refused,) = await desk.events("permission.refused")
    assert (refused["data"]["action"], refused["data"]["resource"]) == ("incident.release", incident.id)
    assert refused["data"]["reason"] == ("not-for-this-kind" if by == SCRIPTED else "unknown-principal")
    assert await desk.events("incident.released") == []


async def test_a_release_has_a_name_and_a_reason_and_happens_once(desk: Desk) -> None:
    incident = await desk.incidents.opened(CRITICAL, asked(), "agent:a")
    assert incident is not None
    for by, reason in (("", "why"), (" ", "why"), ("ada", " ")):
        with pytest.raises(InputError):
            await desk.decisions.release(incident.id, by, reason)
    told = await asyncio.gather(
        *(desk.process().decisions.release(incident.id[:8], f"ada {n}", "looked at") for n in range(3)),
        return_exceptions=True,
    )
    assert sorted(type(one).__name__ for one in told) == ["ConflictError", "ConflictError", "Incident"]
    (event,) = await desk.events("incident.released")
    (kept,) = await desk.incidents.listed(released=True)
    assert (kept.state, kept.released_by, kept.reason) == ("released", event["actor"], "looked at")
    decision = await desk.reviews.decision(str(kept.review_id))
    assert decision is not None
    assert decision.reviewer == kept.released_by
    assert await desk.incidents.listed() == []


async def test_a_release_that_cannot_be_recorded_is_none(desk: Desk) -> None:
    incident = await desk.incidents.opened(CRITICAL, asked(), "agent:a")
    assert incident is not None
    await fetch(desk.pool, "ALTER TABLE audit_events RENAME TO away")
    with pytest.raises(ChimeraError):
        await desk.decisions.release(incident.id, "ada", "looked at")
    await fetch(desk.pool, "ALTER TABLE away RENAME TO audit_events")
    assert await desk.holds()
    await desk.decisions.release(incident.id, "ada", "looked at")
    assert not await desk.holds()


@pytest.mark.parametrize(("action", "by", "goes_on"), [
    ("approve", "ada", True), ("reject", "ada", False), ("approve", SCRIPTED, False), ("approve", "agent:a", False),
])  # fmt: skip
async def test_the_question_on_the_queue_is_a_way_to_release(desk: Desk, action: Any, by: str, goes_on: bool) -> None:
    incident = await desk.incidents.opened(CRITICAL, asked(), "agent:a")
    assert incident is not None
    answer = ReviewDecision(action=action, reviewer=by, reason="so")
    if by != "ada":
        with pytest.raises(GuardRejected):
            await desk.decisions.answer(str(incident.review_id), answer)
        assert await desk.reviews.decision(str(incident.review_id)) is None
    else:
        await desk.decisions.answer(str(incident.review_id), answer)
    assert await desk.holds() is not goes_on
    released = await desk.events("incident.released")
    assert [event["actor"] for event in released] == (["ada"] if goes_on else [])
    if action == "reject":  # a human may think again
        await desk.decisions.release(incident.id, "bob", "it was a test")
        assert not await desk.holds()
    elif goes_on:
        with pytest.raises(ConflictError):
            await desk.decisions.release(incident.id, "bob", "it was a test")


async def test_an_incident_without_a_mission_is_asked_about_as_well(desk: Desk) -> None:
    """Proves FR-189: of an agent without one, and of one whose mission is not in this database."""
    for mission in (None, "1c9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c19"):
        incident = await desk.incidents.opened(CRITICAL, asked(mission_id=mission), "agent:a")
        assert incident is not None
        assert incident.trail is not None
        item = await desk.reviews.find(str(incident.review_id))
        assert (item.mission_id, item.payload["incident"]) == (None, incident.id)
    assert len(await desk.reviews.pending()) == 2


async def test_what_a_killed_process_left_undone_is_done_by_the_next(desk: Desk) -> None:
    """It died after the agent was held back and before anybody was told."""
    incident = await desk.incidents.opened(CRITICAL, asked(), "agent:a")
    assert incident is not None
    await fetch(desk.pool, "DELETE FROM reviews")
    await fetch(desk.pool, "UPDATE incidents SET trail = NULL, review_id = NULL")
    again = await desk.process().incidents.opened(CRITICAL, asked(), "agent:a")
    assert again is not None
    assert again.id == incident.id
    assert [item.id for item in await desk.reviews.pending(MISSION)] == [again.review_id]


class Alarm:
    """A guard that finds something critical in the word ``steal``."""

    rule = "flow.exfiltration"

    async def check(self, request: GuardRequest) -> Decision | None:
        return CRITICAL if request.payload["text"] == "steal" else None


async def test_at_the_gateway_nothing_of_a_quarantined_agent_passes(desk: Desk) -> None:
    gateway = SecurityGateway({Edge.TOOL_CALL: Chain([Quarantine(desk.incidents), Alarm()])}, desk.audit)
    assert await gateway.validate_request("agent:a", asked("work"))
    decision = await gateway.validate_request("agent:a", asked("steal"))
    await desk.incidents.opened(decision, asked("steal"), "agent:a")
    assert not await gateway.validate_request("agent:a", asked("work"))
    assert await gateway.validate_request("agent:b", asked("work"))
    refused = await gateway.validate_request("agent:a", asked("steal"))
    assert await desk.incidents.opened(refused, asked("steal"), "agent:a") is None
    assert await desk.audit.verify() == len(await desk.audit.tail("default", 1_000))


@pytest.fixture
async def of_commands(desk: Desk, shared_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("CHIMERA_DATABASE_URL", shared_database_url)
    monkeypatch.setenv("CHIMERA_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return desk


async def test_the_commands_list_show_and_release(of_commands: Desk) -> None:
    incident = await of_commands.incidents.opened(CRITICAL, asked(), "agent:a")
    assert incident is not None

    async def chimera(*words: str) -> tuple[int, str]:
        done = await asyncio.to_thread(CliRunner().invoke, app, ["incident", *words])
        return done.exit_code, done.output

    code, shown = await chimera("ls", "--json")
    assert (code, [one["id"] for one in json.loads(shown)["incidents"]]) == (0, [incident.id])
    code, shown = await chimera("show", incident.id[:8])
    assert code == 0
    assert "agent agent:a" in shown
    assert f"release {incident.id[:8]} --reason" in shown
    assert (await chimera("release", incident.id[:8], "--by", "agent:b", "--reason", "x"))[0] == 6
    code, shown = await chimera("release", incident.id[:8], "--by", "ada", "--reason", "x", "--json")
    assert (code, json.loads(shown)["state"]) == (0, "released")
    assert (await chimera("release", incident.id[:8], "--by", "ada", "--reason", "x"))[0] != 0
    assert "held back" in (await chimera("ls"))[1]
    assert incident.id[:8] in (await chimera("ls", "--all"))[1]
    assert (await chimera("show", "zz"))[0] == 2


# --- the fleet's agents -----------------------------------------------------------------------------------------------

PLACE = "agent:team-1/1/t1/1"


@pytest.fixture
async def fleet(pool: Pool) -> AgentStore:
    """Two pools, an agent that works at a place of the mission, and others."""
    await fetch(pool, "TRUNCATE runs, lanes, agents, latencies, workers")
    await fetch(pool, "INSERT INTO pools (name, concurrency) VALUES ('writers', 5) ON CONFLICT DO NOTHING")
    agents, runs = AgentStore(pool), RunStore(pool)
    await agents.create(["ant"], pool="writers")
    await runs.enqueue([NewRun("run", f"{MISSION}/team-1/1/t1/1/0123456789abcdef", {}, pool="writers")])
    lease = await WorkerStore(pool).register("w", engine="postgres", concurrency=9, pools=None, ttl_s=60)
    (claim,) = await runs.claim(lease, 9)
    assert claim.agent == "ant"
    await agents.create(["bee", "cow", "dog"], pool="writers")
    await agents.create(["far"])
    await agents.create(["fox"], pool="writers", tenant="acme")
    await agents.change("cow", "sleeping")
    await agents.change("dog", "quarantined")
    return agents


async def states(agents: AgentStore) -> dict[str, str]:
    return {row["id"]: row["state"] for row in await agents.listed()}


BEFORE = {
    "ant": "working",
    "bee": "waiting",
    "cow": "sleeping",
    "dog": "quarantined",
    "far": "waiting",
    "fox": "waiting",
}


async def test_the_agent_at_that_place_is_quarantined_until_the_release(
    desk: Desk, fleet: AgentStore, shared_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is seen in `chimera agents`, gets no work, and nothing but the release gives it back."""
    incident = await desk.incidents.opened(CRITICAL, asked(agent=PLACE), PLACE)
    assert incident is not None
    assert incident.quarantined == ["agent " + f"{MISSION} {PLACE}", "agent ant"]
    assert await states(fleet) == {**BEFORE, "ant": "quarantined"}
    monkeypatch.setenv("CHIMERA_HOME", str(tmp_path))
    monkeypatch.setenv("CHIMERA_DATABASE_URL", shared_database_url)
    monkeypatch.setenv("CHIMERA_REDIS_URL", "redis://127.0.0.1:1")
    listing = ["agents", "ls", "--pool", "writers", "--state", "quarantined", "--json"]
    listed = await asyncio.to_thread(lambda: CliRunner().invoke(app, listing))
    assert [row["id"] for row in json.loads(listed.stdout)["agents"]] == ["ant", "dog"]
    with pytest.raises(ConflictError, match="held back by an incident"):
        await fleet.change("ant", "waiting")
    runs = RunStore(desk.pool)
    (claim,) = await runs.strays(Lease("w", 1), [])
    await runs.end([Ending(claim, "done", outcome={})])
    assert (await states(fleet))["ant"] == "quarantined"
    second = await desk.incidents.opened(CRITICAL, asked(agent="ant"), "ant")  # by its own name
    assert second is not None
    await desk.decisions.release(incident.id, "ada", "a mistake")
    assert (await states(fleet))["ant"] == "quarantined"
    await desk.decisions.release(second.id, "ada", "a mistake too")
    assert await states(fleet) == {**BEFORE, "ant": "waiting"}
    await fleet.change("ant", "sleeping")


async def test_above_a_rate_all_agents_of_the_pool_are_quarantined_until_the_release(
    desk: Desk, fleet: AgentStore
) -> None:
    found = [await desk.incidents.opened(CRITICAL, asked(str(number), agent=PLACE), PLACE) for number in range(3)]
    assert found[-1] is not None
    assert "pool writers" in found[-1].quarantined
    held = dict.fromkeys(("ant", "bee", "cow", "dog"), "quarantined")
    assert await states(fleet) == {**BEFORE, **held}
    await desk.decisions.release(found[-1].id, "ada", "a mistake")
    assert await states(fleet) == {**BEFORE, "ant": "quarantined"}  # by the two that are open
    for incident in found[:2]:
        assert incident is not None
        await desk.decisions.release(incident.id, "ada", "a mistake")
    assert await states(fleet) == BEFORE


async def test_what_an_agent_of_a_pool_tries_counts_for_that_pool(desk: Desk) -> None:
    """The gateway of a worker knows in which pool of the fleet its agents work."""

    class Never:
        rule = "test.never"

        async def check(self, request: GuardRequest) -> Decision | None:
            return CRITICAL

    gateway = SecurityGateway({Edge.TOOL_CALL: Chain([Never()])}, desk.audit, desk.incidents)
    request = asked(pool="default")
    await gateway.within("writers").validate_request("agent:z", request)
    assert [incident.pool for incident in await desk.incidents.listed()] == ["writers"]
