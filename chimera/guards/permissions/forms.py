"""Forms of expressions that are common enough to have a function of their own, in Cedar's JSON."""

from collections.abc import Callable, Mapping
from typing import Any

from chimera.guards.permissions.operators import Test, limited, other_than


def limit(compare: Callable[[int, int], bool], sides: Mapping[str, Any]) -> Test | None:
    """``context.x`` against a number, the form of most limits; None for any other form."""
    match sides:
        case {"left": {".": {"left": {"Var": "context"}, "attr": key}}, "right": {"Value": number}}:
            return limited(compare, key, number) if type(number) is int else None
        case _:
            return None


def membership(sides: Mapping[str, Any]) -> Test | None:
    """``principal.x != context.y``; None for any other form."""
    match sides:
        case {
            "left": {".": {"left": {"Var": "principal"}, "attr": mine}},
            "right": {".": {"left": {"Var": "context"}, "attr": theirs}},
        }:
            return other_than(mine, theirs)
        case _:
            return None


def texts_of(expression: Mapping[str, Any]) -> frozenset[str] | None:
    """The members of a set of text literals; None for any other expression."""
    if "Set" not in expression:
        return None
    values = [part.get("Value") for part in expression["Set"]]
    texts = [value for value in values if isinstance(value, str)]
    return frozenset(texts) if len(texts) == len(values) else None
