"""Who may do what, as Chimera is installed: every role, every limit, and every way to pretend.

Proves FR-96, FR-98 and FR-99: the shipped policies permit what they name and nothing else; roles come from the
directory, and each kind of principal has its own; a denial names its reason, and no grant lifts one by a forbid.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chimera.core.clock import ManualClock
from chimera.core.errors import ConflictError, InputError, PolicyInvalid
from chimera.guards.permissions.authorizer import Authorizer
from chimera.guards.permissions.directory import Directory, Kind
from chimera.guards.permissions.policies import shipped_model, shipped_policies
from chimera.guards.permissions.ruling import Ruling
from chimera.guards.permissions.values import Entity, Uid
from chimera.store.grants import Grant

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TOOL = Entity(Uid("Capability", "files__write"), {"read_only": False, "destructive": False, "server": "files"})
PAYMENT = Entity(Uid("Payment", "p1"), {"tenant": "acme", "proposer": Uid("Agent", "ann"), "amount": 50})
CHANNEL = Entity(Uid("Channel", "blog"), {"tenant": "acme"})
QUESTION = {"tenant": "acme", "point": "finance", "kind": "plan", "threat": "none", "amount": 0}
REVIEW = Entity(Uid("Review", "q1"), QUESTION)
POLICY = Entity(Uid("Policy", "p"), {"tenant": "acme", "proposer": Uid("Human", "pia")})
INCIDENT = Entity(Uid("Incident", "i"), {"tenant": "acme", "threat": "critical"})
TENANT = Entity(Uid("Tenant", "acme"), {"tenant": "acme"})
POOL = Entity(Uid("Pool", "writers"), {"tenant": "acme"})
SOMEBODY = Entity(Uid("Human", "somebody"), {"tenant": "acme"})
RESOURCES = [TOOL, PAYMENT, CHANNEL, REVIEW, POLICY, INCIDENT, POOL, TENANT, SOMEBODY]
OF_CALLS = {"budget_left": 10, "approved": True, "limit": 100}
BASE = {"tenant": "acme", "hour": 12, "threat": "none", **OF_CALLS, "answer": "approve", "four_eyes": False}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


@pytest.fixture
def authorizer(clock: ManualClock) -> Authorizer:
    directory = Directory(shipped_model())
    for role in shipped_model().roles("Agent"):
        directory.enroll(Kind.AGENT, role, [role], tenant="acme", pool="writers")
    for role in shipped_model().roles("Human"):
        directory.enroll(Kind.HUMAN, role, [role], tenant="acme")
    directory.enroll(Kind.AGENT, "ann", ["cfo", "worker"], tenant="acme")
    directory.enroll(Kind.AGENT, "shady", ["worker"], tenant="acme", reputation=10)
    directory.enroll(Kind.SERVICE, "scheduler", ["service"], tenant="acme")
    directory.enroll(Kind.SERVICE, "script", ["stand-in"], tenant="acme")
    directory.enroll(Kind.SERVICE, "rehearsal", ["rehearsal"], tenant="acme")
    directory.enroll(Kind.PEER, "peer", ["peer"], tenant="acme")
    directory.enroll(Kind.PEER, "stranger", ["peer"], tenant="acme", reputation=29)
    return Authorizer(shipped_policies(), directory, clock)


Ask = Callable[..., Ruling]


@pytest.fixture
def ask(authorizer: Authorizer) -> Ask:
    def asked(who: str, action: str, resource: Entity, *grants: Grant, role: str = "", **context: Any) -> Ruling:
        return authorizer.allowed(who, action, resource, {**BASE, **context}, claimed_role=role, grants=grants)

    return asked


def grant(principal: str, action: str, resource: Entity, **fields: Any) -> Grant:
    times = {"granted_at": NOON, "expires_at": NOON + timedelta(hours=1)}
    made: dict[str, Any] = {
        "id": "g1",
        "tenant": "acme",
        "reason": "needed",
        "granted_by": "operator",
        **times,
        **fields,
    }
    return Grant(
        principal=principal, action=action, resource_type=resource.uid.type, resource_id=resource.uid.id, **made
    )


# --- what the roles may ----------------------------------------------------------------------------------------------

OF_PEOPLE = [
    ("review.answer", REVIEW),
    ("payment.approve", PAYMENT),
    ("policy.approve", POLICY),
    ("policy.reject", POLICY),
    ("incident.release", INCIDENT),
    ("principal.enrol", SOMEBODY),
    ("principal.remove", SOMEBODY),
    ("permission.grant", SOMEBODY),
    ("ledger.govern", TENANT),
    ("audit.export", TENANT),
    ("tools.change", TENANT),
    ("principal.key", SOMEBODY),
    ("guidance.change", TENANT),
    ("principal.read", TENANT),
]
MAY = {
    ("worker", "tool.call", TOOL),
    ("worker", "tool.effect", TOOL),
    ("worker", "publish", CHANNEL),
    ("worker", "payment.propose", PAYMENT),
    ("planner", "payment.propose", PAYMENT),
    ("cfo", "payment.approve", PAYMENT),
    *(("operator", action, resource) for action, resource in OF_PEOPLE),
    ("reviewer", "review.answer", REVIEW),
    ("reviewer", "payment.approve", PAYMENT),
    ("reviewer", "guidance.change", TENANT),
    *(("security-officer", *one) for one in OF_PEOPLE if one[0].startswith(("policy.", "incident."))),
    ("auditor", "audit.export", TENANT),
    *((who, "principal.read", TENANT) for who in ("security-officer", "auditor")),
    *((who, "policy.propose", POLICY) for who in ("operator", "reviewer", "security-officer", "auditor")),
    *((who, "review.read", REVIEW) for who in ("operator", "reviewer", "security-officer", "auditor", "scheduler")),
    *((who, "tools.search", TENANT) for who in ("operator", "reviewer", "security-officer", "auditor", "scheduler")),
    ("script", "review.answer", REVIEW),
    ("rehearsal", "review.answer", REVIEW),
    ("scheduler", "tool.call", TOOL),
    *((who, "agent.message", POOL) for who in ("worker", "planner", "orchestrator", "judge", "cfo")),
    *((who, "agent.message", POOL) for who in ("peer", "scheduler")),
}
AGENTS = ["worker", "planner", "orchestrator", "judge", "cfo"]
PEOPLE = ["reviewer", "security-officer", "auditor", "operator"]
WHO = [*AGENTS, *PEOPLE, "scheduler", "script", "rehearsal", "peer", "nobody"]
ACTIONS = [uid.id for uid in shipped_model().actions if not uid.id.startswith("mission.")]


@pytest.mark.parametrize("who", WHO)
def test_a_role_may_do_what_is_written_and_nothing_else(ask: Ask, who: str) -> None:
    """Proves FR-96: the whole matrix of roles, actions and kinds of resources, everything but the list denied."""
    for action in [*ACTIONS, "unheard.of"]:
        for resource in RESOURCES:
            assert bool(ask(who, action, resource)) is ((who, action, resource) in MAY), (who, action, resource)


@pytest.mark.parametrize("role", PEOPLE)
@pytest.mark.parametrize("tenant", ["default", "acme"])
def test_only_operators_of_the_first_tenant_begin_others(clock: ManualClock, role: str, tenant: str) -> None:
    """Proves FR-762: of the roles, and of the tenants."""
    directory = Directory(shipped_model())
    directory.enroll(Kind.HUMAN, "somebody", [role], tenant=tenant)
    about = Entity(Uid("Tenant", tenant), {"tenant": tenant})
    ruling = Authorizer(shipped_policies(), directory, clock).allowed(
        "somebody", "tenant.manage", about, {**BASE, "tenant": tenant}
    )
    assert bool(ruling) is ((role, tenant) == ("operator", "default"))


OPERATOR = Entity(Uid("Human", "operator"), {"tenant": "acme"}, [Uid("HumanRole", "operator")])


def of_proposer(name: str | None) -> Entity:
    """A policy that somebody put forward, or a process that found its file."""
    return Entity(
        Uid("Policy", "p"), {"tenant": "acme", **({"proposer": Uid("Human", name)} if name is not None else {})}
    )


def about(**fields: Any) -> Entity:
    """A question of a mission."""
    return Entity(Uid("Review", "q1"), {**QUESTION, **fields})


LIMITS: list[tuple[str, str, str, Entity, dict[str, Any]]] = [
    ("budget.used-up", "worker", "tool.call", TOOL, {"budget_left": 0}),
    ("threat.no-effects", "worker", "tool.effect", TOOL, {"threat": "high"}),
    ("threat.nothing", "worker", "tool.call", TOOL, {"threat": "critical"}),
    ("threat.known", "worker", "tool.call", TOOL, {"threat": "HIGH"}),
    ("reputation.no-effects", "shady", "tool.effect", TOOL, {}),
    ("tenant.of-mission", "worker", "tool.call", TOOL, {"tenant": "globex"}),
    ("tenant.of-resource", "operator", "policy.reject", Entity(Uid("Policy", "p"), {"tenant": "globex"}), {}),
    ("policy.four-eyes", "operator", "policy.approve", of_proposer("operator"), {"four_eyes": True}),
    ("policy.four-eyes", "operator", "policy.approve", of_proposer(None), {"four_eyes": True}),
    ("enrolment.not-of-oneself", "operator", "principal.enrol", OPERATOR, {}),
    ("enrolment.not-of-oneself", "operator", "principal.remove", OPERATOR, {}),
    ("grant.not-to-oneself", "operator", "permission.grant", OPERATOR, {}),
    ("payment.four-eyes", "ann", "payment.approve", PAYMENT, {}),
    ("payment.by-day", "cfo", "payment.approve", PAYMENT, {"hour": 22}),
    ("payment.by-day", "cfo", "payment.approve", PAYMENT, {"hour": 5}),
]


@pytest.mark.parametrize(("policy", "who", "action", "resource", "context"), LIMITS)
def test_what_is_forbidden_no_role_and_no_grant_allows(
    ask: Ask, policy: str, who: str, action: str, resource: Entity, context: dict[str, Any]
) -> None:
    """Proves FR-98 and FR-99: budget, threat, reputation, tenant and time, and a grant does not get past them."""
    for grants in ((), (grant(who, action, resource),)):
        ruling = ask(who, action, resource, *grants, **context)
        assert not ruling
        assert ruling.reason == "forbidden"
        assert policy in ruling.policies


NOT_PERMITTED: list[tuple[str, str, Entity, dict[str, Any]]] = [
    ("worker", "publish", CHANNEL, {"approved": False}),
    ("cfo", "payment.approve", PAYMENT, {"limit": 49}),
    ("stranger", "agent.message", POOL, {}),
    ("reviewer", "review.answer", about(threat="high"), {}),
    ("reviewer", "review.answer", about(threat="critical"), {}),
    ("reviewer", "review.answer", about(amount=100_000_001), {}),
    ("security-officer", "review.answer", about(point="quality"), {}),
    ("script", "review.answer", about(kind="call"), {}),
    ("script", "review.answer", about(kind="other"), {}),
]
PERMITTED: list[tuple[str, str, Entity, dict[str, Any]]] = [
    ("reviewer", "review.answer", about(threat="medium", amount=100_000_000, kind="call"), {}),
    ("security-officer", "review.answer", about(point="security", threat="critical", kind="call"), {}),
    ("operator", "review.answer", about(threat="critical", amount=2**62), {}),
    ("script", "review.answer", about(kind="call"), {"answer": "reject"}),
    ("script", "review.answer", about(kind="result"), {"answer": "edit"}),
    ("rehearsal", "review.answer", about(kind="call", threat="high"), {}),
    ("operator", "policy.approve", of_proposer("pia"), {"four_eyes": True}),
    ("operator", "policy.approve", of_proposer("operator"), {"four_eyes": False}),
    ("operator", "policy.reject", of_proposer("operator"), {"four_eyes": True}),
]


@pytest.mark.parametrize(("who", "action", "resource", "context"), PERMITTED)
def test_a_permit_reaches_as_far_as_its_condition(
    ask: Ask, who: str, action: str, resource: Entity, context: dict[str, Any]
) -> None:
    """Proves FR-187 and FR-188: by kind, threat and amount of a question, and whoever put a policy forward."""
    assert ask(who, action, resource, **context)


@pytest.mark.parametrize(("who", "action", "resource", "context"), NOT_PERMITTED)
def test_a_permit_ends_where_its_condition_ends(
    ask: Ask, who: str, action: str, resource: Entity, context: dict[str, Any]
) -> None:
    """Proves FR-98 and FR-187: what was not approved, what is above the limit, and who is not trusted enough."""
    assert ask(who, action, resource, **context).reason == "no-policy"


# --- who pretends ----------------------------------------------------------------------------------------------------


def test_an_unknown_principal_may_nothing(ask: Ask) -> None:
    """Proves FR-99."""
    assert ask("nobody", "tool.call", TOOL).reason == "unknown-principal"
    assert ask("", "tool.call", TOOL).reason == "unknown-principal"


def test_a_forged_role_gives_nothing_and_is_named(ask: Ask, authorizer: Authorizer) -> None:
    """Proves FR-99: by what the request says, by its context, and by what looks like a role of another kind."""
    assert ask("planner", "tool.effect", TOOL, role="worker").reason == "forged-role"
    assert ask("operator", "review.answer", REVIEW, role="reviewer").reason == "forged-role"
    assert ask("worker", "tool.effect", TOOL, role="worker")
    forged = {"role": "worker", "roles": ["worker"], "principal": Uid("AgentRole", "worker")}
    assert authorizer.allowed("planner", "tool.effect", TOOL, {**BASE, **forged}).reason == "no-policy"


def test_a_principal_that_was_withdrawn_may_nothing(authorizer: Authorizer, ask: Ask) -> None:
    """Proves FR-99, for the end of an agent, also of one that ended with an error."""

    def work() -> None:
        with authorizer.directory.enrolled(Kind.AGENT, "agent:t/1/t1/1", ["worker"], tenant="acme"):
            assert ask("agent:t/1/t1/1", "tool.call", TOOL)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert ask("agent:t/1/t1/1", "tool.call", TOOL).reason == "unknown-principal"


@pytest.mark.parametrize(
    ("kind", "role"),
    [
        (Kind.AGENT, "reviewer"),
        (Kind.AGENT, "operator"),
        (Kind.AGENT, "service"),
        (Kind.HUMAN, "worker"),
        (Kind.HUMAN, "cfo"),
        (Kind.SERVICE, "operator"),
        (Kind.PEER, "worker"),
        (Kind.AGENT, "*"),
        (Kind.AGENT, ""),
        (Kind.AGENT, "Worker"),
    ],
)
def test_no_principal_takes_a_role_of_another_kind(kind: Kind, role: str) -> None:
    """Proves FR-98: the directory refuses it, and so does the schema that Cedar checks, whoever writes the entity."""
    with pytest.raises(InputError):
        Directory(shipped_model()).enroll(kind, "x", [role])
    for owner in (f"{kind}Role", "AgentRole", "HumanRole", "ServiceRole", "PeerRole"):
        if role not in shipped_model().roles(owner.removesuffix("Role")) or owner != f"{kind}Role":
            attributes = {"tenant": "t", **({"reputation": 1} if kind in ("Agent", "Peer") else {})}
            with pytest.raises(InputError):
                shipped_model().check(Entity(Uid(kind, "x"), attributes, [Uid(owner, role)]))


def test_a_principal_never_becomes_another_one(authorizer: Authorizer) -> None:
    """Proves FR-98: neither its kind nor its tenant changes; its roles and reputation do, at once."""
    directory = authorizer.directory
    for kind, tenant in ((Kind.HUMAN, "acme"), (Kind.AGENT, "globex")):
        with pytest.raises(ConflictError):
            directory.enroll(kind, "worker", [], tenant=tenant)
    directory.enroll(Kind.AGENT, "worker", ["judge"], tenant="acme")
    assert authorizer.allowed("worker", "tool.call", TOOL, BASE).reason == "no-policy"


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["worker:", "worker:*", ":worker", "*", "work", "worker/*", "Worker", "worker ", "wörker"]
)
def test_names_of_principals_are_no_patterns(ask: Ask, name: str) -> None:
    """Proves FR-99: a principal is its whole name."""
    assert ask(name, "tool.call", TOOL).reason == "unknown-principal"


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        ("mcp:tool3/:x", "mcp:tool4/a"),
        ("mcp:tool3/*", "mcp:tool3/a"),
        ("*", "files__write"),
        ("files__*", "files__write"),
        ("files__write", "files__write2"),
        ("files__write", "FILES__write"),
        ("files__write", "files__write "),
        ("", "files__write"),
    ],
)
def test_names_of_resources_are_no_patterns(authorizer: Authorizer, allowed: str, asked: str) -> None:
    """Proves FR-99: what is permitted or granted for one name is so for no other, whatever letters are in it."""
    text = f'@id("one") permit(principal, action == Action::"tool.call", resource == Capability::"{allowed}");'
    other = Entity(Uid("Capability", asked), TOOL.attributes)
    given = grant("judge", "tool.call", Entity(Uid("Capability", allowed)))
    assert not authorizer.allowed("judge", "tool.call", other, BASE, grants=[given])
    authorizer.reload(text)
    assert authorizer.allowed("judge", "tool.call", Entity(Uid("Capability", allowed), TOOL.attributes), BASE)
    assert not authorizer.allowed("judge", "tool.call", other, BASE)


# --- grants ----------------------------------------------------------------------------------------------------------


def test_a_grant_gives_what_it_names_until_it_ends(ask: Ask, clock: ManualClock) -> None:
    """Proves FR-100: to the second, by the injected clock."""
    given = grant("judge", "tool.effect", TOOL)
    ruling = ask("judge", "tool.effect", TOOL, given)
    assert ruling
    assert ruling.grant == "g1"
    clock.advance(3_599)
    assert ask("judge", "tool.effect", TOOL, given)
    clock.advance(1)
    assert ask("judge", "tool.effect", TOOL, given).reason == "grant-expired"


def test_a_grant_gives_nothing_else(ask: Ask) -> None:
    """Proves FR-100: not to another principal, for another action or resource, and not after it was taken back."""
    given = grant("judge", "tool.effect", TOOL)
    assert ask("planner", "tool.effect", TOOL, given).reason == "no-policy"
    assert ask("judge", "tool.call", TOOL, given).reason == "no-policy"
    assert ask("judge", "agent.message", POOL, grant("judge", "tool.effect", POOL))
    assert (
        ask("judge", "tool.effect", TOOL, grant("judge", "tool.effect", TOOL, revoked_at=NOON)).reason
        == "grant-revoked"
    )
    early = grant("judge", "tool.effect", TOOL, granted_at=NOON + timedelta(seconds=1))
    assert not ask("judge", "tool.effect", TOOL, early)


def test_a_grant_gives_no_kind_what_it_can_never_do(ask: Ask) -> None:
    """Proves FR-98 and FR-100: no grant makes an agent decide what humans decide."""
    for action, resource in (("review.answer", REVIEW), ("policy.approve", POLICY), ("incident.release", INCIDENT)):
        assert ask("worker", action, resource, grant("worker", action, resource)).reason == "not-for-this-kind"
    assert ask("worker", "rule.world", TOOL, grant("worker", "rule.world", TOOL)).reason == "unknown-action"


# --- what cannot be answered -----------------------------------------------------------------------------------------


def test_a_policy_without_a_value_denies(ask: Ask, authorizer: Authorizer) -> None:
    """Proves FR-97: Cedar would skip a forbid that cannot be evaluated; here nothing is allowed without it."""
    context = {key: value for key, value in BASE.items() if key != "budget_left"}
    grants = [grant("worker", "tool.call", TOOL)]
    ruling = authorizer.allowed("worker", "tool.call", TOOL, context, grants=grants)
    assert (ruling.allowed, ruling.reason, ruling.faulty) == (False, "policy-without-value", ("budget.used-up",))
    assert ask("worker", "tool.call", TOOL, budget_left="10", threat=3).reason == "policy-without-value"


@pytest.mark.parametrize("value", [None, 0.5, 2**63, "\ud800", [None], {"__entity": {}}, b"1"], ids=repr)
def test_a_value_that_no_policy_can_read_denies(ask: Ask, value: Any) -> None:
    """Proves FR-97."""
    assert (
        ask("worker", "tool.call", TOOL, grant("worker", "tool.call", TOOL), odd=value).reason == "unreadable-request"
    )


# --- changing the policies -------------------------------------------------------------------------------------------

WRONG = [
    (2, "permit(principal,\naction resource);", "unexpected token `resource`"),
    (3, '@id("a") permit(principal,\naction, resource)\nwhen { context.bugdet > 0 };', "attribute `bugdet`"),
    (2, '@id("a") permit(principal,\naction == Action::"tool.cal", resource);', "tool.cal"),
    (3, '// roles\n@id("a") permit(\nprincipal in AgentRole::"wroker", action, resource);', "wroker"),
    (1, '@id("a") permit(principal in HumanRole::"reviewer", action == Action::"tool.call", resource);', "applicable"),
    (2, '@id("a") permit(principal, action, resource);\npermit(principal, action, resource);', "no @id"),
    (2, '@id("a") permit(principal, action, resource);\n@id("a") permit(principal, action, resource);', "taken"),
    (1, '@id("a") permit(principal == ?principal, action, resource);', "template"),
    (1, '@id("a") permit(principal, action, resource) when { "', "invalid token"),
    (3, '@id("a") permit(principal, action, resource)\nwhen {\n' + "(" * 2_000 + "true", "brackets"),
    (
        2,
        '@id("a") permit(principal, action, resource) when {\n' + "true && " * 900 + "true };",
        "more than 400 operators",
    ),
    (1, "\x00", "unexpected"),
]


@pytest.mark.parametrize(("line", "text", "why"), WRONG, ids=[why for *_, why in WRONG])
def test_policies_with_an_error_are_refused_with_the_line(
    authorizer: Authorizer, ask: Ask, line: int, text: str, why: str
) -> None:
    """Proves FR-96: the error names the line, and what was in force stays in force."""
    before = authorizer.policies
    with pytest.raises(PolicyInvalid) as refused:
        authorizer.reload(text)
    assert f"line {line}: " in refused.value.message
    assert refused.value.context["line"] == line
    if why != "unexpected":
        assert why in refused.value.message
    assert authorizer.policies is before
    assert ask("worker", "tool.call", TOOL)


LONG = {
    "and": "true && " * 20_000 + "true",
    "or": "true || " * 20_000 + "true",
    "sum": "1 + " * 20_000 + "1 == 1",
    "product": "1 * " * 20_000 + "1 == 1",
    "attributes": "context" + ".a" * 20_000,
    "has": "context has a" + ".a" * 20_000,
    "indices": "context" + '["a"]' * 20_000,
    "calls": "[1]" + ".contains(1)" * 20_000,
    "if": "if true then true else " * 20_000 + "true",
    "conditions": "true } when { " * 20_000 + "true",
    "behind a comment": "// \r" + "true && " * 20_000 + "true",
    "without blanks": "if 1 then 1else(if 1 then 1)else " * 10_000 + "1",
    "in a string that ends": r'"\"" == "' + '" || ' + "true || " * 20_000 + "true",
    "with semicolons in brackets": "true && " * 300 + "[;] == " + "true && " * 20_000 + "true",
}


@pytest.mark.parametrize("expression", LONG.values(), ids=LONG)
def test_chains_that_would_end_the_process_are_refused(authorizer: Authorizer, expression: str) -> None:
    """Proves FR-450: Cedar's parser is never shown them."""
    text = f'@id("a") permit(principal, action, resource) when {{ {expression} }};'
    with pytest.raises(PolicyInvalid, match="more than 400 operators in one policy"):
        authorizer.reload(text)


