"""The official MCP registry's ``server.json``, of 2025-05 (snake case) and of 2025-07 and later (camel case)."""

from typing import Any

from chimera.tools.registry.formats.naming import as_object, as_objects, slug, variable
from chimera.tools.registry.secrets import placeholder

_REGISTRIES = {"npm": "npm", "pypi": "pypi", "oci": "oci", "docker": "oci"}


def fields(raw: dict[str, Any]) -> dict[str, Any]:
    """The fields of a registry entry.

    Raises:
        ValueError: it has neither a package that can be run at an exact version nor a remote endpoint.
    """
    meta = as_object(raw.get("server")) or raw
    about = as_object(meta.get("version_detail"))
    common: dict[str, Any] = {
        "name": slug(str(meta.get("name", ""))),
        "title": str(meta.get("title") or ""),
        "description": str(meta.get("description") or "")[:1_000],
    }
    why = "it names no package and no remote endpoint"
    for package in as_objects(meta.get("packages")):
        kind = str(package.get("registryType") or package.get("registry_type") or package.get("registry_name"))
        if kind in _REGISTRIES:
            return common | _local(package, _REGISTRIES[kind])
        why = f"its package is of the registry {kind[:40]!r}; pypi, npm and oci can be run"
    remotes = as_objects(meta.get("remotes"))
    if not remotes:
        raise ValueError(why)
    return common | _remote(remotes, str(meta.get("version") or about.get("version") or ""))


def _local(package: dict[str, Any], registry: str) -> dict[str, Any]:
    name = str(package.get("identifier") or package.get("name") or "")
    version = str(package.get("version") or "")
    if registry == "oci" and not version and ":" in name.rpartition("/")[2]:
        name, _, version = name.rpartition(":")
    return {
        "version": version,
        "transport": "stdio",
        "package": {"registry": registry, "name": name, "version": version},
        "args": _arguments(package.get("packageArguments") or package.get("package_arguments")),
        "env": [
            _variable(item)
            for item in as_objects(package.get("environmentVariables") or package.get("environment_variables"))
        ],
    }


def _arguments(given: object) -> list[str]:
    """The arguments that have a value of their own.

    Raises:
        ValueError: one is needed whose value only the user knows.
    """
    found: list[str] = []
    for item in as_objects(given):
        value = str(item.get("value") or item.get("default") or "")
        needed = bool(item.get("isRequired", item.get("is_required", False)))
        if "<" in value or "$" in value or (not value and needed) or (value and placeholder(value)):
            raise ValueError(f"it needs the argument {str(item.get('name') or item.get('valueHint') or value)[:60]!r}")
        if item.get("type") == "named" and not value.startswith("-"):
            found.append(str(item.get("name", "")))
        found += value.split()
    return [part for part in found if part]


def _variable(item: dict[str, Any]) -> dict[str, Any]:
    value = item.get("value") or item.get("default")
    required = bool(item.get("isRequired", item.get("is_required", True)))
    return variable(str(item.get("name", "")), value, required=required, secret=bool(item.get("isSecret", False)))


def _remote(remotes: list[dict[str, Any]], version: str) -> dict[str, Any]:
    kinds = {"streamable-http": "http", "streamable": "http", "http": "http", "sse": "sse"}
    typed = [(kinds.get(str(item.get("type") or item.get("transport_type")), ""), item) for item in remotes]
    transport = next((kind for kind in ("http", "sse") if any(found == kind for found, _ in typed)), None)
    if transport is None:
        raise ValueError("its remote endpoint is of an unknown transport")
    chosen = [item for kind, item in typed if kind == transport]
    headers = [_header(item) for item in as_objects(chosen[0].get("headers"))]
    return {
        "version": version or "1",
        "transport": transport,
        "urls": [str(item.get("url", "")) for item in chosen],
        "headers": [item for item in headers if item["value"]],
    }


def _header(item: dict[str, Any]) -> dict[str, Any]:
    """A header; ``{name}`` in its value stands for something that the user gives: a variable of that name."""
    name, value = str(item.get("name", "")), str(item.get("value") or "")
    if "{" in value and "${" not in value:
        value = value.replace("{", "${").replace("-", "_")
    if not value:
        value = f"${{{name.upper().replace('-', '_')}}}"
    return {"name": name, "value": value, "secret": bool(item.get("isSecret", False))}
