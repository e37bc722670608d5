"""The conditions of policies, compiled to functions: the part of Cedar that the table understands by itself.

Literals, ``principal``, ``action``, ``resource``, ``context``, attributes, ``has``, comparisons, ``&&``, ``||``, ``!``,
``in``, ``is``, sets and their methods. Everything else of Cedar is :class:`Outside`, and is left to Cedar. Source of
the meaning: the Cedar reference, "operators and functions"; a property test compares the two.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chimera.guards.permissions.values import Entity, Uid, is_in, is_same

Test = Callable[[Entity, Uid, Entity, Mapping[str, Any]], Any]
"""Principal, action, resource, context to a value. What Cedar calls an error raises :class:`Faulty` or KeyError."""
Ancestors = Mapping[Uid, frozenset[Uid]]
"""What each action is in, itself included."""

_MAX_DEPTH = 40
_ALWAYS_BOOLEAN = frozenset({"<", "<=", ">", ">=", "==", "!=", "&&", "||", "!", "in", "has", "is", "isEmpty"})
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_SET_METHODS = ("contains", "containsAll", "containsAny")


class Outside(Exception):
    """An expression that the table does not understand."""


class Faulty(Exception):
    """An expression that has no value: a missing attribute, or an operand of the wrong type."""


def compile_conditions(conditions: Sequence[Mapping[str, Any]], actions: Ancestors) -> Test | None:
    """One test for all ``when`` and ``unless`` clauses of a policy in Cedar's JSON form; None when it has none.

    Raises:
        Outside: a clause uses something that only Cedar understands.
    """
    compiler = _Compiler(actions)
    parts: list[Test] = []
    for clause in conditions:
        if clause["kind"] == "when":
            parts += compiler.conjuncts(clause["body"], _MAX_DEPTH)
        else:
            parts.append(compiler.negation(clause["body"], _MAX_DEPTH))
    return _all(parts) if parts else None


class _Compiler:
    def __init__(self, actions: Ancestors) -> None:
        self._actions = actions

    def test(self, expression: Mapping[str, Any], depth: int) -> Test:
        """The function of one expression."""
        if depth == 0 or len(expression) != 1:
            raise Outside
        name, body = next(iter(expression.items()))
        below = depth - 1
        match name:
            case "Value":
                return _constant(_literal(body))
            case "Var":
                return _variable(body)
            case "Set":
                return self._set(body, below)
            case ".":
                return self._attribute(body, below)
            case "has":
                return self._has(body, below)
            case "is":
                return self._is(body, below)
            case "!":
                return self.negation(body["arg"], below)
            case "isEmpty":
                return _is_empty(self.test(body["arg"], below))
            case "&&":
                return _all(self.conjuncts(expression, depth))
            case _:
                return self._binary(name, body, below)

    def truth(self, expression: Mapping[str, Any], depth: int) -> Test:
        """The function of an expression, for a place where anything but a boolean is an error."""
        test = self.test(expression, depth)
        return test if _is_boolean(expression) else _checked(test)

    def negation(self, expression: Mapping[str, Any], depth: int) -> Test:
        """The function of ``!``; of a comparison with a literal, the comparison turned round."""
        if len(expression) == 1 and (opposite := _OPPOSITE.get(next(iter(expression)))):
            return self.test({opposite: next(iter(expression.values()))}, depth)
        match expression:
            case {"contains": {"left": values, "right": {".": {"left": {"Var": "context"}, "attr": name}}}}:
                texts = _texts(values)
                if texts is not None:
                    return _none_of(texts, name)
            case _:
                pass
        test = self.truth(expression, depth)
        return lambda p, a, r, c: not test(p, a, r, c)

    def conjuncts(self, expression: Mapping[str, Any], depth: int) -> list[Test]:
        """The parts of ``a && b && c``, in order, each of them a boolean or an error."""
        if "&&" not in expression:
            return [self.truth(expression, depth)]
        if depth == 0:
            raise Outside
        sides = expression["&&"]
        return [*self.conjuncts(sides["left"], depth - 1), *self.conjuncts(sides["right"], depth - 1)]

    def _binary(self, name: str, body: Any, depth: int) -> Test:
        if name == "||":
            one, other = self.truth(body["left"], depth), self.truth(body["right"], depth)
            return lambda p, a, r, c: one(p, a, r, c) or other(p, a, r, c)
        if name not in _ORDER and name not in ("==", "!=", "in", *_SET_METHODS):
            raise Outside
        left, right = self.test(body["left"], depth), self.test(body["right"], depth)
        if name in _ORDER:
            return _limited(name, body) or _ordered(_ORDER[name], left, right)
        match name:
            case "==":
                return _equal(left, right)
            case "!=":
                return _different(left, right)
            case "in":
                return self._in(left, right)
            case _:
                texts = _texts(body["left"]) if name == "contains" else None
                return _one_of(texts, right) if texts is not None else _method(name, left, right)

    def _set(self, body: Sequence[Mapping[str, Any]], depth: int) -> Test:
        parts = [self.test(part, depth) for part in body]
        return lambda p, a, r, c: [part(p, a, r, c) for part in parts]

    def _attribute(self, body: Mapping[str, Any], depth: int) -> Test:
        name = body["attr"]
        match body["left"]:
            case {"Var": "context"}:
                return lambda p, a, r, c: c[name]
            case {"Var": "principal"}:
                return lambda p, a, r, c: p.attributes[name]
            case {"Var": "resource"}:
                return lambda p, a, r, c: r.attributes[name]
            case left:
                base = self.test(left, depth)

        def attribute(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> Any:
            found = _attributes(base(p, a, r, c), p, r)
            if found is None:
                raise Faulty
            return found[name]

        return attribute

    def _has(self, body: Mapping[str, Any], depth: int) -> Test:
        name = body["attr"]
        match body["left"]:
            case {"Var": "context"}:
                return lambda p, a, r, c: name in c
            case {"Var": "principal"}:
                return lambda p, a, r, c: name in p.attributes
            case {"Var": "resource"}:
                return lambda p, a, r, c: name in r.attributes
            case left:
                base = self.test(left, depth)

        def has(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
            found = _attributes(base(p, a, r, c), p, r)
            return found is not None and name in found

        return has

    def _is(self, body: Mapping[str, Any], depth: int) -> Test:
        base, kind = self.test(body["left"], depth), body["entity_type"]

        def is_kind(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
            return _uid(base(p, a, r, c)).type == kind

        if "in" not in body:
            return is_kind
        return _all([is_kind, self._in(base, self.test(body["in"], depth))])

    def _in(self, left: Test, right: Test) -> Test:
        actions = self._actions

        def within(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
            uid = _uid(left(p, a, r, c))
            wanted = right(p, a, r, c)
            groups = [_uid(item) for item in wanted] if type(wanted) in (list, tuple) else [_uid(wanted)]
            if uid == p.uid:
                mine = p.within
            elif uid == r.uid:
                mine = r.within
            else:
                mine = actions.get(uid, frozenset((uid,)))
            return any(group in mine for group in groups)

        return within


def _literal(value: Any) -> Any:
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, dict) and value.keys() == {"__entity"}:
        return Uid(value["__entity"]["type"], value["__entity"]["id"])
    raise Outside


def _constant(value: Any) -> Test:
    return lambda p, a, r, c: value


def _variable(name: str) -> Test:
    match name:
        case "principal":
            return lambda p, a, r, c: p.uid
        case "action":
            return lambda p, a, r, c: a
        case "resource":
            return lambda p, a, r, c: r.uid
        case "context":
            return lambda p, a, r, c: c
        case _:
            raise Outside


def _attributes(value: Any, principal: Entity, resource: Entity) -> Mapping[str, Any] | None:
    """The attributes of a record, or of the two entities that a request is about; nothing is known of other ones."""
    kind = type(value)
    if kind is dict:
        return value
    if value == principal.uid and kind is Uid:
        return principal.attributes
    if value == resource.uid and kind is Uid:
        return resource.attributes
    if kind is Uid:
        return None
    raise Faulty


def _uid(value: Any) -> Uid:
    if type(value) is not Uid:
        raise Faulty
    return value


def _is_boolean(expression: Mapping[str, Any]) -> bool:
    """Whether an expression can have no value but a boolean."""
    name = next(iter(expression))
    return name in _ALWAYS_BOOLEAN or name in _SET_METHODS or isinstance(expression.get("Value"), bool)


def _checked(test: Test) -> Test:
    def checked(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        found = test(p, a, r, c)
        if found is True or found is False:
            return found
        raise Faulty

    return checked


def _all(parts: Sequence[Test]) -> Test:
    if len(parts) == 1:
        return parts[0]

    def every(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        for part in parts:  # noqa: SIM110 - a generator would cost more than what it runs
            if not part(p, a, r, c):
                return False
        return True

    return every


def _equal(left: Test, right: Test) -> Test:
    def equal(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        one, other = left(p, a, r, c), right(p, a, r, c)
        return one == other if type(one) is str and type(other) is str else is_same(one, other)

    return equal


def _different(left: Test, right: Test) -> Test:
    def different(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        one, other = left(p, a, r, c), right(p, a, r, c)
        return one != other if type(one) is str and type(other) is str else not is_same(one, other)

    return different


def _ordered(compare: Callable[[int, int], bool], left: Test, right: Test) -> Test:
    def ordered(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        one, other = left(p, a, r, c), right(p, a, r, c)
        if type(one) is not int or type(other) is not int:
            raise Faulty
        return compare(one, other)

    return ordered


def _limited(name: str, sides: Mapping[str, Any]) -> Test | None:
    """``context.x`` against a number, the form of most limits, as one function; None for any other form."""
    match sides:
        case {"left": {".": {"left": {"Var": "context"}, "attr": key}}, "right": {"Value": limit}}:
            compare = _ORDER[name]
        case _:
            return None
    if type(limit) is not int:
        return None

    def limited(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        value = c[key]
        if type(value) is not int:
            raise Faulty
        return compare(value, limit)

    return limited


def _is_empty(test: Test) -> Test:
    return lambda p, a, r, c: not _members(test(p, a, r, c))


def _members(value: Any) -> Sequence[Any]:
    if type(value) not in (list, tuple):
        raise Faulty
    return value


def _texts(expression: Mapping[str, Any]) -> frozenset[str] | None:
    """The members of a set of text literals; None for any other expression."""
    if "Set" not in expression:
        return None
    values = [part.get("Value") for part in expression["Set"]]
    texts = [value for value in values if isinstance(value, str)]
    return frozenset(texts) if len(texts) == len(values) else None


def _one_of(texts: frozenset[str], right: Test) -> Test:
    def one_of(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        found = right(p, a, r, c)
        return type(found) is str and found in texts

    return one_of


def _none_of(texts: frozenset[str], key: str) -> Test:
    def none_of(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        found = c[key]
        return type(found) is not str or found not in texts

    return none_of


def _method(name: str, left: Test, right: Test) -> Test:
    def method(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
        values, other = _members(left(p, a, r, c)), right(p, a, r, c)
        if name == "contains":
            return is_in(values, other)
        found = (is_in(values, item) for item in _members(other))
        return all(found) if name == "containsAll" else any(found)

    return method
