"""Who there is besides agents: enrolled in Postgres, on the record, and nobody else decides anything.

Proves FR-184, FR-185 and FR-186, and TR-108: on a real database, with the directories of several processes on it, and
with the commands.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner

from chimera.cli import checks
from chimera.cli.main import app
from chimera.core.clock import ManualClock
from chimera.core.contracts import Mission
from chimera.core.errors import ConflictError, GuardRejected, InputError, StoreError
from chimera.core.ids import random_ids
from chimera.core.settings import Settings
from chimera.guards.oversight import Oversight, oversee
from chimera.guards.permissions.directory import FRESH_S, Directory
from chimera.guards.permissions.first import ITSELF, FirstStart, local_user
from chimera.guards.permissions.policies import shipped_model
from chimera.guards.permissions.values import Entity, Uid
from chimera.guards.request import Edge, GuardRequest
from chimera.review.queue import ReviewQueue
from chimera.review.reviewers import SCRIPTED
from chimera.store.audit import AuditLog
from chimera.store.postgres import Pool, fetch, open_pool
from chimera.store.principals import PrincipalStore
from chimera.tools.capability import Capability

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NAMED = Settings.model_validate({"database_url": "postgresql://named"})


class House:
    """An installation's database, and what its processes have."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.clock = ManualClock(NOON)
        self.audit = AuditLog(pool, self.clock)
        self.here = self.process()

    def process(self, settings: Settings = NAMED) -> Oversight:
        return oversee(settings, self.pool, ReviewQueue(self.pool), self.audit, self.clock, random_ids())

    async def events(self, tenant: str = "default") -> list[tuple[str, str, dict[str, Any]]]:
        return [(event["kind"], event["actor"], event["data"]) for event in await self.audit.tail(tenant, 100)]

    async def names(self, tenant: str = "default") -> list[str]:
        return [one.name for one in await self.here.principals.listed(tenant)]


@pytest.fixture
async def pool(shared_database_url: str) -> AsyncGenerator[Pool]:
    """One database for all tests here, emptied for each."""
    async with open_pool(shared_database_url, 8) as opened:
        await fetch(opened, "ALTER TABLE audit_events DISABLE TRIGGER ALL")
        await fetch(opened, "TRUNCATE principals, audit_events, audit_heads, missions CASCADE")
        yield opened


@pytest.fixture
async def house(pool: Pool) -> House:
    """A house where olga is the operator, ron a reviewer, and sam a service."""
    house = House(pool)
    await house.here.enrolment.enrol("olga", "human", ["operator"], "olga")
    await house.here.enrolment.enrol("ron", "human", ["reviewer"], "olga")
    await house.here.enrolment.enrol("sam", "service", ["service"], "olga")
    return house


def question(tenant: str = "default") -> Entity:
    about = {"tenant": tenant, "point": "quality", "kind": "plan", "threat": "none", "amount": 0}
    return Entity(Uid("Review", "q"), about)


async def may_answer(process: Oversight, name: str, tenant: str = "default") -> str:
    """Empty when somebody may; else why not."""
    ruling = await process.people.may(name, "review.answer", question(tenant), tenant, answer="approve")
    return "" if ruling else ruling.reason


# --- enrolling and removing ------------------------------------------------------------------------------------------


async def test_who_is_enrolled_is_on_the_record_with_roles_and_by_whom(house: House) -> None:
    changed = await house.here.enrolment.enrol("ron", "human", ["reviewer", "auditor"], "olga")
    again = await house.here.enrolment.enrol("ron", "human", ["reviewer", "auditor"], "olga")
    assert (changed, again.roles) == (again, ("reviewer", "auditor"))
    gone = await house.here.enrolment.remove("ron", "olga", reason="left us")
    assert (gone.removed_by, gone.removed_at) == ("olga", NOON)
    ron = {"principal": "ron", "principal_kind": "human"}
    assert (await house.events())[1:] == [
        ("principal.enrolled", "olga", {**ron, "roles": ["reviewer"]}),
        ("principal.enrolled", "olga", {"principal": "sam", "principal_kind": "service", "roles": ["service"]}),
        ("principal.enrolled", "olga", {**ron, "roles": ["reviewer", "auditor"], "roles_before": ["reviewer"]}),
        ("principal.removed", "olga", {**ron, "roles": ["reviewer", "auditor"], "reason": "left us"}),
    ]
    assert await house.names() == ["olga", "sam"]
    assert await house.audit.verify() == 5
    back = await house.here.enrolment.enrol("ron", "human", ["reviewer"], "olga")
    assert back.enrolled
    assert await may_answer(house.here, "ron") == ""


