"""Policies as the table keeps them: head, conditions, and whether it understands them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chimera.core.errors import PolicyInvalid
from chimera.guards.permissions.conditions import Ancestors, Outside, compile_conditions
from chimera.guards.permissions.operators import Test
from chimera.guards.permissions.values import Entity, Uid


@dataclass(frozen=True)
class Scope:
    """``principal`` or ``resource`` in the head of a policy: what it must be, what it must be in, and its type."""

    itself: Uid | None = None
    inside: Uid | None = None
    kind: str | None = None

    @staticmethod
    def read(form: Mapping[str, Any]) -> "Scope":
        """What Cedar's JSON says of it.

        Raises:
            PolicyInvalid: it has a slot to be filled in.
        """
        match form:
            case {"op": "All"}:
                return Scope()
            case {"op": "==", "entity": {"type": kind, "id": name}}:
                return Scope(itself=Uid(kind, name), kind=kind)
            case {"op": "in", "entity": {"type": kind, "id": name}}:
                return Scope(inside=Uid(kind, name))
            case {"op": "is", "entity_type": kind, "in": {"entity": {"type": group, "id": name}}}:
                return Scope(inside=Uid(group, name), kind=kind)
            case {"op": "is", "entity_type": kind}:
                return Scope(kind=kind)
            case _:
                raise PolicyInvalid(
                    f"a policy with the head {form} is a template, and there is nothing to fill it with"
                )

    def may_match(self, kind: str) -> bool:
        """Whether an entity of that type can be meant."""
        return self.kind is None or self.kind == kind


@dataclass(frozen=True)
class Actions:
    """``action`` in the head of a policy: one action, or what it must be in; neither means any."""

    itself: Uid | None = None
    inside: frozenset[Uid] | None = None

    @staticmethod
    def read(form: Mapping[str, Any]) -> "Actions":
        """What Cedar's JSON says of it."""
        match form:
            case {"op": "All"}:
                return Actions()
            case {"op": "==", "entity": {"type": kind, "id": name}}:
                return Actions(itself=Uid(kind, name))
            case _:
                named = form["entities"] if "entities" in form else [form["entity"]]
                return Actions(inside=frozenset(Uid(one["type"], one["id"]) for one in named))

    def may_match(self, action: Uid, groups: frozenset[Uid]) -> bool:
        """Whether an action that is in ``groups`` is meant; a group that is named as one action means itself alone."""
        if self.itself is not None:
            return action == self.itself
        return self.inside is None or not self.inside.isdisjoint(groups)


@dataclass(frozen=True)
class Rule:
    """One policy. ``test`` is None when it has no conditions; ``native`` is False when only Cedar understands it."""

    id: str
    permits: bool
    principal: Scope
    actions: "Actions"
    resource: Scope
    test: Test | None
    native: bool


def compile_rule(name: str, policy: Mapping[str, Any], actions: Ancestors) -> Rule:
    """A policy as the table keeps it; one with anything that only Cedar understands is kept as that."""
    principal, resource = Scope.read(policy["principal"]), Scope.read(policy["resource"])
    try:
        test, native = compile_conditions(policy["conditions"], actions), True
    except (Outside, RecursionError):
        test, native = None, False
    test = _for_one(principal.itself, resource.itself, test)
    return Rule(name, policy["effect"] == "permit", principal, Actions.read(policy["action"]), resource, test, native)


def _for_one(who: Uid | None, what: Uid | None, test: Test | None) -> Test | None:
    """The test, for a policy that names one principal or one resource: being in it would not be enough."""
    if who is None and what is None:
        return test

    def one(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        if (who is not None and p.uid != who) or (what is not None and r.uid != what):
            return False
        return test is None or test(p, a, r, c)

    return one
