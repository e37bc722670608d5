"""Which tool servers there are: our own, and those that the user configured."""

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from chimera.core.contracts import Contract
from chimera.core.errors import SettingsInvalid
from chimera.core.invalid import first_problem
from chimera.core.settings import Settings
from chimera.tools.mesh.oauth import ClientCredentials
from chimera.tools.mesh.quotas import Quota

NAME = r"^[a-z0-9][a-z0-9-]{0,39}$"
FIRST_PARTY = ("files", "trends")
OURSELVES = "chimera"
"""The server of the tools that Chimera answers by itself; no other may have this name."""
CONFIG_MAX_BYTES = 1_000_000
INSTANCES_MAX = 16
REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
"""``${NAME}`` or ``${NAME:-default}`` in a server's entry: its name and its default."""
# What a server of ours may need from the environment to reach a feed. The values may hold a proxy's password, so
# servers that are not ours do not get them.
_NETWORK = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
_PLACE = ("LANG", "LC_ALL", "TZ", "TMPDIR")


def _expanded(value: SecretStr) -> SecretStr:
    if re.search(r"\$\{[^}]+\}", value.get_secret_value()):  # the adapters would expand it again, and log it
        raise ValueError("a value must not hold ${...} after its variables were replaced")
    return value


class ServerSpec(Contract):
    """How to reach one tool server. What may hold a secret is not shown by ``repr``."""

    name: str = Field(pattern=NAME, description="prefix of its tools")
    transport: Literal["stdio", "http", "sse"]
    command: str = Field(default="", description="stdio: the program")
    args: list[str] = Field(default_factory=list, repr=False)
    env: dict[str, Annotated[SecretStr, AfterValidator(_expanded)]] = Field(
        default_factory=dict, description="stdio: variables besides PATH, HOME, USER, LOGNAME, SHELL and TERM"
    )
    cwd: Path | None = None
    url: str = Field(default="", repr=False, description="http: the endpoint of streamable HTTP")
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    replicas: list[str] = Field(default_factory=list, repr=False, description="http: further endpoints of the same")
    instances: int = Field(default=1, ge=1, le=INSTANCES_MAX, description="stdio: processes of the same")
    quota: Quota = Quota()
    cache_s: float = Field(default=0, ge=0, description="how long results of tools that only read are kept")
    fallbacks: list[str] = Field(default_factory=list, description="servers whose tools of the same name may stand in")
    oauth: ClientCredentials | None = Field(default=None, description="http: where tokens come from")

    def endpoints(self) -> "list[ServerSpec]":
        """One for each replica."""
        if self.transport == "stdio":
            return [self.model_copy(update={"instances": 1}) for _ in range(self.instances)]
        return [self.model_copy(update={"url": url, "replicas": []}) for url in (self.url, *self.replicas)]

    @model_validator(mode="after")
    def _is_whole(self) -> "ServerSpec":
        remote = self.url or self.headers or self.replicas or self.oauth
        if self.transport == "stdio" and (not self.command or remote):
            raise ValueError("a stdio server has a command, and neither url, headers, replicas nor oauth")
        if self.transport != "stdio":
            for url in (self.url, *self.replicas):
                parts = urlsplit(url)
                if parts.scheme not in ("http", "https") or not parts.hostname:
                    raise ValueError("an http server has an http(s) url, and so has each replica")
            if self.command or self.args or self.env or self.cwd or self.instances > 1:
                raise ValueError("an http server has no command, args, env, cwd or instances")
        return self


def first_party(settings: Settings) -> list[ServerSpec]:
    """The servers that ship with Chimera, run over stdio in a minimal environment.

    Raises:
        SettingsInvalid: ``settings.home`` holds a variable that was never replaced.
    """
    if REFERENCE.search(str(settings.home)):
        raise SettingsInvalid("home: a path must not hold ${...}; nothing replaces it")
    passed = {name: value for name in (*_NETWORK, *_PLACE) if "${" not in (value := os.environ.get(name, "${"))}
    env = {
        "CHIMERA_ARTIFACTS": str(settings.home.absolute() / "artifacts"),
        "CHIMERA_FEED_MAX_BYTES": str(settings.feed_max_bytes),
        **passed,
    }
    # -P keeps the working folder, where anything may lie, off the import path.
    return [
        ServerSpec(
            name=name,
            transport="stdio",
            command=sys.executable,
            args=["-P", "-m", f"chimera.tools.servers.{name}"],
            env={key: SecretStr(value) for key, value in env.items()},
        )
        for name in FIRST_PARTY
    ]


