"""Who sees the boards: what goes on in a tenant is for its people, what goes on in the installation for who runs it."""

from chimera.core.errors import GuardRejected
from chimera.guards.permissions.first import OPERATOR
from chimera.server.pages.shell import Section
from chimera.server.pages.visitors import Visitor

WATCH = frozenset({OPERATOR, "security-officer", "auditor"})
MONEY = WATCH | {"reviewer"}
INSTALLATION = "default"
"""The tenant of those who run the installation."""


def require_shown(section: Section, known: Visitor) -> None:
    """Let somebody see a board whom its entry in the navigation is shown to.

    Raises:
        GuardRejected: it is not.
    """
    if not section.shown_to(known):
        roles = ", ".join(sorted(section.roles))
        whose = f" of the tenant {section.tenant}" if section.tenant else ""
        raise GuardRejected(f"this page is for people{whose} who are {roles}", remedy="Ask an operator for the role.")


def whole_number(given: str | None) -> int | None:
    """A positive number that the address of a page names; None where it names none."""
    return int(given) if given and given.isascii() and given.isdigit() and len(given) < 16 else None
