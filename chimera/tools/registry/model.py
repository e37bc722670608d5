"""A tool server as the registry keeps it: how to reach one version of it, with names of secrets and never a value."""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from chimera.core.contracts import Contract
from chimera.core.money import Money
from chimera.tools.mesh.servers import NAME
from chimera.tools.registry.secrets import address_problem, argument_problem, value_problem

VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"
_EXACT = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+!_-]{0,79}")
_UNPINNED = ("latest", "next", "beta", "main", "master", "stable", "unknown")
CATEGORIES = ("social", "content", "data", "commerce", "general")
"""The services that missions ask for: channels, making things, knowing things, money, and everything else."""

Risk = Literal["low", "medium", "high"]
Transport = Literal["stdio", "http", "sse"]


def exact(version: str) -> str:
    """A version that always means the same package.

    Raises:
        ValueError: it is a range, or a name that moves.
    """
    if version.lower() in _UNPINNED or not _EXACT.fullmatch(version) or version.lower().endswith((".x", ".*")):
        raise ValueError(f"{version[:40]!r} is not an exact version")
    return version


def _safe(argument: str) -> str:
    if (why := argument_problem(argument)) is not None:
        raise ValueError(why)
    return argument


def _clean(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an endpoint is an http(s) URL")
    if (why := address_problem(address)) is not None:
        raise ValueError(why)
    return address


Version = Annotated[str, AfterValidator(exact)]
Argument = Annotated[str, AfterValidator(_safe)]
Endpoint = Annotated[str, AfterValidator(_clean)]


class Package(Contract):
    """What is run, at one version, in an environment of its own: servers need mcp versions that exclude each other."""

    registry: Literal["pypi", "npm", "oci"]
    name: str = Field(min_length=1, max_length=214, pattern=r"^[@A-Za-z0-9][@A-Za-z0-9._/:-]*$")
    version: Version
    program: str = Field(default="", max_length=100, description="where it is not called like the package")
    beside: list[str] = Field(default_factory=list, description="pypi: further requirements, such as mcp<2")

    def command(self) -> list[str]:
        """The command that runs it: uvx, npx or docker, with the exact version."""
        match self.registry:
            case "pypi":
                more = [part for requirement in self.beside for part in ("--with", requirement)]
                return ["uvx", "--from", f"{self.name}=={self.version}", *more, self.program or self.name]
            case "npm" if self.program:
                return ["npx", "-y", "-p", f"{self.name}@{self.version}", self.program]
            case "npm":
                return ["npx", "-y", f"{self.name}@{self.version}"]
            case "oci":
                joint = "@sha256:" if re.fullmatch(r"[0-9a-f]{64}", self.version) else ":"
                return ["docker", "run", "-i", "--rm", f"{self.name}{joint}{self.version}"]


class Variable(Contract):
    """One variable of a server's environment, or one header: its name, and where its value comes from."""

    name: str = Field(min_length=1, max_length=100)
    value: str = Field(default="", max_length=2_000, description="what is no secret; ${NAME} stands for a variable")
    required: bool = True
    secret: bool = False

    @model_validator(mode="after")
    def _holds_no_secret(self) -> "Variable":
        if (why := value_problem(self.name, self.value, secret=self.secret)) is not None:
            raise ValueError(why)
        return self


class Auth(Contract):
    """How a server knows who asks. Secrets are given as names of environment variables."""

    kind: Literal["none", "header", "bearer", "oauth"] = "none"
    header: str = Field(default="", pattern=r"^[A-Za-z0-9-]{0,80}$")
    secret: str = Field(default="", pattern=rf"{VARIABLE}|^$", description="variable of the token or header's value")
    token_url: str = Field(default="", description="oauth: where client credentials get a token (OAuth 2.1)")
    client_id: str = Field(default="", pattern=rf"{VARIABLE}|^$", description="variable of the client's id")
    client_secret: str = Field(default="", pattern=rf"{VARIABLE}|^$", description="variable of the client's secret")
    scopes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _is_whole(self) -> "Auth":
        needs = {
            "none": (),
            "header": (self.header, self.secret),
            "bearer": (self.secret,),
            "oauth": (self.token_url, self.client_id, self.client_secret),
        }[self.kind]
        if not all(needs):
            raise ValueError(f"the authorisation {self.kind} lacks a part")
        return self

    def names(self) -> list[str]:
        """The variables that it needs."""
        return [name for name in (self.secret, self.client_id, self.client_secret) if name]


class Offer(Contract):
    """One thing that a server offers, as somebody says who listed it; what it says itself counts once it runs."""

    kind: Literal["tool", "resource", "prompt"] = "tool"
    name: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=4_000)
    input_schema: dict[str, Any] = Field(default_factory=dict)
    output_schema: dict[str, Any] | None = None
    read_only: bool = False
    idempotent: bool = False
    destructive: bool = True
    risk: Risk | None = None
    cost: Money | None = None


class Origin(Contract):
    """Who listed a server, and when: so that what is said of it can be looked up."""

    source: str = Field(min_length=1, max_length=300)
    date: str = Field(default="", pattern=r"^(\d{4}-\d{2}-\d{2})?$")


class ServerEntry(Contract):
    """One version of one tool server."""

    name: str = Field(pattern=NAME, description="prefix of its tools")
    version: Version
    title: str = Field(default="", max_length=200)
    description: str = Field(default="", max_length=1_000)
    category: Literal["social", "content", "data", "commerce", "general"] = "general"
    transport: Transport
    package: Package | None = None
    command: str = ""
    args: list[Argument] = Field(default_factory=list)
    env: list[Variable] = Field(default_factory=list[Variable])
    urls: list[Endpoint] = Field(default_factory=list, max_length=64, description="replicas that answer alike")
    headers: list[Variable] = Field(default_factory=list[Variable])
    auth: Auth = Auth()
    cost: Money | None = Field(default=None, description="of one call, where a tool has none of its own")
    risk: Risk = "medium"
    licence: str = Field(default="", max_length=100)
    offers: list[Offer] = Field(default_factory=list[Offer])
    origin: Origin

    @model_validator(mode="after")
    def _is_whole(self) -> "ServerEntry":
        stdio = self.transport == "stdio"
        if stdio and (self.urls or self.headers or not (self.package or self.command)):
            raise ValueError("a stdio server has a package or a command, and neither endpoints nor headers")
        if not stdio and (not self.urls or self.package or self.command or self.args or self.env):
            raise ValueError(f"a server over {self.transport} has endpoints, and neither package, command nor env")
        if stdio and self.auth.kind != "none":
            raise ValueError("a stdio server gets its secrets as variables")
        return self

    @property
    def identity(self) -> str:
        """Where it comes from, whatever it is called here and whichever version it is: pins hold for this."""
        if self.package is not None:
            return f"{self.package.registry}:{self.package.name.lower()}"
        if self.urls:
            parts = urlsplit(self.urls[0])
            return f"url:{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"
        return f"command:{' '.join([self.command, *self.args])}"

    def names(self) -> list[str]:
        """The environment variables that it needs to be set where Chimera runs."""
        own = [item.name for item in self.env if item.required and not item.value]
        named = [found for item in (*self.env, *self.headers) for found in re.findall(r"\$\{(\w+)", item.value)]
        return sorted({*own, *named, *self.auth.names()})
