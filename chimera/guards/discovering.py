"""What guards say before a tool is shown to whoever looks for one: may he call it, and do its texts give orders."""

from collections.abc import Sequence

from chimera.core.contracts import Mission, Threat
from chimera.core.ids import digest
from chimera.guards.injection.detector import InjectionDetector
from chimera.guards.permissions.directory import Directory, Kind
from chimera.guards.permissions.permitted import Permitted
from chimera.guards.request import Edge, GuardRequest
from chimera.tools.capability import Capability, Requester

SUSPICIOUS = 1
"""The level from which a description is not read. The lowest: an honest one that is marked loses little."""
BATCH = 64
_ENOUGH = 2**31
_NOBODY = "agent:discovery"


class MayCall:
    """Asks the permissions, as the edge of tool calls will, for an agent with budget left and under no threat."""

    def __init__(self, permitted: Permitted, directory: Directory) -> None:
        self._permitted = permitted
        self._directory = directory

    async def __call__(self, tool: Capability, requester: Requester, scope: str) -> bool:
        """Whether somebody may call a tool for the mission ``scope``."""
        request = GuardRequest(
            edge=Edge.TOOL_CALL,
            payload={},
            mission_id=scope or None,
            mission=Mission(goal="find a tool", tenant=requester.tenant),
            capability=tool,
            agent_id=requester.agent or _NOBODY,
            notes={"budget_left": _ENOUGH, "threat": Threat.NONE},
        )
        principal = request.principal
        if not principal.partition(" ")[2].startswith("agent:") and not principal.startswith("agent:"):
            return await self._permitted.check(request) is None
        if self._directory.find(principal) is not None:  # it is at work
            return await self._permitted.check(request) is None
        with self._directory.enrolled(Kind.AGENT, principal, ["worker"], tenant=requester.tenant):
            return await self._permitted.check(request) is None


class ToolTexts:
    """The injection filter as tool search asks it."""

    def __init__(self, detector: InjectionDetector | None = None) -> None:
        self._detector = detector or InjectionDetector()
        self._name = ""

    @property
    def name(self) -> str:
        """The filter with its weights, as what was screened remembers it."""
        if not self._name:
            self._name = f"injection {digest(self._detector.weights.packed().hex())[:16]} {SUSPICIOUS}"
        return self._name

    def suspicious_among(self, texts: Sequence[str]) -> list[bool]:
        """Which of the texts are suspicious."""
        found: list[bool] = []
        for start in range(0, len(texts), BATCH):
            found += [one.level >= SUSPICIOUS for one in self._detector.score_many(texts[start : start + BATCH])]
        return found
