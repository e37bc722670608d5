"""The guard that asks the permissions about every tool call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from chimera.core.clock import Clock
from chimera.core.contracts import Decision, Threat
from chimera.guards.permissions.authorizer import Authorizer
from chimera.guards.permissions.ruling import Ruling
from chimera.guards.permissions.values import Entity, Uid
from chimera.guards.request import GuardRequest, reject
from chimera.store.grants import Grant
from chimera.tools.capability import Capability

_CAPABILITIES_KEPT = 50_000
_GRAVE = {"unknown-principal": Threat.HIGH, "forged-role": Threat.HIGH, "not-for-this-kind": Threat.HIGH}


@dataclass(frozen=True)
class Standing:
    """How an agent stands at this moment: tokens left of its mission's budget, and the threat that it is under."""

    budget_left: int
    threat: Threat


Look = Callable[[GuardRequest], Standing | None]
"""How the agent of a request stands, from memory; None when that is not known."""


class HeldGrants(Protocol):
    """What knows the grants; the table of grants is one."""

    async def held(self, principal: str, action: str, resource: tuple[str, str], tenant: str) -> list[Grant]:
        """What a principal was given for exactly this, those that are over too."""
        ...


def noted(request: GuardRequest) -> Standing | None:
    """The standing that the step which asks has noted as ``budget_left`` and ``threat``."""
    left, threat = request.notes.get("budget_left"), request.notes.get("threat")
    if type(left) is not int or threat not in list(Threat):
        return None
    return Standing(left, Threat(threat))


class Looks(Protocol):
    """What looks up who is enrolled."""

    async def look(self, tenant: str, name: str) -> Entity | None:
        """Somebody of a tenant, as the table has had it within the last second."""
        ...


class Permitted:
    """The agent of a request may call the tool: by its role in the directory, or by a grant. Default deny.

    The role that a request names gives nothing; one that the directory does not know denies. Grants are read from the
    database, and only where no policy says anything: one that was revoked elsewhere no longer counts here.
    """

    rule = "permission.role"

    def __init__(
        self,
        authorizer: Authorizer,
        grants: HeldGrants,
        clock: Clock,
        look: Look = noted,
        people: Looks | None = None,
    ) -> None:
        self._authorizer = authorizer
        self._people = people
        self._grants = grants
        self._clock = clock
        self._look = look
        self._resources: dict[tuple[str, bool, bool, str], Entity] = {}

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject what neither a policy nor a grant permits."""
        tool = request.capability
        if tool is None or request.mission is None:
            return reject(self.rule, "no such tool, or no mission that it would be called for", Threat.MEDIUM)
        standing = self._look(request)
        if standing is None:
            return reject(self.rule, "nothing says what is left of the budget, or what the threat is", Threat.MEDIUM)
        action = "tool.call" if tool.read_only else "tool.effect"
        resource, tenant = self._resource(tool), request.mission.tenant
        context = {
            "tenant": tenant,
            "hour": self._clock.now().hour,
            "threat": standing.threat.value,
            "budget_left": standing.budget_left,
        }

        def ask(grants: Sequence[Grant] = ()) -> Ruling:
            return self._authorizer.allowed(
                request.principal, action, resource, context, claimed_role=request.role, grants=grants
            )

        ruling = ask()
        if ruling.reason == "unknown-principal" and self._people is not None:  # no agent: a service, or a peer
            await self._people.look(tenant, request.principal)
            ruling = ask()
        if ruling.reason == "no-policy":
            ruling = ask(await self._grants.held(request.principal, action, ("Capability", tool.name), tenant))
        if ruling:
            return None
        why = ruling.reason + (f" ({', '.join(ruling.policies)})" if ruling.policies else "")
        threat = _GRAVE.get(ruling.reason, Threat.MEDIUM)
        return reject(self.rule, f"{action} with {tool.name} is not permitted: {why}", threat)

    def _resource(self, tool: Capability) -> Entity:
        key = (tool.name, tool.read_only, tool.destructive, tool.server)
        found = self._resources.get(key)
        if found is None:
            if len(self._resources) >= _CAPABILITIES_KEPT:
                self._resources.clear()
            attributes = {"read_only": tool.read_only, "destructive": tool.destructive, "server": tool.server}
            found = self._resources[key] = Entity(Uid("Capability", tool.name), attributes)
        return found
