"""Permissions for a time, in the database and through the guard.

Proves FR-100: given by those who may, for what can be given, on the record, over at its time, and taken back everywhere
at once. Proves FR-101: the guard of tool calls asks role, grant, budget and threat, and passes nothing it cannot know.
"""

import uuid
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chimera.core.clock import ManualClock
from chimera.core.contracts import Mission, Threat
from chimera.core.errors import GuardRejected, InputError
from chimera.core.ids import random_ids
from chimera.guards.permissions.authorizer import Authorizer
from chimera.guards.permissions.directory import Directory, Kind
from chimera.guards.permissions.first import FirstStart
from chimera.guards.permissions.granting import Granting
from chimera.guards.permissions.people import People
from chimera.guards.permissions.permitted import Permitted
from chimera.guards.permissions.policies import shipped_model, shipped_policies
from chimera.guards.request import Edge, GuardRequest
from chimera.store.audit import AuditLog
from chimera.store.grants import Grant, GrantStore
from chimera.store.postgres import Pool, open_pool
from chimera.store.principals import PrincipalStore
from chimera.tools.capability import Capability

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TOOL = ("Capability", "files__write")
JUDGE, WORKER, OPERATOR = "agent:a/0/t1/1", "agent:a/0/t2/1", "olga"


class Place:
    """The parts of one process on a database."""

    def __init__(self, pool: Pool, clock: ManualClock, tenant: str) -> None:
        self.pool, self.clock, self.tenant = pool, clock, tenant
        self.directory = Directory(shipped_model())
        self.directory.enroll(Kind.AGENT, JUDGE, ["judge"], tenant=tenant)
        self.directory.enroll(Kind.AGENT, WORKER, ["worker"], tenant=tenant)
        self.directory.enroll(Kind.HUMAN, OPERATOR, ["operator"], tenant=tenant)
        self.directory.enroll(Kind.HUMAN, "rita", ["reviewer"], tenant=tenant)
        self.authorizer = Authorizer(shipped_policies(), self.directory, clock)
        self.audit = AuditLog(pool, clock)
        self.store = GrantStore(pool, self.audit, clock, random_ids())
        principals = PrincipalStore(pool)
        first = FirstStart(principals, self.audit, clock, None)
        self.people = People(self.authorizer, principals, self.store, self.audit, clock, first)
        self.granting = Granting(self.people, self.store, clock)
        self.guard = Permitted(self.authorizer, self.store, clock, people=self.people)

    async def give(self, *given: Any) -> Grant:
        """A grant in this tenant."""
        return await self.granting.give(*given, tenant=self.tenant)

    async def call(self, agent: str, *, role: str = "", read_only: bool = False, **fields: Any) -> str:
        """Why a call is not permitted; empty when it is."""
        name = fields.pop("tool", TOOL[1])
        server, _, tool = name.partition("__")
        capability = Capability(name=name, server=server, tool=tool, input_schema={}, read_only=read_only)
        notes: dict[str, Any] = {"budget_left": 100, "threat": "none", **fields.pop("notes", {})}
        request = GuardRequest(
            edge=Edge.TOOL_CALL,
            payload={},
            mission=Mission(goal="x", tenant=fields.pop("tenant", self.tenant)),
            capability=capability,
            agent_id=agent,
            role=role,
            notes=notes,
        )
        decision = await self.guard.check(request)
        if decision is None:
            return ""
        assert (decision.action, decision.rules) == ("reject", ["permission.role"])
        return decision.reasons[0].partition("not permitted: ")[2] or decision.reasons[0]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
async def place(shared_database_url: str, clock: ManualClock) -> AsyncGenerator[Place]:
    """A process with a tenant of its own: the tests of this file share a database."""
    async with open_pool(shared_database_url, 4) as pool:
        yield Place(pool, clock, f"tenant-{uuid.uuid4().hex[:8]}")


async def test_a_grant_opens_one_door_for_its_time(place: Place, clock: ManualClock) -> None:
    """Proves FR-100 and FR-101."""
    assert await place.call(JUDGE) == "no-policy"
    given = await place.give(JUDGE, "tool.effect", TOOL, NOON + HOUR, OPERATOR, "cleans up")
    assert await place.call(JUDGE) == ""
    assert await place.call(JUDGE, read_only=True) == "no-policy"
    assert await place.call(JUDGE, tool="files__delete") == "no-policy"
    assert await place.store.active(place.tenant) == [given]
    clock.advance(3_600)
    assert await place.call(JUDGE) == "grant-expired"
    assert await place.store.active(place.tenant) == []


