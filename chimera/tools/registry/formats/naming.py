"""Names of servers in the registry, from the names that they have elsewhere."""

import re
from typing import Any, cast

from chimera.tools.registry.secrets import names_secret, placeholder

_REST = re.compile(r"[^a-z0-9]+")


def slug(text: str) -> str:
    """A server's name: lower-case letters, digits and hyphens, without the owner before the last slash."""
    last = text.rstrip("/").rpartition("/")[2] or text
    made = _REST.sub("-", last.lower()).strip("-")[:40].strip("-")
    return made or "server"


def variable(name: str, given: object, *, required: bool = True, secret: bool = False) -> dict[str, Any]:
    """One variable of an environment as the registry keeps it: what only says YOUR_KEY is no value."""
    value = "" if given is None else str(given)
    kept = "" if placeholder(value) else value
    return {"name": name, "value": kept, "required": required, "secret": secret or names_secret(name)}


def as_object(value: object) -> dict[str, Any]:
    """A JSON object, or an empty one in the place of what is none."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_objects(value: object) -> list[dict[str, Any]]:
    """The JSON objects of a JSON array; nothing in the place of what is none."""
    return [as_object(item) for item in cast("list[object]", value)] if isinstance(value, list) else []


def as_items(value: object) -> list[object]:
    """The elements of a JSON array; nothing in the place of what is none."""
    return cast("list[object]", value) if isinstance(value, list) else []


def as_texts(value: object) -> list[str]:
    """The texts of a JSON array; nothing in the place of what is none."""
    return [str(item) for item in cast("list[object]", value)] if isinstance(value, list) else []
