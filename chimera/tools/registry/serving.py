"""From what is registered to what the mesh connects: specs with the values of the variables that an entry names."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import SecretStr, ValidationError

from chimera.core.errors import SettingsInvalid
from chimera.core.invalid import first_problem
from chimera.tools.mesh.servers import REFERENCE, ServerSpec
from chimera.tools.registry.model import Auth, ServerEntry, Variable
from chimera.tools.registry.registry import Registered

# What a package runner needs beside PATH and HOME to find its cache; by custom none of these holds a secret.
_RUNNER = (
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "UV_CACHE_DIR",
    "UV_OFFLINE",
    "NPM_CONFIG_CACHE",
    "NPM_CONFIG_OFFLINE",
    "XDG_CACHE_HOME",
)


def missing(entry: ServerEntry, environ: Mapping[str, str] | None = None) -> list[str]:
    """The variables that an entry needs and that are not set."""
    known = os.environ if environ is None else environ
    defaulted = {
        name for item in (*entry.env, *entry.headers) for name, given in REFERENCE.findall(item.value) if given
    }
    return [name for name in entry.names() if not known.get(name) and name not in defaulted]


def to_spec(
    entry: ServerEntry, environ: Mapping[str, str] | None = None, *, place: str = "", name: str = ""
) -> ServerSpec:
    """How the mesh reaches an entry, under ``name``: at all its endpoints, or at the one that ``place`` names.

    Raises:
        SettingsInvalid: a variable that it needs is not set, or it names no image that can be run.
    """
    known = os.environ if environ is None else environ
    if absent := missing(entry, known):
        raise SettingsInvalid(
            f"tool server {entry.name} needs {', '.join(absent)}",
            remedy="Set them in the environment of Chimera; the registry keeps names only.",
        )
    if entry.package is not None and entry.package.registry == "oci" and re.fullmatch("[0-9a-f]{40}", entry.version):
        raise SettingsInvalid(
            f"tool server {entry.name} is known by the commit of its source, and not by an image that can be run",
            remedy="Register it with the digest of its image: IMAGE@sha256:...",
        )

    def fill(text: str) -> str:
        return REFERENCE.sub(lambda found: known.get(found[1]) or found[2] or "", text)

    fields: dict[str, Any] = {"name": name or entry.name, "transport": entry.transport}
    if entry.transport == "stdio":
        command = entry.package.command() if entry.package else [entry.command]
        env = {key: value for key in _RUNNER if (value := known.get(key)) and "${" not in value}
        env |= {item.name: value for item in entry.env if (value := _value(item, known, fill))}
        fields |= {
            "command": command[0],
            "args": [*_forwarded(command[1:], entry), *(fill(part) for part in entry.args)],
            "env": {key: SecretStr(value) for key, value in env.items()},
        }
    else:
        headers = {item.name: fill(item.value) for item in entry.headers} | _authorised(entry.auth, known)
        first, *others = [place] if place else entry.urls
        fields |= {
            "url": fill(first),
            "replicas": [fill(url) for url in others],
            "oauth": _credentials(entry.auth, known),
            "headers": {key: SecretStr(value) for key, value in headers.items()},
        }
    try:
        return ServerSpec.model_validate(fields)
    except ValidationError as error:
        raise SettingsInvalid(
            f"tool server {entry.name}: {first_problem(error)}"
        ) from None  # the cause would show values


def registered_specs(
    servers: Sequence[Registered], environ: Mapping[str, str] | None = None
) -> tuple[list[ServerSpec], dict[str, str]]:
    """Every enabled server at its current version, and why others are left out, by name.

    A version that is tried stands beside it as ``NAME-canary``; ``Registered.version_for`` says whose calls are its.
    """
    specs: list[ServerSpec] = []
    left_out: dict[str, str] = {}
    for server in (found for found in servers if found.enabled):
        for version, name in ((server.current, server.name), (server.canary, canary_name(server.name))):
            if version is None:
                continue
            try:
                specs.append(to_spec(server.entries[version], environ, name=name))
            except SettingsInvalid as error:
                left_out[name] = error.message
    return specs, left_out


def canary_name(server: str) -> str:
    """What the version of a server is called that is tried beside it."""
    return f"{server[:33]}-canary"


def registered_identities(servers: Sequence[Registered]) -> dict[str, tuple[str, str]]:
    """Where each server that is served comes from, and its version, by the name that it is served under."""
    serving = {found.name: (found.identity, found.current) for found in servers}
    tried = {canary_name(found.name): (found.identity, found.canary) for found in servers if found.canary is not None}
    return serving | tried


class RegisteredTrials:
    """Whose calls go to a version that is tried, as the registry says."""

    def __init__(self, servers: Sequence[Registered]) -> None:
        self._tried = {found.name: found for found in servers if found.canary is not None}
        self.hidden = frozenset(map(canary_name, self._tried))

    def server_for(self, server: str, agent: str) -> str:
        """The server that answers an agent's calls to ``server``. Calls of nobody go to the version that serves."""
        found = self._tried.get(server)
        return canary_name(server) if found and agent and found.version_for(agent) == found.canary else server


def _value(item: Variable, known: Mapping[str, str], fill: Any) -> str:
    return fill(item.value) if item.value else known.get(item.name, "")


def _forwarded(arguments: list[str], entry: ServerEntry) -> list[str]:
    """A container sees only the variables that are named to it; their values stay off the command line."""
    if entry.package is None or entry.package.registry != "oci":
        return arguments
    passed = [part for item in entry.env for part in ("-e", item.name)]
    return [*arguments[:-1], *passed, arguments[-1]]


def _credentials(auth: Auth, known: Mapping[str, str]) -> dict[str, Any] | None:
    if auth.kind != "oauth":
        return None
    client = {"client_id": known.get(auth.client_id, ""), "client_secret": known.get(auth.client_secret, "")}
    return {"token_url": auth.token_url, "scopes": auth.scopes, **client}


def _authorised(auth: Auth, known: Mapping[str, str]) -> dict[str, str]:
    secret = known.get(auth.secret, "")
    match auth.kind:
        case "bearer":
            return {"Authorization": f"Bearer {secret}"}
        case "header":
            return {auth.header: secret}
        case _:
            return {}
