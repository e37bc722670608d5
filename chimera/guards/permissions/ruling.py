"""The answer to a question about permissions, and what can give one."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from chimera.guards.permissions.values import Entity

_NONE: tuple[str, ...] = ()


class Ruling(NamedTuple):
    """An answer, with what it rests on. True in a condition only when it allows.

    ``policies``: the ids of the forbids that hold, or else of the permits; ``faulty``: of those that had no value for
    the request. ``reason`` names why it is denied, ``grant`` the grant that allows it. ``engine``: ``native``,
    ``cedar`` where a policy was left to Cedar, ``none`` when it did not come to the policies.
    """

    allowed: bool
    policies: tuple[str, ...] = _NONE
    faulty: tuple[str, ...] = _NONE
    reason: str = ""
    engine: str = "native"
    grant: str = ""

    def __bool__(self) -> bool:
        return self.allowed

    @property
    def action(self) -> Literal["allow", "reject"]:
        """The same in the word of a guard's decision."""
        return "allow" if self.allowed else "reject"

    @staticmethod
    def of(forbids: Sequence[str], permits: Sequence[str], faulty: Sequence[str], engine: str = "native") -> "Ruling":
        """Cedar's rule: a forbid that holds denies, else a permit that holds allows, else it is denied."""
        if forbids:
            return Ruling(False, tuple(forbids), tuple(faulty), "forbidden", engine)
        return Ruling(bool(permits), tuple(permits), tuple(faulty), "" if permits else "no-policy", engine)


UNREADABLE = "unreadable-request"
"""The reason for what Cedar could not be asked: a value that it cannot read, or entities that are in each other."""


class Engine(Protocol):
    """What can answer a request."""

    def decide(self, principal: Entity, action: str, resource: Entity, context: Mapping[str, Any]) -> Ruling:
        """Cedar's answer: a forbid that holds denies, else a permit that holds allows, else it is denied."""
        ...
