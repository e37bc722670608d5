"""Whether a value certainly fits a JSON Schema: the few keywords that nearly all schemas of tools are made of.

It answers in microseconds what :mod:`chimera.core.fit` answers for every schema and in full. For a schema that is
valid, a yes is a yes of both; a no says nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

STEPS_MAX = 20_000
DEPTH_MAX = 32

_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "object": (dict,),
    "array": (list,),
}
_SAYS_NOTHING = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "format", "$defs", "$schema"}
)


def certainly_fits(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether ``value`` fits, as far as that can be told at once. Never raises; its work is bounded."""
    return _Plainly().fits(schema, value, DEPTH_MAX)


class _Plainly:
    def __init__(self) -> None:
        self.left = STEPS_MAX

    def fits(self, schema: Any, value: Any, depth: int) -> bool:
        if not isinstance(schema, dict) or not depth or not self.spend(1):
            return schema is True
        rules = cast("dict[str, Any]", schema)
        for keyword, wanted in rules.items():
            if keyword in _SAYS_NOTHING:
                continue
            check = _CHECKS.get(keyword)
            if check is None or not check(self, wanted, value, rules, depth - 1):
                return False
        return True

    def spend(self, steps: int) -> bool:
        self.left -= steps
        return self.left >= 0


_Check = Callable[[_Plainly, Any, Any, "dict[str, Any]", int], bool]


def _type(plainly: _Plainly, wanted: Any, value: Any, rules: dict[str, Any], depth: int) -> bool:
    if isinstance(wanted, str):
        return type(value) in _TYPES.get(wanted, ())
    names = cast("list[Any]", wanted) if isinstance(wanted, list) else [wanted]
    if not all(isinstance(name, str) and name in _TYPES for name in names):
        return False
    return any(type(value) in _TYPES[name] for name in names)


def _properties(plainly: _Plainly, wanted: Any, value: Any, rules: dict[str, Any], depth: int) -> bool:
    if not isinstance(wanted, dict) or not isinstance(value, dict):
        return isinstance(wanted, dict)
    parts, items = cast("dict[str, Any]", wanted), cast("dict[str, Any]", value)
    return plainly.spend(len(items)) and all(
        plainly.fits(parts[name], item, depth) for name, item in items.items() if name in parts
    )


def _required(plainly: _Plainly, wanted: Any, value: Any, rules: dict[str, Any], depth: int) -> bool:
    if not isinstance(wanted, list):
        return False
    names = cast("list[Any]", wanted)
    return not isinstance(value, dict) or (
        plainly.spend(len(names)) and all(isinstance(name, str) and name in value for name in names)
    )


def _additional(plainly: _Plainly, wanted: Any, value: Any, rules: dict[str, Any], depth: int) -> bool:
    known = rules.get("properties", {})
    if "patternProperties" in rules or not isinstance(known, dict):
        return False
    if not isinstance(value, dict):
        return True
    items = cast("dict[str, Any]", value)
    return plainly.spend(len(items)) and all(
        plainly.fits(wanted, item, depth) for name, item in items.items() if name not in known
    )


def _items(plainly: _Plainly, wanted: Any, value: Any, rules: dict[str, Any], depth: int) -> bool:
    if "prefixItems" in rules:
        return False
    return not isinstance(value, list) or all(plainly.fits(wanted, item, depth) for item in cast("list[Any]", value))


def _any_of(plainly: _Plainly, wanted: Any, value: Any, rules: dict[str, Any], depth: int) -> bool:
    return isinstance(wanted, list) and any(plainly.fits(one, value, depth) for one in cast("list[Any]", wanted))


def _enum(plainly: _Plainly, wanted: Any, value: Any, rules: dict[str, Any], depth: int) -> bool:
    # Of other kinds than texts, 1 and true would be equal.
    if not isinstance(wanted, list) or type(value) is not str:
        return False
    values = cast("list[Any]", wanted)
    return plainly.spend(len(values)) and value in values


def _bound(holds: Callable[[Any, Any], bool], *kinds: type) -> _Check:
    def check(plainly: _Plainly, wanted: Any, value: Any, rules: dict[str, Any], depth: int) -> bool:
        return type(wanted) in (int, float) and type(value) in kinds and holds(value, wanted)

    return check


_CHECKS: Mapping[str, _Check] = {
    "type": _type,
    "properties": _properties,
    "required": _required,
    "additionalProperties": _additional,
    "items": _items,
    "anyOf": _any_of,
    "enum": _enum,
    "minimum": _bound(lambda value, wanted: value >= wanted, int, float),
    "maximum": _bound(lambda value, wanted: value <= wanted, int, float),
    "minLength": _bound(lambda value, wanted: len(value) >= wanted, str),
    "maxLength": _bound(lambda value, wanted: len(value) <= wanted, str),
    "minItems": _bound(lambda value, wanted: len(value) >= wanted, list),
    "maxItems": _bound(lambda value, wanted: len(value) <= wanted, list),
}