async def test_what_was_taken_back_counts_nowhere(place: Place, clock: ManualClock) -> None:
    """Proves FR-100: also in a process that used it a moment before."""
    other = Place(place.pool, clock, place.tenant)
    given = await place.give(JUDGE, "tool.effect", TOOL, NOON + HOUR, OPERATOR, "cleans up")
    assert await other.call(JUDGE) == ""
    gone = await place.granting.take_back(given, OPERATOR, "done early")
    assert (gone.revoked_at, gone.revoked_by) == (NOON, OPERATOR)
    assert await other.call(JUDGE) == "grant-revoked"
    clock.advance(60)
    assert (await place.granting.take_back(given, OPERATOR)).revoked_at == NOON
    again = await place.give(JUDGE, "tool.effect", TOOL, NOON + HOUR, OPERATOR, "once more")
    assert await other.call(JUDGE) == ""
    assert [event["kind"] for event in await place.audit.tail(place.tenant, 9)] == [
        "permission.granted",
        "permission.revoked",
        "permission.revoked",
        "permission.granted",
    ]
    last = (await place.audit.tail(place.tenant, 1))[0]
    assert last["actor"] == OPERATOR
    assert last["data"] == {
        "grant": again.id,
        "principal": JUDGE,
        "action": "tool.effect",
        "resource_type": "Capability",
        "resource": "files__write",
        "until": (NOON + HOUR).isoformat(),
        "reason": "once more",
    }
    assert await place.audit.verify(place.tenant) == 4


@pytest.mark.parametrize("by", ["rita", JUDGE, WORKER, "nobody"])
async def test_who_may_not_grant_gives_nothing(place: Place, by: str) -> None:
    """Proves FR-100: an agent, a reviewer and a stranger; nothing is written, and nothing taken back."""
    with pytest.raises(GuardRejected):
        await place.give(JUDGE, "tool.effect", TOOL, NOON + HOUR, by, "please")
    given = await place.give(JUDGE, "tool.effect", TOOL, NOON + HOUR, OPERATOR, "cleans up")
    with pytest.raises(GuardRejected):
        await place.granting.take_back(given, by)
    assert await place.store.active(place.tenant) == [given]


async def test_nobody_grants_to_oneself_or_to_another_tenant(place: Place) -> None:
    """Proves FR-100."""
    place.directory.enroll(Kind.AGENT, "foreign", ["judge"], tenant="globex")
    for principal, action, resource in (
        (OPERATOR, "review.answer", ("Review", "q")),
        ("foreign", "tool.effect", TOOL),
    ):
        with pytest.raises(GuardRejected):
            await place.give(principal, action, resource, NOON + HOUR, OPERATOR, "mine")


@pytest.mark.parametrize(
    ("principal", "action", "resource", "after"),
    [
        (JUDGE, "review.answer", ("Review", "q"), HOUR),
        (JUDGE, "policy.approve", ("Policy", "p"), HOUR),
        (JUDGE, "permission.grant", ("Agent", WORKER), HOUR),
        (JUDGE, "tool.effect", ("Payment", "p"), HOUR),
        (JUDGE, "rule.world", TOOL, HOUR),
        ("nobody", "tool.effect", TOOL, HOUR),
        (JUDGE, "tool.effect", TOOL, timedelta(0)),
        (JUDGE, "tool.effect", TOOL, -HOUR),
        (JUDGE, "tool.effect", TOOL, 24 * HOUR + timedelta(seconds=1)),
    ],
)
async def test_what_nobody_can_be_given(
    place: Place, principal: str, action: str, resource: tuple[str, str], after: timedelta
) -> None:
    """Proves FR-98 and FR-100: what its kind never does, what is over already, and what would last too long."""
    with pytest.raises(InputError):
        await place.give(principal, action, resource, NOON + after, OPERATOR, "please")
    assert await place.store.active(place.tenant) == []


async def test_a_grant_says_who_what_and_why(place: Place) -> None:
    """Proves FR-100: texts that the record could not hold as they are would be another grant."""
    for reason in ("", " ", "a\x00b", "\ud800"):
        with pytest.raises(InputError):
            await place.give(JUDGE, "tool.effect", TOOL, NOON + HOUR, OPERATOR, reason)
    assert await place.store.held("a\x00", "tool.effect", TOOL, "default") == []
    with pytest.raises(InputError):
        await place.store.revoke("no id", OPERATOR)


async def test_the_guard_knows_before_it_permits(place: Place) -> None:
    """Proves FR-101: role, budget, threat and tenant; what is not known rejects, and so does a forged role."""
    assert await place.call(WORKER, role="worker") == ""
    assert await place.call(JUDGE, role="worker") == "forged-role"
    assert await place.call("agent:a/0/t2/2") == "unknown-principal"
    assert await place.call("") == "unknown-principal"
    assert await place.call(WORKER, tenant="globex") == "forbidden (tenant.of-mission)"
    assert await place.call(WORKER, notes={"budget_left": 0}) == "forbidden (budget.used-up)"
    assert await place.call(WORKER, notes={"threat": Threat.HIGH}) == "forbidden (threat.no-effects)"
    assert await place.call(WORKER, notes={"threat": "high"}, read_only=True) == ""
    for notes in (
        {"budget_left": None},
        {"budget_left": "9"},
        {"budget_left": True},
        {"threat": None},
        {"threat": "mild"},
    ):
        assert (await place.call(WORKER, notes=notes)).startswith("nothing says")
    nothing = await place.guard.check(GuardRequest(edge=Edge.TOOL_CALL, payload={}, agent_id=WORKER))
    assert nothing is not None
    assert not nothing
