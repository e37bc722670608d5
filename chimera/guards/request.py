"""What a guard is asked, and what a guard is."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol, cast

from chimera.core.contracts import Decision, Mission, Task, Threat
from chimera.core.ids import digest
from chimera.tools.capability import Capability

_WRITE = json.JSONEncoder(sort_keys=True, default=str).encode


class Edge(StrEnum):
    """The guarded hops."""

    INTAKE = "intake"
    MODEL_INPUT = "model_input"
    TOOL_CALL = "tool_call"
    TOOL_RESULT = "tool_result"
    AGENT_MESSAGE = "agent_message"
    PAYMENT = "payment"
    PUBLISH = "publish"
    OUTPUT = "output"


@dataclass(frozen=True)
class Seen:
    """Something untrusted that an agent has read: the result of a call, or what another agent said."""

    text: str
    capability: Capability | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    said_by: str = ""


@dataclass(frozen=True)
class Made:
    """What a task has had of a tool before a call of it.

    ``now``: the arguments of the calls of this attempt that went out, or that come before it in the same turn.
    ``before``: the seals (:func:`sealed`) of the effects that earlier attempts had, and plans before this one.
    """

    now: Sequence[Mapping[str, Any]] = ()
    before: frozenset[str] = frozenset()


@dataclass(frozen=True)
class GuardRequest:
    """One thing that wants to pass an edge.

    ``payload`` is what passes (``{"goal": ...}``, tool arguments, a tool result, an answer); an edit replaces it.
    ``mission`` is the trusted request of the user. ``task`` and ``capability`` are set at the tool edges.
    ``seen`` is all that the agent has read before, ``made`` what its task has done. ``agent_id`` is who asks, as the
    gateway was told by its caller and never by the payload; ``pool`` is where it works.
    """

    edge: Edge
    payload: Mapping[str, Any]
    mission_id: str | None = None
    mission: Mission | None = None
    task: Task | None = None
    capability: Capability | None = None
    agent_id: str = ""
    pool: str = "default"
    role: str = "worker"
    seen: Sequence[Seen] = ()
    made: Made = Made()
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def asked_by(self, agent_id: str, pool: str | None = None) -> "GuardRequest":
        """The same request, asked by this agent, in this pool if one is given; nothing is known of its payload yet."""
        # What ``dataclasses.replace`` would make, at a fifth of the cost: everything that passes an edge pays for it.
        asked = object.__new__(GuardRequest)
        held = vars(asked)
        held.update(vars(self), agent_id=agent_id, pool=pool or self.pool)
        for name in _LOOKED_UP:
            held.pop(name, None)
        return asked

    @cached_property
    def texts(self) -> Sequence[str]:
        """Every string of the payload, names included, in order: walked once for all guards that look at them."""
        return texts(self.payload)

    @cached_property
    def characters(self) -> int:
        """How many characters the strings of the payload have together."""
        return sum(map(len, self.texts))

    @cached_property
    def written(self) -> str:
        """The payload as JSON in ASCII, names in order.

        Raises:
            TypeError, ValueError, RecursionError: it is too odd or too deep to be written down.
        """
        return _WRITE(self.payload)

    @property
    def size(self) -> int:
        """The bytes of the payload as JSON in UTF-8."""
        return len(self.written) if "\\u" not in self.written else json_bytes(self.payload)

    @property
    def principal(self) -> str:
        """Who asks, in the directory of principals: a place in a mission is another agent in each mission."""
        return f"{self.mission_id} {self.agent_id}" if self.mission_id and "/" in self.agent_id else self.agent_id


_LOOKED_UP = tuple(name for name, part in vars(GuardRequest).items() if isinstance(part, cached_property))


def json_bytes(value: Any) -> int:
    """The bytes of plain data as JSON in UTF-8."""
    return len(json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace"))


def texts(value: Any) -> list[str]:
    """Every string inside plain data, keys included, in order."""
    found: list[str] = []
    _collect(value, found)
    return found


def _collect(value: Any, found: list[str]) -> None:
    kind = type(value)
    if kind is str:
        found.append(value)
    elif kind is dict:  # as nearly all are: to ask for an abstract type takes longer than the rest
        for key, item in value.items():
            found.append(key)  # one that is no string breaks the guard that looks at it, which then rejects
            _collect(item, found)
    elif kind is list:
        for item in value:
            _collect(item, found)
    elif isinstance(value, str):
        found.append(value)
    elif isinstance(value, Mapping):
        _collect(dict(cast("Mapping[Any, Any]", value)), found)
    elif isinstance(value, list | tuple):
        _collect(list(cast("Sequence[Any]", value)), found)


def sealed(tool: str, arguments: Mapping[str, Any]) -> str:
    """The fingerprint of one exact call: what a decision, an approval and an effect are tied to."""
    return digest(json.dumps([tool, dict(arguments)], sort_keys=True, default=str))


class Guard(Protocol):
    """One rule. It answers None when it has nothing to say about a request."""

    rule: str

    async def check(self, request: GuardRequest) -> Decision | None:
        """Decide about one request. An exception counts as a rejection."""
        ...


def reject(rule: str, reason: str, threat: Threat = Threat.LOW) -> Decision:
    """A rejection by ``rule``."""
    return Decision(action="reject", threat=threat, reasons=[reason], rules=[rule])
