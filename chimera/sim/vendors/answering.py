"""Values that fit a JSON Schema, the same ones for the same seed."""

from typing import Any, cast

from chimera.core.ids import digest

DEPTH_MAX = 6
MARK = "simulated"
_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "uri": "https://simulated.example.com/",
    "email": "simulated@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example(schema: dict[str, Any], arguments: dict[str, Any], seed: str) -> Any:
    """A value for a schema. A property that is called like an argument of its type gets that argument's value."""
    return _value(schema, schema, arguments, seed, MARK, 0)


def _value(schema: Any, root: dict[str, Any], given: dict[str, Any], seed: str, name: str, depth: int) -> Any:
    if not isinstance(schema, dict):
        return MARK
    part = _resolved(cast("dict[str, Any]", schema), root)
    if "const" in part:
        return part["const"]
    if part.get("enum"):
        return part["enum"][int(digest(seed + name)[:4], 16) % len(part["enum"])]
    match _kind(part):
        case "object":
            return _object(part, root, given, seed, depth)
        case "array":
            least = max(int(part.get("minItems", 0)), 1 if depth < DEPTH_MAX and part.get("maxItems", 1) else 0)
            return [_value(part.get("items", {}), root, given, seed + str(n), name, depth + 1) for n in range(least)]
        case "string":
            return _text(part, given, seed, name)
        case "integer" | "number" as kind:
            number = _number(part, seed + name)
            return int(number) if kind == "integer" else number
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return MARK


def _resolved(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """The schema without references and choices: what it refers to, and the first choice that is not null."""
    for _ in range(DEPTH_MAX):
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            found: Any = root
            for step in reference[2:].split("/"):
                found = cast("dict[str, Any]", found).get(step, {})
            schema = cast("dict[str, Any]", found)
            continue
        choices = cast("list[dict[str, Any]]", schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf") or [])
        if not choices:
            break
        schema = next((choice for choice in choices if choice.get("type") != "null"), choices[0])
    return schema


def _kind(schema: dict[str, Any]) -> str:
    kind: Any = schema.get("type")
    if isinstance(kind, list):
        kinds = cast("list[str]", kind)
        return next((found for found in kinds if found != "null"), "null")
    return str(kind or ("object" if "properties" in schema else ""))


def _object(schema: dict[str, Any], root: dict[str, Any], given: dict[str, Any], seed: str, depth: int) -> Any:
    properties: dict[str, Any] = schema.get("properties") or {}
    required: list[str] = schema.get("required") or []
    wanted = required if depth >= DEPTH_MAX else list(dict.fromkeys([*required, *properties]))
    return {name: _value(properties.get(name, {}), root, given, seed, name, depth + 1) for name in wanted}


def _text(schema: dict[str, Any], given: dict[str, Any], seed: str, name: str) -> str:
    if (form := schema.get("format")) in _FORMATS:
        return _FORMATS[form]
    said = given.get(name)
    most, least = int(schema.get("maxLength", 10_000)), int(schema.get("minLength", 0))
    text = said if isinstance(said, str) else f"{MARK} {name} {digest(seed + name)[:8]}"
    return text[:most].ljust(least, "x")


def _number(schema: dict[str, Any], seed: str) -> float:
    low = float(schema.get("minimum", schema.get("exclusiveMinimum", 0) + ("exclusiveMinimum" in schema)))
    high = float(schema.get("maximum", low + 1_000))
    return low + int(digest(seed)[:6], 16) % (max(0, int(high - low)) + 1)