async def test_the_first_one_of_a_tenant_is_a_human_operator_and_there_is_one_first(house: House) -> None:
    for kind, roles in (("human", ["reviewer"]), ("service", ["service"]), ("human", [])):
        with pytest.raises(InputError, match="operator"):
            await house.here.enrolment.enrol("ann", kind, roles, "ann", tenant="acme")  # pyright: ignore[reportArgumentType]
    enrolling = [
        house.process().enrolment.enrol(name, "human", ["operator"], name, tenant="acme") for name in ("ann", "eve")
    ]
    told = await asyncio.gather(*enrolling, return_exceptions=True)
    assert sorted(type(one).__name__ for one in told) in (
        ["ConflictError", "Principal"],
        ["GuardRejected", "Principal"],
    )
    assert len(await house.names("acme")) == 1


@pytest.mark.parametrize("by", ["ron", "sam", "nobody", "agent:a", SCRIPTED])
async def test_only_an_operator_enrols_and_removes(house: House, by: str) -> None:
    with pytest.raises(GuardRejected):
        await house.here.enrolment.enrol("eve", "human", ["reviewer"], by)
    with pytest.raises(GuardRejected):
        await house.here.enrolment.remove("ron", by)
    assert await house.names() == ["olga", "ron", "sam", *([SCRIPTED] if by == SCRIPTED else [])]
    refused = [(actor, data["action"]) for kind, actor, data in await house.events() if kind == "permission.refused"]
    assert refused == [(by, "principal.enrol"), (by, "principal.remove")]


async def test_nobody_changes_himself_and_an_operator_is_always_left(house: House) -> None:
    with pytest.raises(GuardRejected, match="not-of-oneself"):
        await house.here.enrolment.enrol("olga", "human", ["operator", "auditor"], "olga")
    await house.here.enrolment.enrol("otto", "human", ["operator"], "olga")
    await house.here.enrolment.remove("olga", "otto")
    with pytest.raises(GuardRejected, match="not enrolled"):
        await house.here.enrolment.remove("otto", "olga")
    await house.here.enrolment.enrol("olga", "human", ["operator"], "otto")
    both = (house.process().enrolment.remove("otto", "olga"), house.process().enrolment.remove("olga", "otto"))
    told = await asyncio.gather(*both, return_exceptions=True)
    assert [isinstance(one, Exception) for one in told].count(True) == 1, told
    (left,) = set(await house.names()) & {"olga", "otto"}
    with pytest.raises(ConflictError, match="nobody would be left"):
        # Not even with the permission: asked as somebody who may, from before.
        await _unasked(house, left)


async def _unasked(house: House, name: str) -> None:
    """Take the last operator's role away as an operator of another process that has just been removed."""
    other = house.process()

    async def yes(*_: Any, **__: Any) -> None:
        return None

    other.people.require = yes  # what no process of ours can do
    await other.enrolment.enrol(name, "human", ["reviewer"], "somebody")


NO_NAMES = ["", " ", " ada", "ada ", "a\u200bda", "ａda", "a\x00b", "\ud800", "agent:t/1/t1/1", "Pool:x", "x" * 201]


@pytest.mark.parametrize("name", NO_NAMES)
async def test_a_name_is_what_it_looks_like(house: House, name: str) -> None:
    with pytest.raises(InputError):
        await house.here.enrolment.enrol(name, "human", ["reviewer"], "olga")
    assert await house.names() == ["olga", "ron", "sam"]


async def test_no_kind_has_the_roles_of_another_and_no_name_becomes_somebody_else(house: House) -> None:
    """Proves FR-98."""
    for kind, role in (("human", "service"), ("service", "operator"), ("peer", "reviewer"), ("human", "worker")):
        with pytest.raises(InputError, match="never has the role"):
            await house.here.enrolment.enrol("eve", kind, [role], "olga")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConflictError):
        await house.here.enrolment.enrol("sam", "human", ["reviewer"], "olga")
    await house.here.enrolment.remove("sam", "olga")
    with pytest.raises(ConflictError):  # nor after it was removed
        await house.here.enrolment.enrol("sam", "human", ["reviewer"], "olga")


async def test_what_cannot_be_recorded_was_not_done(house: House) -> None:
    await fetch(house.pool, "ALTER TABLE audit_events RENAME TO away")
    with pytest.raises(StoreError):
        await house.here.enrolment.enrol("eve", "human", ["reviewer"], "olga")
    with pytest.raises(StoreError):
        await house.here.enrolment.remove("ron", "olga")
    await fetch(house.pool, "ALTER TABLE away RENAME TO audit_events")
    assert await house.names() == ["olga", "ron", "sam"]


# --- deciding --------------------------------------------------------------------------------------------------------


