"""The compiled policies: for each kind of principal, action and kind of resource, the few policies that can matter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from chimera.core.errors import PolicyInvalid
from chimera.guards.permissions.conditions import Ancestors, Faulty, Outside, Test, compile_conditions
from chimera.guards.permissions.values import Entity, Uid, is_usable

_MAX_ROWS = 50_000
_NONE: tuple[str, ...] = ()


class Ruling(NamedTuple):
    """An answer, with what it rests on. True in a condition only when it allows.

    ``policies``: the ids of the forbids that hold, or else of the permits; ``faulty``: of those that had no value for
    the request. ``reason`` names why it is denied, ``grant`` the grant that allows it. ``engine``: ``native``,
    ``cedar`` where a policy was left to Cedar, ``none`` when it did not come to the policies.
    """

    allowed: bool
    policies: tuple[str, ...] = _NONE
    faulty: tuple[str, ...] = _NONE
    reason: str = ""
    engine: str = "native"
    grant: str = ""

    def __bool__(self) -> bool:
        return self.allowed

    @property
    def action(self) -> Literal["allow", "reject"]:
        """The same in the word of a guard's decision."""
        return "allow" if self.allowed else "reject"

    @staticmethod
    def of(forbids: Sequence[str], permits: Sequence[str], faulty: Sequence[str], engine: str = "native") -> "Ruling":
        """Cedar's rule: a forbid that holds denies, else a permit that holds allows, else it is denied."""
        if forbids:
            return Ruling(False, tuple(forbids), tuple(faulty), "forbidden", engine)
        return Ruling(bool(permits), tuple(permits), tuple(faulty), "" if permits else "no-policy", engine)


UNREADABLE = "unreadable-request"
"""The reason for what Cedar could not be asked: a value that it cannot read, or entities that are in each other."""


class Engine(Protocol):
    """What can answer a request."""

    def decide(self, principal: Entity, action: str, resource: Entity, context: Mapping[str, Any]) -> Ruling:
        """Cedar's answer: a forbid that holds denies, else a permit that holds allows, else it is denied."""
        ...


@dataclass(frozen=True)
class _Scope:
    """``principal`` or ``resource`` in the head of a policy: what it must be, what it must be in, and its type."""

    itself: Uid | None = None
    inside: Uid | None = None
    kind: str | None = None

    @staticmethod
    def read(form: Mapping[str, Any]) -> "_Scope":
        match form:
            case {"op": "All"}:
                return _Scope()
            case {"op": "==", "entity": {"type": kind, "id": name}}:
                return _Scope(itself=Uid(kind, name), kind=kind)
            case {"op": "in", "entity": {"type": kind, "id": name}}:
                return _Scope(inside=Uid(kind, name))
            case {"op": "is", "entity_type": kind, "in": {"entity": {"type": group, "id": name}}}:
                return _Scope(inside=Uid(group, name), kind=kind)
            case {"op": "is", "entity_type": kind}:
                return _Scope(kind=kind)
            case _:
                raise PolicyInvalid(
                    f"a policy with the head {form} is a template, and there is nothing to fill it with"
                )

    def may_match(self, kind: str) -> bool:
        """Whether an entity of that type can be meant."""
        return self.kind is None or self.kind == kind


@dataclass(frozen=True)
class _Actions:
    """``action`` in the head of a policy: one action, or what it must be in; neither means any."""

    itself: Uid | None = None
    inside: frozenset[Uid] | None = None

    @staticmethod
    def read(form: Mapping[str, Any]) -> "_Actions":
        match form:
            case {"op": "All"}:
                return _Actions()
            case {"op": "==", "entity": {"type": kind, "id": name}}:
                return _Actions(itself=Uid(kind, name))
            case _:
                named = form["entities"] if "entities" in form else [form["entity"]]
                return _Actions(inside=frozenset(Uid(one["type"], one["id"]) for one in named))

    def may_match(self, action: Uid, groups: frozenset[Uid]) -> bool:
        """Whether an action that is in ``groups`` is meant; a group that is named as one action means itself alone."""
        if self.itself is not None:
            return action == self.itself
        return self.inside is None or not self.inside.isdisjoint(groups)


@dataclass(frozen=True)
class _Rule:
    """One policy. ``test`` is None when it has no conditions; ``native`` is False when only Cedar understands it."""

    id: str
    permits: bool
    principal: _Scope
    actions: "_Actions"
    resource: _Scope
    test: Test | None
    native: bool


_Entry = tuple[int, Test]
"""The bit of a policy, and all that is left to test of it."""
Applies = Callable[[str, str, str], bool]
"""Whether a kind of principal can ever do an action with a kind of resource."""


class _Row(NamedTuple):
    """The policies that can matter for a kind of principal, an action and a kind of resource.

    ``held``: the bits of those that hold for all of them; ``rulings``: what was answered before, by the bits that held.
    """

    native: bool
    action: Uid
    held: int
    entries: tuple[_Entry, ...]
    rules: tuple[_Rule, ...]
    rulings: dict[int, Ruling]

    def ruling(self, held: int, faulty: Sequence[int] = ()) -> Ruling:
        """The answer when the policies of these bits hold, and those at these places have no value."""
        forbids = [rule.id for place, rule in enumerate(self.rules) if held >> place & 1 and not rule.permits]
        permits = [rule.id for place, rule in enumerate(self.rules) if held >> place & 1 and rule.permits]
        return Ruling.of(forbids, permits, [self.rules[bit.bit_length() - 1].id for bit in faulty])


