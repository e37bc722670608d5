"""The conditions of policies, compiled to functions: the part of Cedar that the table understands by itself.

Literals, ``principal``, ``action``, ``resource``, ``context``, attributes, ``has``, comparisons, ``&&``, ``||``, ``!``,
``in``, ``is``, sets and their methods. Everything else of Cedar is :class:`Outside`, and is left to Cedar. Source of
the meaning: the Cedar reference, "operators and functions"; a property test compares the two.
"""

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from chimera.guards.permissions.forms import limit, membership, texts_of
from chimera.guards.permissions.operators import (
    Faulty,
    Test,
    attributes_of,
    checked,
    constant,
    different,
    equal,
    every,
    is_empty,
    none_of,
    one_of,
    ordered,
    set_method,
    uid_of,
)
from chimera.guards.permissions.values import Entity, Uid

Ancestors = Mapping[Uid, frozenset[Uid]]
"""What each action is in, itself included."""

_MAX_DEPTH = 40
_ALWAYS_BOOLEAN = frozenset({"<", "<=", ">", ">=", "==", "!=", "&&", "||", "!", "in", "has", "is", "isEmpty"})
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_SET_METHODS = ("contains", "containsAll", "containsAny")


class Outside(Exception):
    """An expression that the table does not understand."""


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
    return every(parts) if parts else None


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
                return constant(_literal(body))
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
                return is_empty(self.test(body["arg"], below))
            case "&&":
                return every(self.conjuncts(expression, depth))
            case _:
                return self._binary(name, body, below)

    def truth(self, expression: Mapping[str, Any], depth: int) -> Test:
        """The function of an expression, for a place where anything but a boolean is an error."""
        test = self.test(expression, depth)
        return test if _is_boolean(expression) else checked(test)

    def negation(self, expression: Mapping[str, Any], depth: int) -> Test:
        """The function of ``!``; of a comparison with a literal, the comparison turned round."""
        if len(expression) == 1 and (opposite := _OPPOSITE.get(next(iter(expression)))):
            return self.test({opposite: next(iter(expression.values()))}, depth)
        match expression:
            case {"contains": {"left": values, "right": {".": {"left": {"Var": "context"}, "attr": name}}}}:
                texts = texts_of(values)
                if texts is not None:
                    return none_of(texts, name)
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
            return limit(_ORDER[name], body) or ordered(_ORDER[name], left, right)
        match name:
            case "==":
                return equal(left, right)
            case "!=":
                return membership(body) or different(left, right)
            case "in":
                return self._in(left, right)
            case _:
                texts = texts_of(body["left"]) if name == "contains" else None
                return one_of(texts, right) if texts is not None else set_method(name, left, right)

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
            found = attributes_of(base(p, a, r, c), p, r)
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
            found = attributes_of(base(p, a, r, c), p, r)
            return found is not None and name in found

        return has

    def _is(self, body: Mapping[str, Any], depth: int) -> Test:
        base, kind = self.test(body["left"], depth), body["entity_type"]

        def is_kind(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
            return uid_of(base(p, a, r, c)).type == kind

        if "in" not in body:
            return is_kind
        return every([is_kind, self._in(base, self.test(body["in"], depth))])

    def _in(self, left: Test, right: Test) -> Test:
        actions = self._actions

        def within(p: Entity, a: Uid, r: Entity, c: Mapping[str, Any]) -> bool:
            uid = uid_of(left(p, a, r, c))
            wanted = right(p, a, r, c)
            groups = [uid_of(item) for item in wanted] if type(wanted) in (list, tuple) else [uid_of(wanted)]
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


def _is_boolean(expression: Mapping[str, Any]) -> bool:
    """Whether an expression can have no value but a boolean."""
    name = next(iter(expression))
    return name in _ALWAYS_BOOLEAN or name in _SET_METHODS or isinstance(expression.get("Value"), bool)