def test_what_people_write_is_far_from_the_bounds(authorizer: Authorizer) -> None:
    """Proves FR-450: a hundred policies of a hundred conditions each."""
    one = " && ".join(['context.threat != "high"'] * 100)
    head = 'permit(principal is Agent, action == Action::"tool.call", resource)'
    authorizer.reload("".join(f'@id("p{number}") {head} when {{ {one} }};' for number in range(100)))
    assert len(authorizer.policies.ids) == 100


def test_new_policies_count_at_once(authorizer: Authorizer, ask: Ask) -> None:
    """Proves FR-96, also for rows that were compiled before; no policy at all denies everything."""
    assert ask("worker", "tool.call", TOOL)
    authorizer.reload('@id("judges") permit(principal in AgentRole::"judge", action == Action::"tool.call", resource);')
    assert ask("judge", "tool.call", TOOL).policies == ("judges",)
    assert ask("worker", "tool.call", TOOL).reason == "no-policy"
    authorizer.reload("")
    assert ask("judge", "tool.call", TOOL).reason == "no-policy"


def test_a_policy_that_only_cedar_understands_is_left_to_it(authorizer: Authorizer, ask: Ask) -> None:
    """Proves FR-97: the ruling says so, and what the policy does not touch stays native."""
    one = '@id("like") permit(principal, action == Action::"tool.call", resource) when { context.tenant like "ac*" };'
    two = '@id("talk") permit(principal, action == Action::"agent.message", resource);'
    assert authorizer.reload(f"{one}\n{two}").table.foreign == ["like"]
    assert ask("worker", "tool.call", TOOL) == Ruling(True, ("like",), engine="cedar")
    assert ask("worker", "agent.message", POOL).engine == "native"
    assert not ask("worker", "tool.call", TOOL, tenant="globex")


def test_nothing_that_is_shipped_is_left_to_cedar() -> None:
    """Proves FR-97, for the price of every tool call."""
    assert shipped_policies().table.foreign == []