class Table:
    """Answers what Cedar would answer, at the price of a few function calls."""

    def __init__(
        self,
        policies: Mapping[str, Mapping[str, Any]],
        names: Mapping[str, str],
        actions: Ancestors,
        cedar: Engine,
        applies: Applies | None = None,
    ) -> None:
        """``policies``: in Cedar's JSON form, by its id; ``names``: what to call them; ``cedar``: takes the rest.

        ``applies``: where it says no, no policy can permit; without one, anything can be asked.
        """
        self._rules = [_compile(names[place], policy, actions) for place, policy in policies.items()]
        self._actions = actions
        self._cedar = cedar
        self._applies = applies
        self._rows: dict[tuple[tuple[str, frozenset[Uid]], str, str], _Row] = {}

    @property
    def foreign(self) -> list[str]:
        """The policies that only Cedar understands; requests that they could matter for are slow."""
        return [rule.id for rule in self._rules if not rule.native]

    def decide(self, principal: Entity, action: str, resource: Entity, context: Mapping[str, Any]) -> Ruling:
        """Cedar's answer: a forbid that holds denies, else a permit that holds allows, else it is denied."""
        if not is_usable(context):
            return _UNUSABLE
        if resource.uid.type in principal.kinds or principal.uid.type in resource.kinds:
            related = _related(principal, resource)
            if related is None:
                return _UNUSABLE
            principal, resource = related
        row = self._rows.get((principal.key, action, resource.uid.type))
        if row is None:
            row = self._row(principal, action, resource)
        native, uid, held, entries, _, rulings = row
        if not native:
            return self._cedar.decide(principal, action, resource, context)
        faulty: list[int] = []
        for bit, test in entries:
            try:
                if test(principal, uid, resource, context):
                    held |= bit
            except (Faulty, KeyError):
                faulty.append(bit)
        if faulty:
            return row.ruling(held, faulty)
        found = rulings.get(held)
        if found is None:
            found = rulings[held] = row.ruling(held)
        return found

    def _row(self, principal: Entity, action: str, resource: Entity) -> _Row:
        uid = Uid("Action", action)
        groups = self._actions.get(uid, frozenset((uid,)))
        kind, sort = principal.uid.type, resource.uid.type
        rules: list[_Rule] = []
        entries: list[_Entry] = []
        held = 0
        for rule in self._rules if self._applies is None or self._applies(kind, action, sort) else ():
            who = rule.principal.inside
            if who in principal.parents:
                who = None
            if not (rule.actions.may_match(uid, groups) and rule.principal.may_match(kind)):
                continue
            # What a principal is in belongs to the row; of a resource, the row knows the type alone.
            if not rule.resource.may_match(sort) or (who is not None and who.type != kind):
                continue
            bit = 1 << len(rules)
            test = _scoped(who, rule.resource.inside, rule.test)
            rules.append(rule)
            if test is None:
                held |= bit
            else:
                entries.append((bit, test))
        native = all(rule.native for rule in rules)
        row = _Row(native, uid, held, tuple(entries), tuple(rules), {})
        if len(self._rows) >= _MAX_ROWS:
            self._rows.clear()
        self._rows[principal.key, action, sort] = row
        return row


_UNUSABLE = Ruling(False, reason=UNREADABLE)


def _related(principal: Entity, resource: Entity) -> tuple[Entity, Entity] | None:
    """A principal and a resource of which one is in the other, and so in all that that is in; None for a circle."""
    if principal.uid == resource.uid:
        return principal, principal  # one name is one entity
    everything = principal.parents | resource.parents
    if {principal.uid, resource.uid} <= everything:
        return None
    if resource.uid in principal.parents:
        return Entity(principal.uid, principal.attributes, tuple(everything)), resource
    if principal.uid in resource.parents:
        return principal, Entity(resource.uid, resource.attributes, tuple(everything))
    return principal, resource


def _compile(name: str, policy: Mapping[str, Any], actions: Ancestors) -> _Rule:
    """A policy as the table keeps it; one with anything that only Cedar understands is kept as that."""
    principal, resource = _Scope.read(policy["principal"]), _Scope.read(policy["resource"])
    try:
        test, native = compile_conditions(policy["conditions"], actions), True
    except (Outside, RecursionError):
        test, native = None, False
    test = _for_one(principal.itself, resource.itself, test)
    return _Rule(name, policy["effect"] == "permit", principal, _Actions.read(policy["action"]), resource, test, native)


def _scoped(who: Uid | None, what: Uid | None, test: Test | None) -> Test | None:
    """The test, for a policy whose head says what the principal or the resource must be in."""
    if who is None and what is None:
        return test

    def scoped(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        if (who is not None and who not in p.within) or (what is not None and what not in r.within):
            return False
        return test is None or test(p, a, r, c)

    return scoped


def _for_one(who: Uid | None, what: Uid | None, test: Test | None) -> Test | None:
    """The test, for a policy that names one principal or one resource: being in it would not be enough."""
    if who is None and what is None:
        return test

    def one(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        if (who is not None and p.uid != who) or (what is not None and r.uid != what):
            return False
        return test is None or test(p, a, r, c)

    return one
