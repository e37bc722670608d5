"""The guard ``injection.scan``: marks what looks like an injection, for the review queue and the flow guard.

It is never the only control. A mark does not stop a tool result or a message: what untrusted text may do is decided by
permissions, plan and provenance. Only a goal that looks like an attack goes to a human before anything starts.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol, cast

from langgraph.errors import GraphBubbleUp

from chimera.core.contracts import Decision, Threat
from chimera.core.tasks import together
from chimera.guards.injection.batching import BatchedDetector
from chimera.guards.injection.detector import Finding, InjectionDetector
from chimera.guards.injection.readings import readings
from chimera.guards.request import Edge, GuardRequest

OPINION_DEADLINE_S = 3.0
THREATS = (Threat.NONE, Threat.LOW, Threat.MEDIUM, Threat.HIGH)
"""What a finding's level means."""


class SecondOpinion(Protocol):
    """Another judge of the same text, such as a model. It can make a finding stricter and never milder."""

    async def opinion(self, text: str, finding: Finding) -> float:
        """The risk, 0..1, that ``text`` is an injection. ``text`` is data: nothing in it may be followed."""
        ...


class InjectionScan:
    """Scores the texts of a payload and says what it found; see the module for what follows from it."""

    rule = "injection.scan"

    def __init__(
        self,
        detector: InjectionDetector | None = None,
        second: SecondOpinion | None = None,
        opinion_deadline_s: float = OPINION_DEADLINE_S,
    ) -> None:
        self._detector = BatchedDetector(detector or InjectionDetector())
        self._second = second
        self._deadline_s = opinion_deadline_s

    async def check(self, request: GuardRequest) -> Decision | None:
        """Mark a suspicious payload; escalate a goal that is very probably an attack. None: nothing suspicious."""
        looked = [text for part in _looked_at(request) for text in readings(part)]
        if not looked:
            return None
        if len(looked) == 1:  # the usual case, without tasks
            finding = await self.finding(looked[0])
        else:
            finding = max(await together(self.finding(text) for text in looked), key=lambda one: one.risk)
        if not finding.level:
            return None
        very_high = finding.level == len(THREATS) - 1
        where = [f"{why}: characters {start} to {end}" for start, end, why in finding.spans]
        return Decision(
            action="escalate" if very_high and request.edge is Edge.INTAKE else "allow",
            threat=THREATS[finding.level],
            reasons=[f"looks like an injected instruction, risk {finding.risk:.2f}", *where],
            rules=[self.rule, *(f"injection.{rule}" for rule in finding.rules)],
        )

    async def finding(self, text: str) -> Finding:
        """The finding on a text, with the second opinion where one is set up."""
        found = await self._detector.score(text)
        return found if self._second is None else await self._stricter(text, found, self._second)

    async def _stricter(self, text: str, found: Finding, second: SecondOpinion) -> Finding:
        try:
            async with asyncio.timeout(self._deadline_s):
                risk = float(await second.opinion(text, found))
        except GraphBubbleUp:
            raise
        except Exception:  # noqa: BLE001 - an opinion that cannot be had changes nothing
            return found
        if not found.risk < risk <= 1.0:
            return found
        level = max(found.level, sum(1 for mark in self._detector.detector.weights.marks if risk >= mark))
        return Finding(risk, (*found.spans, (0, len(text), "a second opinion")), found.rules, level)


def _looked_at(request: GuardRequest) -> Iterator[GuardRequest]:
    """What is read as one; of a request to a model, what others wrote, message by message.

    A conversation is sent again with each turn: so only what is new in it costs anything, as a text is scored once.
    """
    if request.edge is not Edge.MODEL_INPUT:
        yield request
        return
    for message in cast("list[Mapping[str, Any]]", request.payload.get("messages", [])):
        if message["from"] not in ("system", "ai"):
            yield replace(request, payload={"data": message.get("data", message.get("text"))})
    for tool in cast("list[Any]", request.payload.get("tools", [])):
        yield replace(request, payload={"data": tool})
