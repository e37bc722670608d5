"""The toolsdk registry: one package of npm or PyPI, with the variables that it needs. It names no version."""

from typing import Any

from chimera.tools.registry.formats.naming import as_object, slug

_RUNTIMES = {"node": "npm", "python": "pypi"}


def fields(raw: dict[str, Any], version: str) -> dict[str, Any]:
    """The fields of a registry entry, at a version that is given beside.

    Raises:
        ValueError: it runs on something else than node and Python, or there is no version.
    """
    runtime = str(raw.get("runtime") or "")
    if runtime not in _RUNTIMES:
        raise ValueError(f"the runtime {runtime[:40]!r} is not node or python")
    version = str(raw.get("packageVersion") or raw.get("version") or version)
    if not version:
        raise ValueError("this catalogue names no version; give one with --version")
    name = str(raw.get("packageName") or "")
    found = as_object(raw.get("env"))
    licence = str(raw.get("license") or "")
    return {
        "name": slug(name),
        "version": version,
        "title": str(raw.get("name") or "")[:200],
        "description": str(raw.get("description") or "")[:1_000],
        "transport": "stdio",
        "package": {"registry": _RUNTIMES[runtime], "name": name, "version": version},
        "env": [_variable(key, as_object(about)) for key, about in found.items()],
        "licence": "" if licence.lower() == "unknown" else licence,
    }


def _variable(name: str, about: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "required": bool(about.get("required", False))}