class _OAuth(BaseModel):
    """Client credentials; values may hold ``${NAME}``, as everywhere in the file."""

    model_config = ConfigDict(extra="forbid")

    token_url: str
    client_id: str
    client_secret: str
    scopes: list[str] = Field(default_factory=list)


_Named = Literal["stdio", "http", "streamable-http", "streamable_http", "sse"]


class _Entry(BaseModel):
    """One value of ``mcpServers``, as Claude and other MCP clients write it."""

    model_config = ConfigDict(extra="forbid")

    type: _Named | None = None
    transport: _Named | None = None
    description: str = ""
    disabled: bool = False
    command: str = ""
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str | None = None
    url: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    replicas: list[str] = Field(default_factory=list)
    instances: int = 1
    quota: Quota = Quota()
    cache_s: float = 0
    fallbacks: list[str] = Field(default_factory=list)
    oauth: _OAuth | None = None


class _Config(BaseModel):
    mcpServers: dict[str, _Entry]  # noqa: N815 - the name that the format has


def configured(settings: Settings, environ: Mapping[str, str] | None = None) -> list[ServerSpec]:
    """The servers of the JSON file that ``settings.servers`` names; none without it.

    ``${NAME}`` and ``${NAME:-default}`` in any value are replaced from ``environ`` (default: the process's), so that
    the file needs no secret in it. A relative ``cwd`` starts at the file's folder.

    Raises:
        SettingsInvalid: the file cannot be read, an entry is wrong, a variable is not set, or a name is taken.
    """
    if settings.servers is None:
        return []
    path = settings.servers.expanduser()
    config = _read(path)
    known = os.environ if environ is None else environ
    specs: list[ServerSpec] = []
    for name, entry in config.mcpServers.items():
        if name in (*FIRST_PARTY, OURSELVES):
            raise SettingsInvalid(f"{path}: {name} is a server of Chimera itself; choose another name")
        if not re.fullmatch(NAME[1:-1], name):
            raise SettingsInvalid(
                f"{path}: server name {name[:60]!r} must be 1-40 lower-case letters, digits and hyphens"
            )
        if not entry.disabled:
            specs.append(_spec(path, name, entry, known))
    return specs


def _read(path: Path) -> _Config:
    try:
        if path.stat().st_size > CONFIG_MAX_BYTES:
            raise SettingsInvalid(f"servers: {path} is larger than {CONFIG_MAX_BYTES:,} bytes")
        return _Config.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise SettingsInvalid(f"servers: {path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        raise SettingsInvalid(f"servers: {path}: {first_problem(error)}") from None  # the cause would show values
    except (ValueError, RecursionError):
        raise SettingsInvalid(f"servers: {path} is not JSON") from None


def _spec(path: Path, name: str, entry: _Entry, known: Mapping[str, str]) -> ServerSpec:
    def fill(text: str) -> str:
        def value(match: re.Match[str]) -> str:
            found = known.get(match[1]) or match[2]
            if found is None:
                raise SettingsInvalid(
                    f"{path}: server {name} needs the environment variable {match[1]}, which is not set"
                )
            return found

        return REFERENCE.sub(value, text)

    named = entry.type or entry.transport
    stdio = named == "stdio" if named else not entry.url
    oauth = entry.oauth and {
        **entry.oauth.model_dump(),
        **{key: fill(getattr(entry.oauth, key)) for key in ("token_url", "client_id", "client_secret")},
    }
    fields: dict[str, Any] = {
        "name": name,
        "transport": "stdio" if stdio else "sse" if named == "sse" else "http",
        "command": fill(entry.command),
        "args": [fill(item) for item in entry.args],
        "env": {key: fill(item) for key, item in entry.env.items()},
        "cwd": path.absolute().parent / fill(entry.cwd) if entry.cwd else None,
        "url": fill(entry.url),
        "headers": {key: fill(item) for key, item in entry.headers.items()},
        "replicas": [fill(url) for url in entry.replicas],
        "instances": entry.instances,
        "quota": entry.quota,
        "cache_s": entry.cache_s,
        "fallbacks": entry.fallbacks,
        "oauth": oauth,
    }
    try:
        return ServerSpec.model_validate(fields)
    except ValidationError as error:
        raise SettingsInvalid(f"{path}: server {name}: {first_problem(error)}") from None  # the cause would show values