async def test_a_name_that_nobody_enrolled_or_that_was_removed_decides_nothing(house: House) -> None:
    """At once in every process, and the refusal says what helps in one line."""
    other = house.process()
    assert await may_answer(other, "ron") == ""
    await house.here.enrolment.remove("ron", "olga")
    assert [await may_answer(process, "ron") for process in (house.here, other)] == ["unknown-principal"] * 2
    for name in ("nobody", "Olga", "olga ", "", "a\x00", "\ud800"):
        assert await may_answer(other, name) == "unknown-principal"
    with pytest.raises(GuardRejected) as refused:
        await other.people.require("ro\nn", "review.answer", question(), "default", answer="approve")
    assert str(refused.value) == "CH500 'ro\\nn' is not enrolled and decides nothing"
    assert "chimera principal add" in refused.value.hint


async def test_a_tenant_is_a_house_of_its_own(house: House) -> None:
    """Proves FR-98: the operator of one decides nothing in another, and a name can be somebody else there."""
    await house.here.enrolment.enrol("ron", "human", ["operator"], "ron", tenant="acme")
    assert await may_answer(house.here, "olga", "acme") == "unknown-principal"
    assert await may_answer(house.here, "ron", "acme") == ""
    ruling = await house.here.people.may("ron", "review.answer", question("default"), "acme", answer="approve")
    assert ruling.policies == ("tenant.of-resource",)


async def test_a_database_that_fails_lets_nobody_decide(house: House, shared_database_url: str) -> None:
    async with open_pool(shared_database_url, 1) as closing:
        other = oversee(NAMED, closing, ReviewQueue(closing), AuditLog(closing, house.clock), house.clock, random_ids())
        assert await may_answer(other, "olga") == ""
    with pytest.raises(StoreError):
        await may_answer(other, "olga")


async def test_a_grant_of_a_human_counts_for_what_it_names(house: House) -> None:
    """Proves FR-100 for people: ron may release this one incident, until the hour is over."""
    from chimera.guards.permissions.granting import Granting
    from chimera.store.grants import GrantStore

    incident = Entity(Uid("Incident", "i1"), {"tenant": "default", "threat": "critical"})
    assert not await house.here.people.may("ron", "incident.release", incident, "default")
    grants = GrantStore(house.pool, house.audit, house.clock, random_ids())
    until = datetime(2026, 3, 2, 13, tzinfo=UTC)
    granting = Granting(house.here.people, grants, house.clock)
    await granting.give("ron", "incident.release", ("Incident", "i1"), until, "olga", "on call")
    assert await house.here.people.may("ron", "incident.release", incident, "default")
    house.clock.advance(3_600)
    assert not await house.here.people.may("ron", "incident.release", incident, "default")


# --- what a process remembers ----------------------------------------------------------------------------------------


async def test_what_was_looked_up_is_believed_for_a_second(house: House) -> None:
    """Proves TR-108: a service that was removed elsewhere calls no tool a second later, and one that came may."""
    other = house.process()
    tool = Capability(name="files__read", server="files", tool="read", input_schema={}, read_only=True)

    async def may_call(name: str) -> bool:
        notes = {"budget_left": 1, "threat": "none"}
        asked = GuardRequest(
            Edge.TOOL_CALL, {}, mission=Mission(goal="g"), capability=tool, agent_id=name, role="service", notes=notes
        )
        return await other.permitted.check(asked) is None

    assert await may_call("sam")
    assert not await may_call("tom")
    await house.here.enrolment.remove("sam", "olga")
    await house.here.enrolment.enrol("tom", "service", ["service"], "olga")
    house.clock.advance(FRESH_S)
    assert not await may_call("sam")
    assert await may_call("tom")
    assert not await may_call("ron")  # a human calls no tool


def test_the_memory_of_a_directory_is_bounded() -> None:
    """Proves TR-108: whoever was looked up longest ago gives way, and what is old is not believed."""
    clock = ManualClock(NOON)
    directory = Directory(shipped_model(), clock, people_kept=3)
    somebody = Entity(Uid("Human", "x"), {"tenant": "t"})
    for number in range(5):
        directory.read("t", f"n{number}", somebody)
    assert [directory.has_read("t", f"n{number}") for number in range(5)] == [False, False, True, True, True]
    assert directory.person("other", "n4") is None
    clock.advance(FRESH_S)
    assert directory.person("t", "n4") is None


# --- the first start -------------------------------------------------------------------------------------------------

EMBEDDED = Settings.model_validate({})


