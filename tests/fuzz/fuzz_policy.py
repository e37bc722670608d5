"""What must hold for any file of rules: it is refused, or it keeps every promise of a file that is not."""

from collections.abc import Iterator
from importlib.resources import files

from chimera.core.errors import ConfigError, PolicyInvalid
from chimera.core.settings import Settings
from chimera.guards.permissions.cedar import Cedar, json_form
from chimera.guards.permissions.policies import Policies, shipped_model
from chimera.guards.permissions.values import Entity, Uid
from chimera.guards.policy.document import REQUIRED, read_policy
from chimera.guards.policy.registry import Parts, build_chains
from chimera.guards.provenance.manifest import Kind, Role, Severity, read_manifests

POLICY = files("chimera.guards.policy").joinpath("policy.toml").read_text("utf-8")
CEDAR = files("chimera.guards.permissions").joinpath("default.cedar").read_text("utf-8")
POLICY_SEEDS = [POLICY.encode(), POLICY[: POLICY.index("[tools")].encode()]
POLICY_TOKENS = [
    *(f'"{name}"' for names in REQUIRED.values() for name in names),
    *(f"[edges.{edge}]" for edge in REQUIRED),
    "[[",
    "]]",
    "deadline_s",
    "nan",
    "inf",
    "1e400",
    '"""',
    "\\u0000",
    "[guards.",
    "version = 1",
    "approval",
]
MANIFESTS = """
[tools.a]
role = "effect"
severity = "money"
arguments = { to = "payee", n = { kind = "object", key = "id" } }
[tools.b]
role = "read"
shape = "records"
own = true
fields = { x = "amount" }
own_when = { y = ["$own"] }
[tools.c]
role = "outbound_read"
severity_with = { to = "disclosure" }
arguments = { u = { kind = "choice", look_ups = [{ tool = "s", arguments = { q = "$value" } }] } }
"""
MANIFEST_SEEDS = [MANIFESTS.encode(), POLICY[POLICY.index("[tools") :].encode()]
MANIFEST_TOKENS = [*Role, *Kind, *Severity, "look_ups", "own_when", "severity_with", "locator", "container", "true"]
_CHAINS = ("true && " * 450 + "true", "context has a" + ".a" * 450, "context" + '["a"]' * 450)
CEDAR_SEEDS = [
    CEDAR.encode(),
    *(policy.encode() for policy in CEDAR.split("\n\n") if "@id" in policy),
    *(f'@id("a") permit(principal, action, resource) when {{ {chain} }};'.encode() for chain in _CHAINS),
]
CEDAR_TOKENS = [
    "permit", "forbid", "when", "unless", "principal", "action", "resource", "context", "@id", "is", "in", "like",
    "has", "if", "then", "else", "&&", "||", "::", "contains", "decimal", "ip", "threat", "tenant", "hour", "Agent",
]  # fmt: skip

_parts = Parts(Settings.model_validate({}))


def policy(data: bytes) -> None:
    """A policy that is read holds all guards that no policy may leave out, and its chains are as it says."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        read = read_policy(text)
    except PolicyInvalid:
        return
    for edge, needed in REQUIRED.items():
        assert needed <= set(read.edges[edge].guards), edge
    try:
        chains = build_chains(read, _parts)
    except ConfigError:
        return
    for edge, part in read.edges.items():
        assert len(chains[edge].guards) == len(part.guards)
        assert 0 < chains[edge].deadline_s <= 60


def manifests(data: bytes) -> None:
    """Manifests are refused, or every tool has the role that it is declared with."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        read = read_manifests(text)
    except PolicyInvalid:
        return
    for name, manifest in read.items():
        assert manifest.tool == name
        assert isinstance(manifest.role, Role)
        assert isinstance(manifest.severity, Severity)
        assert manifest.fallback is None or manifest.role is Role.READ
        assert all(isinstance(argument.kind, Kind) for argument in manifest.arguments.values())
        assert isinstance(manifest.harm(dict.fromkeys(manifest.severity_with, 1)), Severity)


def cedar(data: bytes) -> None:
    """Permissions are refused, or the table decides what Cedar does, and nothing without a ``permit``."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        read = Policies(text, shipped_model())
    except PolicyInvalid:
        return
    assert len(set(read.ids)) == len(read.ids)
    static = json_form(text)["staticPolicies"]
    permits = any(form["effect"] == "permit" for form in static.values())
    engine: Cedar = read.cedar
    for principal, action, resource in _requests():
        context = {"tenant": "default", "hour": 12, "threat": "none", "budget_left": 9, "limit": 7}
        theirs, ours = (each.decide(principal, action, resource, context) for each in (engine, read.table))
        assert ours.allowed == theirs.allowed
        assert permits or not ours.allowed


def _requests() -> Iterator[tuple[Entity, str, Entity]]:
    """Requests as the server makes them: of kinds that go together, with the attributes that each kind has."""
    worker = Entity(Uid("Agent", "a"), {"tenant": "default", "reputation": 50}, [Uid("AgentRole", "worker")])
    human = Entity(Uid("Human", "h"), {"tenant": "default"}, [Uid("HumanRole", "operator")])
    tool = Entity(Uid("Capability", "send"), {"read_only": False, "destructive": True, "server": "desk"})
    payment = Entity(Uid("Payment", "p"), {"tenant": "default", "proposer": worker.uid, "amount": 5})
    rules = Entity(Uid("Policy", "p"), {"tenant": "default"})
    for who, action, what in (
        (worker, "tool.call", tool),
        (worker, "tool.effect", tool),
        (worker, "payment.propose", payment),
        (human, "payment.approve", payment),
        (human, "policy.change", rules),
    ):
        if shipped_model().applies(who.kind, action, what.kind):
            yield who, action, what
