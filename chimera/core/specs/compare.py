"""Whether two JSON Schemas say the same, and if not, where.

Both are brought to one form first: references replaced, annotations dropped, the several ways to write one rule made
one. Contract tests compare the specifications with the pydantic models this way.
"""

import json
from collections.abc import Iterator
from typing import Any, cast

_DROPPED = frozenset({"title", "description", "default", "examples", "$schema", "$defs", "$id", "$comment"})
_RULES_OF = {
    "string": {"minLength", "maxLength", "pattern"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "patternProperties", "additionalProperties", "required"},
}
_TYPED = frozenset[str]().union(*_RULES_OF.values())
_EMPTY: dict[str, object] = {
    "minLength": 0,
    "minItems": 0,
    "additionalProperties": {},
    "required": [],
    "properties": {},
}


def differences(spec: dict[str, Any], code: dict[str, Any]) -> list[str]:
    """Every rule that only one of two self-contained schemas has, as ``/path: value in spec, value in code``.

    Args:
        spec: a schema of the specifications, references replaced.
        code: a schema that pydantic generated, with its ``$defs``.
    """
    ours, theirs = dict(_rules(canonical(spec))), dict(_rules(canonical(code)))
    return [
        f"{path}: {_shown(ours, path)} in spec, {_shown(theirs, path)} in code"
        for path in sorted(ours.keys() | theirs.keys())
        if _shown(ours, path) != _shown(theirs, path)
    ]


def canonical(schema: dict[str, Any]) -> dict[str, Any]:
    """The one form of a schema: two schemas of our dialect mean the same when their forms are equal."""
    return _canonical(schema, schema.get("$defs", {}))


def _canonical(node: Any, defs: dict[str, Any]) -> Any:
    if node is True:
        return {}
    if not isinstance(node, dict):
        return node
    given = cast("dict[str, Any]", node)
    if "$ref" in given:
        target = defs[str(given["$ref"]).removeprefix("#/$defs/")]
        return _canonical({**target, **{key: value for key, value in given.items() if key != "$ref"}}, defs)
    schema = {key: value for key, value in given.items() if key not in _DROPPED}
    kinds = schema.get("type")
    if isinstance(kinds, list):
        alternatives = [{**schema, "type": kind} for kind in kinds]
        return _canonical({"anyOf": alternatives}, defs)
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    if "enum" in schema:
        return {"enum": sorted(schema["enum"], key=str)}
    if "patternProperties" in schema:
        # pydantic leaves this out, though it refuses a key of a dict that does not match; samples prove that it does
        schema.setdefault("additionalProperties", False)
    idle = _TYPED - _RULES_OF.get(str(kinds), set()) if kinds else set[str]()  # rules for values of other types
    whole = {key: _part(key, value, defs) for key, value in schema.items() if key not in idle}
    return {key: value for key, value in whole.items() if _EMPTY.get(key, ...) != value}


def _part(key: str, value: Any, defs: dict[str, Any]) -> Any:
    match key:
        case "properties" | "patternProperties":
            return {name: _canonical(part, defs) for name, part in value.items()}
        case "items" | "additionalProperties":
            return _canonical(value, defs)
        case "anyOf":
            return sorted((_canonical(part, defs) for part in value), key=lambda part: json.dumps(part, sort_keys=True))
        case "required":
            return sorted(value)
        case _:
            return int(value) if isinstance(value, float) and value.is_integer() else value


def _rules(node: Any, path: str = "") -> Iterator[tuple[str, object]]:
    """Each rule of a canonical schema with the path to it; members of lists count as rules of their own."""
    if isinstance(node, dict):
        if not node:
            yield path or "/", "anything"
        for key, value in node.items():
            yield from _rules(value, f"{path}/{key}")
    elif isinstance(node, list) and all(isinstance(item, str) for item in cast("list[Any]", node)):
        for item in cast("list[str]", node):
            yield f"{path}/{item}", True
    elif isinstance(node, list):
        for place, item in enumerate(cast("list[Any]", node)):
            yield from _rules(item, f"{path}/{place}")
    else:
        yield path, node


def _shown(rules: dict[str, object], path: str) -> str:
    return str(rules[path]) if path in rules else "nothing"
