"""How many times a second it can be asked who may do what: the table, Cedar, and a dictionary, in turns."""

import json
import random
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import cedarpy

from chimera.core.clock import SystemClock
from chimera.guards.permissions.authorizer import Authorizer
from chimera.guards.permissions.directory import Directory, Kind
from chimera.guards.permissions.policies import shipped_policies
from chimera.guards.permissions.values import Entity, Uid, as_cedar

SEED = 20_261_123
AGENTS, TOOLS, ROUNDS = 1_000, 200, 5
_ACTIONS = ("tool.call", "tool.effect")
_ROLES = ("worker", "worker", "worker", "judge", "planner")
_KEYS = ("authz_per_s", "dict_per_s", "cedarpy_per_s", "cedarpy_text_per_s", "cedarpy_batch_per_s")
Asked = tuple[str, str, Entity, dict[str, Any]]


def authorisation(*, quick: bool) -> dict[str, float]:
    """Checks a second of CPU time, by the shipped policies: the median of five rounds of each way.

    ``cedarpy_per_s`` has its policies and entities parsed beforehand, ``cedarpy_text_per_s`` has not, and
    ``cedarpy_batch_per_s`` asks for all requests in one call. ``dict_per_s`` looks up a role and a limit, which is less
    than what is asked of the others. ``authz_mismatches`` counts the requests that table and Cedar decide differently.
    """
    authorizer = Authorizer(shipped_policies(), _directory(), SystemClock())
    asked = _requests(random.Random(SEED), 2_000)
    few = asked[: 100 if quick else 400]
    repeats = 10 if quick else 50
    policies = cedarpy.PolicySet.from_str(authorizer.policies.text)
    prepared = [_prepared(authorizer.directory, one) for one in few]
    permitted = {("worker", action) for action in _ACTIONS}
    roles = {f"agent:{number}": _ROLES[number % len(_ROLES)] for number in range(AGENTS)}

    def table() -> int:
        allowed = authorizer.allowed
        for _ in range(repeats):
            for agent, action, resource, context in asked:
                allowed(agent, action, resource, context, claimed_role="")
        return repeats * len(asked)

    def dictionary() -> int:
        held = 0
        for _ in range(repeats):
            for agent, action, _resource, context in asked:
                held += (roles[agent], action) in permitted and context["budget_left"] > 0
        return repeats * len(asked)

    def handles() -> int:
        for request, entities, _ in prepared:
            cedarpy.is_authorized(request, policies, entities)
        return len(prepared)

    def text() -> int:
        for request, _, plain in prepared[:100]:
            cedarpy.is_authorized(request, authorizer.policies.text, plain)
        return len(prepared[:100])

    def batch() -> int:
        cedarpy.is_authorized_batch([request for request, *_ in prepared], policies, prepared[0][1])
        return len(prepared)

    found = _rounds([table, dictionary, handles, text, batch])
    return {
        **dict(zip(_KEYS, found, strict=True)),
        "authz_speedup": round(found[0] / found[2], 1),
        "authz_mismatches": sum(_differs(authorizer, one) for one in few),
        "authz_denied_share": round(sum(not authorizer.allowed(*one) for one in asked) / len(asked), 3),
    }


def _rounds(ways: Sequence[Callable[[], int]]) -> list[float]:
    """Checks a second of CPU time of each way, the median of some rounds in which every way has its turn."""
    rates: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS):
        for way, rate in zip(ways, rates, strict=True):
            began = time.process_time()
            checks = way()
            rate.append(checks / (time.process_time() - began))
    return [round(median(rate)) for rate in rates]


def _directory() -> Directory:
    directory = Directory(shipped_policies().model)
    for number in range(AGENTS):
        role = _ROLES[number % len(_ROLES)]
        directory.enroll(Kind.AGENT, f"agent:{number}", [role], pool=f"pool-{number % 20}")
    return directory


def _requests(pick: random.Random, count: int) -> list[Asked]:
    tools = [
        Entity(Uid("Capability", f"server{n % 9}__tool-{n}"), {"read_only": True, "destructive": False, "server": "s"})
        for n in range(TOOLS)
    ]
    return [
        (
            f"agent:{pick.randrange(AGENTS)}",
            pick.choice(_ACTIONS),
            pick.choice(tools),
            {
                "tenant": "default",
                "hour": pick.randrange(24),
                "threat": pick.choice(["none", "none", "low", "medium", "high"]),
                "budget_left": pick.randrange(-5, 100_000),
            },
        )
        for _ in range(count)
    ]


def _prepared(directory: Directory, asked: Asked) -> tuple[dict[str, Any], cedarpy.Entities, list[dict[str, Any]]]:
    """A request as Cedar takes it, with the entities that it needs, parsed and as plain data."""
    agent, action, resource, context = asked
    principal = directory.find(agent) or Entity(Uid("Agent", agent))
    request = {
        "principal": principal.uid.plain(),
        "action": Uid("Action", action).plain(),
        "resource": resource.uid.plain(),
        "context": as_cedar(context),
    }
    bare = [Entity(parent).plain() for parent in principal.parents]
    plain = [principal.plain(), resource.plain(), *bare]
    return request, cedarpy.Entities.from_json_str(json.dumps(plain)), plain


def _differs(authorizer: Authorizer, asked: Asked) -> bool:
    agent, action, resource, context = asked
    principal = authorizer.directory.find(agent) or Entity(Uid("Agent", agent))
    mine, theirs = authorizer.allowed(*asked), authorizer.policies.cedar.decide(principal, action, resource, context)
    return mine.allowed != theirs.allowed or sorted(mine.policies) != sorted(theirs.policies)
