"""What the operator declares about a tool: the only place that roles come from. A name claims nothing."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from chimera.core.errors import PolicyInvalid


class Role(StrEnum):
    """What calling a tool does."""

    READ = "read"
    EFFECT = "effect"
    OUTBOUND_READ = "outbound_read"
    """Reads from a place that the caller names, and thereby tells that place something."""


class Severity(StrEnum):
    """What is lost if an effect was not meant."""

    NONE = "none"
    MONEY = "money"
    DISCLOSURE = "disclosure"
    DESTRUCTION = "destruction"
    PUBLICATION = "publication"
    RIGHTS = "rights"
    PRIVATE = "private"
    """Concerns the user alone, and can be undone."""


class Kind(StrEnum):
    """What an argument, or a field of a result, holds."""

    PAYEE = "payee"
    ADDRESS = "address"
    MEMBER = "member"
    CHANNEL = "channel"
    NEWCOMER = "newcomer"
    """The name of somebody whom the system does not know yet."""
    URL_READ = "url_read"
    URL_WRITE = "url_write"
    SECRET = "secret"  # noqa: S105 - the name of a kind
    OBJECT = "object"
    """The id of something that exists."""
    CHOICE = "choice"
    """One of the things that a search has listed."""
    AMOUNT = "amount"
    PROFILE = "profile"
    DATE = "date"
    NAME = "name"
    """What a thing is called: title, subject, file name, a contact's name."""
    MEASURE = "measure"
    TEXT = "text"
    FREE = "free"
    """Counts, switches and choices of the tool's own; not checked."""


class Shape(StrEnum):
    """What a tool gives back."""

    TEXT = "text"
    RECORDS = "records"
    VALUES = "values"
    KEYED = "keyed"
    """A mapping from names of things to what is known about them."""
    LISTING = "listing"
    """A text with the name of one thing a line."""


@dataclass(frozen=True)
class LookUp:
    """A read without effect that the guard may do itself; ``$value`` stands for the value in question."""

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Argument:
    """What one argument holds, and where the guard may look it up."""

    kind: Kind
    look_ups: tuple[LookUp, ...] = ()
    key: str = ""
    """The field in which the value stands, if the argument is a list of mappings."""


@dataclass(frozen=True)
class Manifest:
    """One tool."""

    tool: str
    role: Role
    severity: Severity = Severity.NONE
    severity_with: Mapping[str, Severity] = field(default_factory=dict[str, Severity])
    """A higher severity if an argument is given: an event is private until somebody is invited."""
    arguments: Mapping[str, Argument] = field(default_factory=dict[str, Argument])
    fallback: Kind | None = None
    """The kind of an argument that is not declared; None refuses it unless the user named the value."""
    shape: Shape = Shape.TEXT
    of: str = ""
    """What the records are: ``transaction``, ``event``."""
    fields: Mapping[str, Kind] = field(default_factory=dict[str, Kind])
    keeps: Kind = Kind.TEXT
    """The kind of the values of a list, or of the keys of a mapping."""
    own: bool = False
    """The user's own data: contacts, profile, sent items."""
    own_when: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Records are his own if a field has one of these values; ``$own`` is any value of his profile."""
    locator: str = ""
    """The argument that says which one resource is read; its text then counts as named by the user."""
    container: str = ""
    """The argument that says whose messages are read."""
    server: str = ""
    peer: str = ""

    def argument(self, name: str) -> Argument:
        """What is known about an argument; the cautious answer if it was not declared."""
        return self.arguments.get(name) or Argument(self.fallback or Kind.SECRET)

    def harm(self, arguments: Mapping[str, Any]) -> Severity:
        """How severe a call with these arguments is."""
        for name, severity in self.severity_with.items():
            if arguments.get(name):
                return severity
        return self.severity


def undeclared(tool: str, *, read_only: bool, server: str = "") -> Manifest:
    """The cautious manifest of a tool that nobody declared.

    If its server says that it only reads, it may be read with anything, and its result is text. Otherwise it has an
    effect, and every argument must come from the user or from a typed field of what he pointed to.
    """
    if read_only:
        return Manifest(tool, Role.READ, fallback=Kind.FREE, server=server)
    return Manifest(tool, Role.EFFECT, severity=Severity.DISCLOSURE, fallback=None, server=server)


def read_manifests(text: str) -> dict[str, Manifest]:
    """The manifests of a TOML file, by tool.

    Raises:
        PolicyInvalid: the file has a mistake; nothing of it is used.
    """
    try:
        tables = tomllib.loads(text).get("tools", {})
        return {name: _manifest(name, table) for name, table in tables.items()}
    except (tomllib.TOMLDecodeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PolicyInvalid(f"tool manifests: {error}") from error


def _manifest(name: str, table: dict[str, Any]) -> Manifest:
    known = set(Manifest.__dataclass_fields__) - {"tool", "fallback"}
    if unknown := set(table) - known:
        raise ValueError(f"{name}: unknown entries {sorted(unknown)}")
    plain = {key: table[key] for key in ("of", "own", "locator", "container", "server", "peer") if key in table}
    return Manifest(
        name,
        Role(table["role"]),
        Severity(table.get("severity", "none")),
        {key: Severity(value) for key, value in table.get("severity_with", {}).items()},
        {key: _argument(value) for key, value in table.get("arguments", {}).items()},
        None if Role(table["role"]) != Role.READ else Kind.FREE,
        Shape(table.get("shape", "text")),
        fields={key: Kind(value) for key, value in table.get("fields", {}).items()},
        keeps=Kind(table.get("keeps", "text")),
        own_when={key: tuple(value) for key, value in table.get("own_when", {}).items()},
        **plain,
    )


def _argument(value: str | dict[str, Any]) -> Argument:
    if isinstance(value, str):
        return Argument(Kind(value))
    look_ups = tuple(LookUp(one["tool"], one.get("arguments", {})) for one in value.get("look_ups", []))
    return Argument(Kind(value["kind"]), look_ups, value.get("key", ""))
