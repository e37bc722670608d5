"""Where a value comes from, and how far that is to be trusted."""

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """How much a value may decide, from nothing to everything that the user's own words may."""

    UNTRUSTED = 0
    """Found in free text, or nowhere."""
    OBSERVED = 1
    """A typed field of some record."""
    DESIGNATED_TEXT = 2
    """In the free text of the one resource that the user named."""
    DESIGNATED = 3
    """A typed field of a record that the request points to."""
    OWN = 4
    """The user's own data: contacts, profile, what he made himself."""
    USER = 5
    """In the request, as a whole token."""


@dataclass(frozen=True)
class Origin:
    """Who brought a value: the principal, and the tool, server, peer and field that it came through."""

    principal: str
    tool: str = ""
    server: str = ""
    peer: str = ""
    field: str = ""

    @property
    def place(self) -> str:
        """One word for reasons and audit: ``server/tool:field``."""
        return "/".join(part for part in (self.peer, self.server, self.tool) if part) + (
            f":{self.field}" if self.field else ""
        )


USER_ORIGIN = Origin("user")
NOWHERE = Origin("unknown")


@dataclass(frozen=True)
class Label:
    """What is known about one value."""

    level: Level
    origin: Origin = NOWHERE
    kind: str = "text"
    """The kind of thing that the operator says the field holds."""
