"""The security gateway: an ordered chain of guards at each edge, failing closed, with every decision on the record."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from chimera.core.contracts import Decision, Threat
from chimera.core.ids import digest
from chimera.core.settings import Settings
from chimera.guards.request import Edge, Guard, GuardRequest
from chimera.guards.rules import (
    AllowedTool,
    ArgumentSchema,
    ArgumentSize,
    DestructiveTool,
    GoalText,
    HiddenText,
    NamedSource,
    OutputSize,
    ResultSchema,
    reject,
)
from chimera.store.audit import AuditEvent, AuditLog

GUARD_DEADLINE_S = 5.0
_THREATS = list(Threat)

Chains = Mapping[Edge, Sequence[Guard]]


def first_chains(settings: Settings) -> Chains:
    """The guards of each edge, in order. An edge that is not here rejects everything."""
    return {
        Edge.INTAKE: [GoalText(), HiddenText()],
        Edge.TOOL_CALL: [
            AllowedTool(),
            ArgumentSize(settings.tool_argument_max_bytes),
            ArgumentSchema(),
            NamedSource(),
            HiddenText(),
            DestructiveTool(),
        ],
        Edge.TOOL_RESULT: [ResultSchema(), HiddenText()],
        Edge.OUTPUT: [OutputSize(), HiddenText()],
    }


class SecurityGateway:
    """Decides about everything that crosses an edge."""

    def __init__(self, chains: Chains, audit: AuditLog) -> None:
        self._chains = chains
        self._audit = audit

    async def validate_request(self, agent_id: str, request: GuardRequest | str) -> Decision:
        """Decide about one request of an agent; a plain text is judged as a goal.

        The strictest guard wins, edits are passed on from guard to guard, and a rejection ends the chain. The decision
        is committed to the audit log before it is returned; when that fails, so does this call.

        Raises:
            StoreError: the decision could not be put on the record.
        """
        if isinstance(request, str):
            request = GuardRequest(edge=Edge.INTAKE, payload={"goal": request})
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
                    "payload": digest(json.dumps(request.payload, sort_keys=True, default=str))[:16],
                    **({"task": request.task.id} if request.task else {}),
                    **({"capability": request.capability.name} if request.capability else {}),
                },
            )
        )
        return decision

    async def _decide(self, request: GuardRequest) -> Decision:
        guards = self._chains.get(request.edge)
        if not guards:
            return reject("gateway.no-guard", f"no guard stands at the edge {request.edge}", Threat.HIGH)
        found: list[Decision] = []
        for guard in guards:
            try:
                async with asyncio.timeout(GUARD_DEADLINE_S):
                    decision = await guard.check(request)
            except TimeoutError:
                decision = reject("gateway.failed-closed", f"{guard.rule} took too long", Threat.MEDIUM)
            except Exception as error:  # noqa: BLE001 - fail closed: a guard that breaks has not allowed anything
                decision = reject("gateway.failed-closed", f"{guard.rule} broke: {type(error).__name__}", Threat.MEDIUM)
            if decision is None:
                continue
            found.append(decision)
            if decision.action == "reject":
                return decision
            if decision.payload is not None:
                request = replace(request, payload=decision.payload)
        return _strictest(found, request)


def _strictest(found: Sequence[Decision], request: GuardRequest) -> Decision:
    edited = any(decision.payload is not None for decision in found)
    action = "escalate" if any(decision.action == "escalate" for decision in found) else "edit" if edited else "allow"
    return Decision(
        action=action,
        threat=max((decision.threat for decision in found), key=_THREATS.index, default=Threat.NONE),
        reasons=[reason for decision in found for reason in decision.reasons],
        rules=[rule for decision in found for rule in decision.rules],
        payload=dict(request.payload) if edited else None,
    )