async def test_the_local_user_and_the_script_are_there_from_the_first_start(pool: Pool) -> None:
    """Once, whoever starts first, on the record; what was removed does not come back; other tenants likewise."""
    house = House(pool)
    mine = [house.process(EMBEDDED) for _ in range(3)]
    made = await asyncio.gather(*(one.first.enrol() for one in mine))
    assert sorted(len(one) for one in made) == [0, 0, 2]
    assert await house.names() == sorted([SCRIPTED, local_user()])
    events = await house.events()
    assert [(kind, actor, data["by_itself"]) for kind, actor, data in events] == [
        ("principal.enrolled", ITSELF, True)
    ] * 2
    assert await may_answer(mine[0], local_user()) == ""
    assert await may_answer(mine[0], SCRIPTED) == ""
    assert await may_answer(mine[0], local_user(), "acme") == ""
    await mine[0].enrolment.remove(SCRIPTED, local_user())
    await mine[0].enrolment.enrol("otto", "human", ["operator"], local_user())
    await mine[0].enrolment.remove(local_user(), "otto")
    assert await mine[1].first.enrol() == []
    assert await may_answer(mine[1], local_user()) == "unknown-principal"
    assert await may_answer(mine[1], SCRIPTED) == "unknown-principal"


async def test_where_there_may_be_many_users_nobody_is_an_operator_by_himself(pool: Pool) -> None:
    house = House(pool)
    assert FirstStart.of(NAMED) is None
    assert await may_answer(house.here, local_user()) == "unknown-principal"
    assert await house.names() == []
    assert await may_answer(house.here, SCRIPTED) == ""
    assert await house.names() == [SCRIPTED]
    (script,) = await house.here.principals.listed("default")
    assert (script.kind, script.roles) == ("service", ("stand-in",))


# --- the commands ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def of_commands(
    pool: Pool, shared_database_url: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> PrincipalStore:
    monkeypatch.setenv("CHIMERA_DATABASE_URL", shared_database_url)
    monkeypatch.setenv("CHIMERA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    return PrincipalStore(pool)


Run = Callable[..., Any]


async def chimera(*words: str) -> tuple[int, str]:
    done = await asyncio.to_thread(CliRunner().invoke, app, ["principal", *words])
    return done.exit_code, done.output


async def test_the_commands_enrol_list_show_and_remove(of_commands: PrincipalStore) -> None:
    assert "add NAME --role operator" in (await chimera("ls"))[1]
    code, shown = await chimera("add", "ron", "--role", "reviewer")
    assert (code, "CH100" in shown) == (2, True)
    assert (await chimera("add", "olga", "--role", "operator"))[0] == 0
    code, shown = await chimera("add", "ron", "--role", "reviewer", "--role", "auditor", "--by", "olga", "--json")
    assert (code, json.loads(shown)["roles"]) == (0, ["reviewer", "auditor"])
    code, shown = await chimera("add", "eve", "--role", "operator", "--by", "ron", "--json")
    assert (code, json.loads(shown)["error"]["code"]) == (6, "CH500")
    code, shown = await chimera("add", "eve", "--role", "boss", "--by", "olga", "--json")
    assert "security-officer" in json.loads(shown)["error"]["remedy"]
    assert (await chimera("add", "p", "--kind", "peer", "--role", "peer", "--reputation", "40", "--by", "olga"))[0] == 0
    assert "reviewer, auditor" in (await chimera("ls"))[1]
    assert json.loads((await chimera("show", "ron", "--json"))[1])["enrolled_by"] == "olga"
    assert (await chimera("show", "nobody"))[0] == 2
    assert (await chimera("remove", "ron", "--by", "olga", "--reason", "left"))[0] == 0
    assert [one["name"] for one in json.loads((await chimera("ls", "--json"))[1])["principals"]] == ["olga", "p"]
    assert "removed" in (await chimera("ls", "--all"))[1]
    assert (await chimera("remove", "ron", "--by", "olga"))[0] == 2


async def test_the_doctor_says_who_decides(house: House, shared_database_url: str) -> None:
    """Proves FR-185: the local user of an embedded installation, or that nobody does and what helps."""

    async def told(settings: Settings) -> tuple[str, str, str]:
        (found,) = [one async for one in checks._postgres(shared_database_url, settings) if one.name == "people"]  # pyright: ignore[reportPrivateUsage]
        return found.state, found.detail, found.remedy

    state, detail, _ = await told(NAMED)
    assert (state, detail) == ("ok", "olga (operator), ron (reviewer) decide")
    await fetch(house.pool, "TRUNCATE principals CASCADE")
    state, _, remedy = await told(NAMED)
    assert (state, "chimera principal add NAME --role operator" in remedy) == ("note", True)
    state, detail, _ = await told(EMBEDDED)
    assert (state, f"enrols you, {local_user()}, as operator" in detail) == ("note", True)
    await house.process(EMBEDDED).first.enrol()
    state, detail, _ = await told(EMBEDDED)
    assert (state, detail.startswith(f"{local_user()} (operator) decides")) == ("ok", True)
    assert "by itself" in detail
