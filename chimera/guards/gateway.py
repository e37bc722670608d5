"""The security gateway: an ordered chain of guards at each edge, failing closed, with every decision on the record."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast

from chimera.core.contracts import Decision, Threat
from chimera.core.errors import StoreUnavailable
from chimera.core.ids import digest
from chimera.core.timing import spent
from chimera.guards.incidents import UNKNOWN, Incidents
from chimera.guards.request import Edge, Guard, GuardRequest, reject
from chimera.store.audit import AuditEvent, AuditLog

GUARD_DEADLINE_S = 5.0
_THREATS = list(Threat)


@dataclass(frozen=True)
class Chain:
    """The guards of one edge, in order, and the seconds that they may take together."""

    guards: Sequence[Guard]
    deadline_s: float = GUARD_DEADLINE_S


Chains = Mapping[Edge, Chain]
"""The guards of each edge. An edge that is not there rejects everything.

Hidden characters go first, after the limits: what the other rules look at is what will be used.
"""


class Policies(Protocol):
    """What knows the policy in force."""

    async def chains(self) -> Chains:
        """The guards of every edge, as they are now."""
        ...


class SecurityGateway:
    """Decides about everything that crosses an edge."""

    def __init__(
        self, policies: Policies | Chains, audit: AuditLog, incidents: Incidents | None = None, pool: str | None = None
    ) -> None:
        self._policies = policies
        self._incidents = incidents
        self._audit = audit
        self._pool = pool

    def within(self, pool: str) -> "SecurityGateway":
        """The same gateway for agents that work in a pool of the fleet."""
        return SecurityGateway(self._policies, self._audit, self._incidents, pool)

    async def validate_request(self, agent_id: str, request: GuardRequest | str) -> Decision:
        """Decide about one request of an agent; a plain text is judged as a goal.

        The strictest guard wins, edits are passed on from guard to guard, and a rejection ends the chain. What was
        edited passes the whole chain again. The decision is committed to the audit log before it is returned; when that
        fails, so does this call.

        Raises:
            StoreError: the decision could not be put on the record; or it rests on nothing but that the database was
                away, and whoever asked may ask again.
        """
        if isinstance(request, str):
            request = GuardRequest(edge=Edge.INTAKE, payload={"goal": request})
        with spent("guard"):
            return await self._recorded(agent_id, request.asked_by(agent_id, self._pool))

    async def _recorded(self, agent_id: str, request: GuardRequest) -> Decision:
        decision = await self._decide(request)
        await self._audit.append(
            AuditEvent(
                kind="guard.decision",
                actor=agent_id,
                mission_id=request.mission_id,
                tenant=request.mission.tenant if request.mission else "default",
                data={
                    "edge": request.edge,
                    "action": decision.action,
                    "threat": decision.threat,
                    "rules": decision.rules,
                    "reasons": decision.reasons,
                    "payload": _fingerprint(request),
                    **({"task": request.task.id} if request.task else {}),
                    **({"capability": request.capability.name} if request.capability else {}),
                },
            )
        )
        if self._incidents is not None:
            await self._incidents.opened(decision, request, agent_id)
        if UNKNOWN in decision.rules:
            raise StoreUnavailable(decision.reasons[-1])
        return decision

    async def _decide(self, request: GuardRequest) -> Decision:
        known = self._policies
        chain = (known if isinstance(known, Mapping) else await known.chains()).get(request.edge)
        if chain is None or not chain.guards:
            return reject("gateway.no-guard", f"no guard stands at the edge {request.edge}", Threat.HIGH)
        found, edited = await _through(chain, request)
        if edited is not request and edited.payload != request.payload and found[-1].action != "reject":
            # Every guard has to have seen what passes, the ones before the edit too.
            again, settled = await _through(chain, edited)
            found += [decision for decision in again if decision not in found]
            if settled.payload != edited.payload:
                return reject("gateway.unsettled", "the guards do not agree on what may pass", Threat.MEDIUM)
        return found[-1] if found and found[-1].action == "reject" else _strictest(found, edited)


async def _through(chain: Chain, request: GuardRequest) -> tuple[list[Decision], GuardRequest]:
    """What the guards say, up to the first rejection, and the request as they edited it."""
    found: list[Decision] = []
    guard = chain.guards[0]
    late = False
    try:
        async with asyncio.timeout(chain.deadline_s) as deadline:
            for guard in chain.guards:
                decision = await _ask(guard, request)
                late = deadline.expired()  # and the guard has kept the news to itself
                if late:
                    break
                if decision is None:
                    continue
                found.append(decision)
                if decision.action == "reject":
                    break
                if decision.payload is not None:
                    request = replace(request, payload=decision.payload)
    except TimeoutError:
        late = True
    if late:
        found.append(_failed(guard, "took too long"))
    return found, request


async def _ask(guard: Guard, request: GuardRequest) -> Decision | None:
    """What a guard says; a guard that breaks or says nothing that can be read has rejected."""
    try:
        decision = cast("object", await guard.check(request))
    except Exception as error:  # noqa: BLE001 - fail closed: a guard that breaks has not allowed anything
        return _failed(guard, f"broke: {type(error).__name__}")
    if decision is None:
        return None
    if isinstance(decision, Decision) and (decision.action != "edit" or decision.payload is not None):
        return decision
    return _failed(guard, "gave no decision")


def _failed(guard: Guard, what: str) -> Decision:
    return reject("gateway.failed-closed", f"{guard.rule} {what}", Threat.MEDIUM)


def _strictest(found: Sequence[Decision], request: GuardRequest) -> Decision:
    if not found:  # the usual case
        return Decision(action="allow")
    edited = any(decision.payload is not None for decision in found)
    action = "escalate" if any(decision.action == "escalate" for decision in found) else "edit" if edited else "allow"
    return Decision(
        action=action,
        threat=max((decision.threat for decision in found), key=_THREATS.index),
        reasons=[reason for decision in found for reason in decision.reasons],
        rules=[rule for decision in found for rule in decision.rules],
        payload=dict(request.payload) if edited else None,
    )


def _fingerprint(request: GuardRequest) -> str:
    try:
        return digest(request.written)[:16]
    except (TypeError, ValueError, RecursionError):  # too deep or too odd to write down: rejected, and still recorded
        return "unreadable"
