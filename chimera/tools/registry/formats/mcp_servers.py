"""The ``mcpServers`` object of Claude and other MCP clients: one command or URL by name."""

import re
from typing import Any

from chimera.core.ids import digest
from chimera.tools.registry.formats.naming import as_object, as_texts, slug, variable

_NPM = re.compile(r"(?P<name>(@[a-z0-9._~-]+/)?[a-z0-9._~-]+)@(?P<version>[^@/]+)", re.IGNORECASE)
_PYPI = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?(==|@)(?P<version>[^=@<>~!]+)")
_OCI = re.compile(r"(?P<name>[a-z0-9][a-z0-9._/-]*(:\d+/[a-z0-9._/-]+)?)(:|@sha256:)(?P<version>[A-Za-z0-9._-]+)")
_FLAGS_OF_NPX = ("-y", "--yes", "-q", "--quiet")


def fields(name: str, raw: dict[str, Any]) -> dict[str, Any]:
    """The fields of a registry entry.

    Raises:
        ValueError: it is neither a command nor a URL, or its package has no exact version.
    """
    common: dict[str, Any] = {"name": slug(name), "title": name[:200], "description": str(raw.get("description") or "")}
    if raw.get("url"):
        kind = str(raw.get("type") or raw.get("transport") or "http")
        headers = [variable(key, value) for key, value in as_object(raw.get("headers")).items()]
        return common | {
            "version": str(raw.get("version") or "1"),
            "transport": "sse" if kind == "sse" else "http",
            "urls": [str(raw["url"])],
            "headers": headers,
        }
    command, args = str(raw.get("command") or ""), as_texts(raw.get("args"))
    if not command:
        raise ValueError("it has neither a command nor a url")
    env = [variable(key, value) for key, value in as_object(raw.get("env")).items()]
    return common | {"transport": "stdio", "env": env, **_run(command, args, str(raw.get("version") or ""))}


def _run(command: str, args: list[str], version: str) -> dict[str, Any]:
    match command.rpartition("/")[2].removesuffix(".cmd").removesuffix(".exe"):
        case "npx":
            rest = [part for part in args if part not in _FLAGS_OF_NPX]
            return _packaged("npm", _NPM, rest, "@scope/package@1.2.3")
        case "uvx" | "pipx":
            return _of_uvx(args[1:] if args[:1] == ["run"] else args)
        case "docker" | "podman":
            return _of_docker(args)
        case _:
            shown = version or digest("\x1f".join([command, *args]))[:12]
            return {"version": shown, "command": command, "args": args}


def _packaged(registry: str, form: re.Pattern[str], rest: list[str], example: str) -> dict[str, Any]:
    found = form.fullmatch(rest[0]) if rest else None
    if found is None:
        shown = rest[0][:60] if rest and not rest[0].startswith("-") else "its package"
        raise ValueError(f"{shown} has no exact version; write {example}")
    package = {"registry": registry, "name": found["name"], "version": found["version"]}
    return {"version": found["version"], "package": package, "args": rest[1:]}


def _of_uvx(args: list[str]) -> dict[str, Any]:
    beside: list[str] = []
    source = ""
    rest = list(args)
    while rest and rest[0].startswith("-"):
        flag, _, value = rest.pop(0).partition("=")
        if flag not in ("--from", "--with"):
            raise ValueError(f"uvx with {flag[:40]} is not understood; use --from and --with alone")
        value = value or (rest.pop(0) if rest else "")
        if flag == "--from":
            source = value
        else:
            beside.append(value)
    program = rest[0] if source and rest else ""
    made = _packaged("pypi", _PYPI, [source, *rest[1:]] if source else rest, "package==1.2.3")
    made["package"] |= {"beside": beside, "program": "" if program == made["package"]["name"] else program}
    return made


def _of_docker(args: list[str]) -> dict[str, Any]:
    """``docker run`` without its options but ``-e NAME``, which the registry adds by itself."""
    rest = args[1:] if args[:1] == ["run"] else list(args)
    while rest and rest[0].startswith("-"):
        flag = rest.pop(0)
        if flag in ("-e", "--env"):
            if "=" in (rest.pop(0) if rest else ""):
                raise ValueError("docker -e NAME=VALUE holds a value; write -e NAME and put NAME into env")
        elif flag not in ("-i", "--interactive", "--rm", "--init"):
            raise ValueError(f"docker with {flag[:40]} is not understood; use -i, --rm and -e NAME alone")
    return _packaged("oci", _OCI, rest, "image:1.2.3 or image@sha256:...")
