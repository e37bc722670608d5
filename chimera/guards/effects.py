"""The only hands: performs a tool call that the gateway let through, once per idempotency key."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from chimera.core.contracts import Decision
from chimera.core.errors import GuardRejected, ToolFailed, ToolRefused, ToolServerDown, ToolUnknown
from chimera.core.seats import away
from chimera.core.timing import spent
from chimera.guards.request import sealed
from chimera.store.effects import EffectJournal
from chimera.tools.capability import NOBODY, Capability, Requester, ToolResult


class ToolCatalog(Protocol):
    """What can list tools. This is what nodes see of them."""

    async def capabilities(self) -> list[Capability]:
        """Every tool that can be called now."""
        ...


class ToolSearch(ToolCatalog, Protocol):
    """What can also find tools. Nothing in it calls one."""

    async def named(self, names: Collection[str]) -> list[Capability]:
        """Those of the tools that can be called now; their servers are started if need be."""
        ...

    async def finder(self) -> Capability | None:
        """The tool with which an agent finds others; None where its planner was shown all there are."""
        ...

    async def suggested(
        self, goal: str, requester: Requester, scope: str, without: Collection[str] = ()
    ) -> list[Capability]:
        """The tools to plan with for a goal of the mission ``scope``."""
        ...


class ToolPort(ToolCatalog, Protocol):
    """What can list and call tools; the MCP mesh is one. Only :class:`Effects` is given it."""

    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        *,
        scope: str,
        idempotency_key: str,
        deadline_s: float | None = None,
        requester: Requester = NOBODY,
    ) -> ToolResult:
        """Call one tool on behalf of the mission ``scope``."""
        ...


class ToolListing:
    """The catalog of a port, without the calling: a node that wants a tool called has to go through the guards."""

    def __init__(self, tools: ToolCatalog, search: ToolSearch | None = None) -> None:
        """``search``: what finds tools, where there is more than a list of them."""
        self._list = tools.capabilities
        self._named = search.named if search else None
        self._finder = search.finder if search else None
        self._suggested = search.suggested if search else None

    async def capabilities(self) -> list[Capability]:
        """Every tool that is known."""
        return await self._list()

    async def named(self, names: Collection[str]) -> list[Capability]:
        """Those of the tools that can be called now; their servers are started if need be."""
        if self._named is not None:
            return await self._named(names)
        return [tool for tool in await self._list() if tool.name in names]

    async def finder(self) -> Capability | None:
        """The tool with which an agent finds others; None where its planner was shown all there are."""
        return await self._finder() if self._finder is not None else None

    async def suggested(
        self, goal: str, requester: Requester, scope: str, without: Collection[str] = ()
    ) -> list[Capability]:
        """The tools to plan with for a goal of the mission ``scope``."""
        if self._suggested is None:
            return await self._list()
        return await self._suggested(goal, requester, scope, without)


@dataclass(frozen=True)
class ApprovedCall:
    """A tool call together with the decision that lets it pass."""

    mission_id: str
    capability: Capability
    arguments: Mapping[str, Any]
    key: str
    decision: Decision
    sealed: str
    requester: Requester = NOBODY

    @staticmethod
    def seal(name: str, arguments: Mapping[str, Any]) -> str:
        """Fingerprint that ties a decision to the exact call that it was made for."""
        return sealed(name, arguments)


class Effects:
    """Performs approved calls. Calls that change something are journaled before they are sent."""

    def __init__(self, tools: ToolPort, journal: EffectJournal) -> None:
        self._tools = tools
        self._journal = journal

    async def perform(self, call: ApprovedCall) -> ToolResult:
        """Make the call, or return the result that the same key had before.

        Raises:
            GuardRejected: the decision does not allow this very call.
            ToolServerDown: the same effect was begun before and its outcome is unknown; it is not repeated.
            ToolFailed: the tool did not give a usable result.
        """
        if not call.decision or call.sealed != ApprovedCall.seal(call.capability.name, call.arguments):
            raise GuardRejected(f"{call.capability.name} was not approved with these arguments")
        if call.capability.read_only:
            return await self._send(call)
        known = await self._journal.begin(call.key, call.mission_id, call.capability.name, call.sealed)
        if known is not None and known["state"] == "done":
            return ToolResult.model_validate(known["result"])
        if known is not None and not call.capability.idempotent:
            raise ToolServerDown(
                f"{call.capability.name} was begun before and its outcome is unknown; it is not repeated",
                remedy="Check at the service whether it happened, then decide on the review item.",
                outcome="unknown",
            )
        try:
            result = await self._send(call)
        except ToolFailed as error:
            # A server that answered with too much, or with something that is no result, may well have done it.
            surely_not = isinstance(error, ToolRefused | ToolUnknown)
            if error.context.setdefault("outcome", "not done" if surely_not else "unknown") == "not done":
                await self._journal.end(call.key, "failed", error.as_dict())
            raise
        await self._journal.end(call.key, "done", result.plain())
        return result

    async def journaled(self, mission_id: str, capability: str) -> dict[str, str]:
        """The effects that a mission has had, or may have had, of a tool: the seal of each call by its key."""
        return await self._journal.of_tool(mission_id, capability)

    async def _send(self, call: ApprovedCall) -> ToolResult:
        async with away():
            with spent("tool"):
                return await self._tools.call(
                    call.capability.name,
                    dict(call.arguments),
                    scope=call.mission_id,
                    idempotency_key=call.key,
                    requester=call.requester,
                )
