"""JSON Schemas without their authors' words: names, types, bounds and choices are facts, descriptions are texts."""

from typing import Any, cast

_TEXTS = frozenset({"title", "description", "$comment", "examples", "example", "markdownDescription", "errorMessage"})
_BY_NAME = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_SHORT = 40


def bare(schema: Any) -> Any:
    """A schema without titles, descriptions, comments and examples, and without long texts as defaults."""
    if isinstance(schema, list):
        return [bare(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", schema).items():
        if key in _BY_NAME and isinstance(value, dict):
            found[key] = {name: bare(inner) for name, inner in cast("dict[str, Any]", value).items()}
        elif key in ("enum", "const", "required", "type"):
            found[key] = value
        elif key == "default":
            if not isinstance(value, str) or len(value) <= _SHORT:
                found[key] = value
        elif key not in _TEXTS and not key.startswith("x-"):
            found[key] = bare(value)
    return found
