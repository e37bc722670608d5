"""Reading a property of a tool's JSON Schema: references followed, and wrappers such as "or null" taken off."""

from collections.abc import Mapping
from typing import Any, cast

REFERENCES_MAX = 8
_WRAPPERS = frozenset({"$ref", "anyOf", "oneOf", "allOf"})


def plain_form(form: Any, root: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The schema of a property as one flat form with a single ``type``.

    ``$ref`` is followed inside ``root``; of ``anyOf`` and ``oneOf`` the first choice that is not null counts, of
    ``allOf`` everything. It is a reading for choosing and filling; whether a value fits is for :mod:`chimera.core.fit`.
    """
    merged = _merged(form, root or {}, REFERENCES_MAX)
    kinds = merged.get("type")
    if isinstance(kinds, list):
        merged["type"] = next((kind for kind in cast("list[Any]", kinds) if kind != "null"), "string")
    return merged


def properties(schema: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The plain forms of the properties of an object schema, by name."""
    found: Any = plain_form(schema, schema).get("properties")
    if not isinstance(found, Mapping):
        return {}
    return {name: plain_form(form, schema) for name, form in cast("Mapping[str, Any]", found).items()}


def _merged(form: Any, root: Mapping[str, Any], left: int) -> dict[str, Any]:
    if not isinstance(form, (dict, Mapping)) or left <= 0:
        return {}
    if _WRAPPERS.isdisjoint(cast("Mapping[str, Any]", form)):
        return dict(cast("Mapping[str, Any]", form))
    own = {key: value for key, value in cast("Mapping[str, Any]", form).items() if key != "$ref"}
    parts = [_target(cast("Mapping[str, Any]", form).get("$ref"), root)]
    for key in ("anyOf", "oneOf"):
        parts += _choices(own.pop(key, None))[:1]
    every = own.pop("allOf", None)
    parts += cast("list[Any]", every) if isinstance(every, list) else []
    merged: dict[str, Any] = {}
    for part in parts:
        merged |= _merged(part, root, left - 1)
    return {**merged, **own}  # what stands beside a reference is about this very property


def _choices(found: Any) -> list[Any]:
    listed = cast("list[Any]", found) if isinstance(found, list) else []
    return [choice for choice in listed if isinstance(choice, Mapping) and choice.get("type") != "null"]


def _target(reference: Any, root: Mapping[str, Any]) -> Any:
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    found: Any = root
    for step in reference[1:].strip("/").split("/"):
        if step:
            name = step.replace("~1", "/").replace("~0", "~")
            found = cast("Mapping[str, Any]", found).get(name) if isinstance(found, Mapping) else None
    return found
