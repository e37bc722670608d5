"""Docker's MCP catalogue: images or remote endpoints by name, with their secrets by name."""

import re
from typing import Any

from chimera.tools.registry.formats.naming import as_items, as_object, as_objects, as_texts, slug, variable


def fields(name: str, raw: dict[str, Any]) -> dict[str, Any]:
    """The fields of a registry entry.

    Raises:
        ValueError: the image has neither a digest nor a commit, or there is neither image nor endpoint.
    """
    common: dict[str, Any] = {
        "name": slug(name),
        "title": str(raw.get("title") or ""),
        "description": str(raw.get("description") or "")[:1_000],
        "offers": [{"name": str(found["name"])} for found in as_objects(raw.get("tools")) if found.get("name")],
    }
    remote = as_object(raw.get("remote"))
    if remote.get("url"):
        kind = str(remote.get("transport_type") or "streamable-http")
        headers = [variable(key, value) for key, value in as_object(remote.get("headers")).items()]
        return common | {
            "version": str(raw.get("version") or "1"),
            "transport": "sse" if kind == "sse" else "http",
            "urls": [str(remote["url"])],
            "headers": headers,
        }
    image = str(raw.get("image") or "")
    if not image:
        raise ValueError("it has neither an image nor a remote endpoint")
    found = re.fullmatch(r"(?P<name>[^@]+?)(@sha256:(?P<digest>[0-9a-f]{64})|:(?P<tag>[A-Za-z0-9._-]+))?", image)
    pinned = (found["digest"] or found["tag"]) if found else None
    version = pinned or str(raw.get("version") or as_object(raw.get("source")).get("commit") or raw.get("commit") or "")
    base = found["name"] if found else image
    return common | {
        "version": version,
        "transport": "stdio",
        "package": {"registry": "oci", "name": base, "version": version},
        "env": [_secret(item) for item in as_items(raw.get("secrets"))] + _plain(raw.get("env")),
        "args": [part for part in as_texts(raw.get("command")) if "{{" not in part],
    }


def _secret(item: object) -> dict[str, Any]:
    """A secret: its reference (``stripe.secret_key``), or that with the variable that it is given in."""
    given = as_object(item)
    name = str(given.get("env") or "") or re.sub(r"[^A-Za-z0-9]+", "_", str(given.get("name") or item)).upper()
    return {"name": name, "secret": True}


def _plain(given: object) -> list[dict[str, Any]]:
    """Variables without those whose value is a template of Docker's."""
    found = [(str(item.get("name", "")), item.get("value")) for item in as_objects(given)]
    return [variable(name, "" if "{{" in str(value) else value, required=False) for name, value in found if name]
