"""Check a tool's arguments against its own input schema, in the part of JSON Schema that our tools use."""

import re
from typing import Any, cast

from chimera.core.errors import InputError

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def check_arguments(schema: dict[str, Any], value: object, where: str = "arguments") -> None:
    """Pass when ``value`` fits ``schema``.

    Raises:
        InputError: it does not; the message names the place and what is wrong, never the value.
    """
    kind: str = schema["type"]
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
        raise InputError(f"{where} must be a JSON {kind}")
    if "enum" in schema and value not in schema["enum"]:
        raise InputError(f"{where} must be one of {', '.join(map(str, schema['enum']))}")
    if isinstance(value, str):
        _check_text(schema, value, where)
    elif isinstance(value, int | float):
        _check_number(schema, value, where)
    elif isinstance(value, list):
        items = cast("list[object]", value)
        if len(items) > schema.get("maxItems", len(items)):
            raise InputError(f"{where} may have at most {schema['maxItems']} items")
        for position, item in enumerate(items):
            check_arguments(schema["items"], item, f"{where}[{position}]")
    else:
        _check_object(schema, cast("dict[str, object]", value), where)


def _check_object(schema: dict[str, Any], value: dict[str, object], where: str) -> None:
    for name in schema.get("required", ()):
        if name not in value:
            raise InputError(f"{where}: {name} is missing")
    for name, item in value.items():
        if name not in schema["properties"]:
            raise InputError(f"{where}: unknown argument {name[:40]!r}; known are {', '.join(schema['properties'])}")
        check_arguments(schema["properties"][name], item, name)


def _check_text(schema: dict[str, Any], value: str, where: str) -> None:
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        raise InputError(f"{where} must have {schema.get('minLength', 0)} to {schema.get('maxLength')} characters")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        raise InputError(f"{where} must match {schema['pattern']}")


def _check_number(schema: dict[str, Any], value: float, where: str) -> None:
    if not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        raise InputError(f"{where} must be between {schema.get('minimum')} and {schema.get('maximum')}")
