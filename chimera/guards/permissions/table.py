"""The compiled policies: for each kind of principal, action and kind of resource, the few policies that can matter."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from chimera.guards.permissions.conditions import Ancestors
from chimera.guards.permissions.operators import Faulty, Test
from chimera.guards.permissions.rules import Rule, compile_rule
from chimera.guards.permissions.ruling import UNREADABLE, Engine, Ruling
from chimera.guards.permissions.values import Entity, Uid, is_usable

_MAX_ROWS = 50_000

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
    rules: tuple[Rule, ...]
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
        self._rules = [compile_rule(names[place], policy, actions) for place, policy in policies.items()]
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
        if resource.kind in principal.kinds or principal.kind in resource.kinds:
            related = _related(principal, resource)
            if related is None:
                return _UNUSABLE
            principal, resource = related
        row = self._rows.get((principal.key, action, resource.kind))
        if row is None:
            row = self._row(principal, action, resource)
        native, uid, held, entries, _, rulings = row
        if not native:
            return self._cedar.decide(principal, action, resource, context)
        faulty: list[int] | None = None
        for bit, test in entries:
            try:
                if test(principal, uid, resource, context):
                    held |= bit
            except (Faulty, KeyError):
                faulty = [*(faulty or ()), bit]
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
        rules: list[Rule] = []
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


def _scoped(who: Uid | None, what: Uid | None, test: Test | None) -> Test | None:
    """The test, for a policy whose head says what the principal or the resource must be in."""
    if who is None and what is None:
        return test

    def scoped(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        if (who is not None and who not in p.within) or (what is not None and what not in r.within):
            return False
        return test is None or test(p, a, r, c)

    return scoped
