"""What an answer would change, and whether whoever gives it may: a mission, a policy, an incident, or changed tools."""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from chimera.commerce.approvals import ApprovalStore
from chimera.core.clock import Clock
from chimera.core.contracts import ReviewDecision
from chimera.core.errors import ConflictError, InputError
from chimera.guards.incidents import released
from chimera.guards.permissions.people import People
from chimera.guards.permissions.values import Entity, Uid
from chimera.guards.policy.proposing import Proposals
from chimera.guards.tool_changes import ToolChanges
from chimera.review.answers import kind_of
from chimera.review.priority import amount_of, read_threat, read_units, threat_of
from chimera.review.queue import Asked
from chimera.store.audit import AuditEvent
from chimera.store.incidents import Incident, IncidentStore
from chimera.store.policies import POLICY_TENANT
from chimera.store.postgres import Connection
from chimera.store.values import is_uuid

ALIKE = "several"
"""The id, in the eyes of the policies, of questions that are decided together."""
Effect = Callable[[Connection], Awaitable[list[AuditEvent]]]
"""What an answer changes besides the queue, in its transaction; and the events that say so."""


class Settling:
    """Asks the permissions about an answer, and prepares what it changes."""

    def __init__(
        self,
        people: People,
        proposals: Proposals,
        incidents: IncidentStore,
        tools: ToolChanges,
        approvals: ApprovalStore,
        clock: Clock,
    ) -> None:
        self._approvals = approvals
        self._people = people
        self._tools = tools
        self._proposals = proposals
        self._incidents = incidents
        self._clock = clock

    async def prepared(self, asked: Asked, decision: ReviewDecision) -> Effect:
        """What an answer will change, once it is clear that whoever gives it may.

        Raises:
            GuardRejected: he may not. InputError: the question is about nothing, or the answer lacks something.
        """
        match kind_of(asked.item):
            case "policy":
                row = await self._proposals.store.asked_by(asked.item.id)
                if row is None:
                    raise InputError("this question is about no policy that was put forward")
                return await self.of_policy(row, asked.item.id, decision)
            case "incident":
                incident = await self._incidents.asked_by(asked.item.id)
                if incident is None:
                    raise InputError("this question is about no incident")
                return await self.of_incident(incident, asked.item.id, decision)
            case "changed_tools":
                row = await self._tools.pins.asked_by(asked.item.id)
                await self._may_answer(asked, decision)
                return self._tools.settled(row, decision)
            case "payment":
                return await self.of_payment(asked, decision)
            case _:
                await self._may_answer(asked, decision)
                return _nothing

    async def came_late(self, asked: Asked) -> bool:
        """Whether what was asked about waits no more: a payment that was made, was refused, or has expired."""
        if kind_of(asked.item) != "payment":
            return False
        intent = str(asked.item.payload.get("intent"))
        return is_uuid(intent) and not await self._approvals.waits(intent)

    async def teaches(self, asked: Asked, decision: ReviewDecision) -> bool:
        """Whether there is something to learn from an answer: a person said why not, or why otherwise."""
        if decision.action == "approve" or not decision.reason.strip() or asked.item.mission_id is None:
            return False
        who = await self._people.look(asked.tenant, decision.reviewer)
        return who is not None and who.uid.type == "Human"

    async def may_work(self, asked: Asked, by: str, action: str) -> None:
        """Let somebody do with a question what is no answer: whoever may answer it may.

        Raises:
            GuardRejected: ``by`` may not.
        """
        about = {"mission_id": asked.item.mission_id}
        match kind_of(asked.item):
            case "policy":
                resource = Entity(Uid("Policy", asked.item.id), {"tenant": POLICY_TENANT})
                await self._people.require(by, "policy.reject", resource, POLICY_TENANT, **about)
            case "incident":
                threat = threat_of(asked.item).value
                resource = Entity(Uid("Incident", asked.item.id), {"tenant": asked.tenant, "threat": threat})
                await self._people.require(by, "incident.release", resource, asked.tenant, **about)
            case _:
                resource = question_entity(asked)
                await self._people.require(by, "review.answer", resource, asked.tenant, **about, answer=action)

    async def _may_answer(self, asked: Asked, decision: ReviewDecision) -> None:
        await self._people.require(
            decision.reviewer,
            "review.answer",
            question_entity(asked),
            asked.tenant,
            mission_id=asked.item.mission_id,
            answer=decision.action,
        )

    async def of_policy(self, row: Mapping[str, Any], item_id: str, decision: ReviewDecision) -> Effect:
        """What an answer changes about a policy, by the question ``item_id``.

        Raises:
            GuardRejected: who answers may not.
        """
        approve, tenant = decision.action == "approve", POLICY_TENANT
        proposer = {"proposer": Uid("Human", row["proposed_by"])} if row["proposed_by"] else {}
        resource = Entity(Uid("Policy", row["digest"]), {"tenant": tenant, **proposer})
        if approve:
            four_eyes = (await self._proposals.in_force()).changes.four_eyes
            await self._people.require(decision.reviewer, "policy.approve", resource, tenant, four_eyes=four_eyes)
        else:
            await self._people.require(decision.reviewer, "policy.reject", resource, tenant)

        async def effect(connection: Connection) -> list[AuditEvent]:
            by, reason, state = decision.reviewer, decision.reason, "approved" if approve else "rejected"
            settled = await self._proposals.store.settle(
                connection, row["digest"], row["state"], state, by=by, reason=reason, at=self._clock.now(),
                review_id=item_id,
            )  # fmt: skip
            if not settled:
                raise ConflictError(f"policy {row['digest']} was decided in the meantime")
            data = {"policy": row["digest"], "reason": reason}
            if approve:
                return [AuditEvent(kind="policy.approved", actor=by, tenant=tenant, data=data)]
            return [AuditEvent(kind="policy.rejected", actor=by, tenant=tenant, data=data)]

        return effect

    async def of_incident(self, incident: Incident, item_id: str, decision: ReviewDecision) -> Effect:
        """What an answer changes about an incident, by the question ``item_id``.

        Raises:
            GuardRejected: who answers may not. InputError: a release has no reason.
        """
        release, by, reason = decision.action == "approve", decision.reviewer, decision.reason.strip()
        if release and not reason:
            raise InputError("a release needs a reason", remedy="Give --reason TEXT; it goes on the record.")
        about = {"tenant": incident.tenant, "threat": read_threat(incident.threat).value}
        resource = Entity(Uid("Incident", incident.id), about)
        await self._people.require(by, "incident.release", resource, incident.tenant, mission_id=incident.mission_id)
        if not release:
            return _nothing

        async def effect(connection: Connection) -> list[AuditEvent]:
            if not await self._incidents.release(connection, incident.id, by, reason, self._clock.now(), item_id):
                raise ConflictError(f"incident {incident.id[:8]} was released before")
            return [released(incident, by, reason)]

        return effect

    async def of_payment(self, asked: Asked, decision: ReviewDecision) -> Effect:
        """What an answer changes about a payment: an agreement to this very one, of somebody who did not ask for it.

        Raises:
            GuardRejected: who answers may not. InputError: the question names no payment.
        """
        told, by = asked.item.payload, decision.reviewer
        try:
            intent, digest, counts_s = str(told["intent"]), bytes.fromhex(told["digest"]), int(told["counts_s"])
            proposer = Uid("Agent", str(told["agent"]))
        except (KeyError, TypeError, ValueError):
            raise InputError("this question names no payment") from None
        about = {
            "tenant": asked.tenant,
            "proposer": proposer,
            "amount": read_units(told.get("amount")),
            "rehearsal": told.get("rehearsal") is True,
        }
        resource = Entity(Uid("Payment", intent), about)
        if decision.action != "approve":
            # Whoever may agree may also say no; and so may whoever answers questions.
            if not await self._people.may(by, "payment.approve", resource, asked.tenant, limit=0):
                await self._may_answer(asked, decision)
            return _nothing
        mission_id = asked.item.mission_id
        await self._people.require(by, "payment.approve", resource, asked.tenant, mission_id=mission_id, limit=0)

        async def effect(connection: Connection) -> list[AuditEvent]:
            await self._approvals.agree_within(connection, intent, digest, by, asked.item.id, counts_s)
            data = {"intent": intent, "digest": digest.hex(), "item": asked.item.id, "reason": decision.reason}
            return [AuditEvent(kind="money.agreed", actor=by, mission_id=mission_id, tenant=asked.tenant, data=data)]

        return effect


async def _nothing(_: Connection) -> list[AuditEvent]:
    return []


def question_entity(asked: Asked) -> Entity:
    """A question of a mission as the policies see it."""
    item = asked.item
    attributes = {
        "tenant": asked.tenant,
        "point": item.point.value,
        "kind": kind_of(item) or "other",
        "threat": threat_of(item).value,
        "amount": amount_of(item),
    }
    return Entity(Uid("Review", item.id), attributes)


def one_of_each(questions: Iterable[Asked]) -> list[Asked]:
    """For questions that look alike to the policies, one that stands for them all, under no question's own id.

    So nobody's leave for one question is taken for leave for the others.
    """
    groups: dict[tuple[str, str], list[Asked]] = {}
    for asked in questions:
        looks = json.dumps(question_entity(asked).attributes, sort_keys=True)
        groups.setdefault((asked.tenant, looks), []).append(asked)
    return [
        found[0] if len(found) == 1 else replace(found[0], item=found[0].item.model_copy(update={"id": ALIKE}))
        for found in groups.values()
    ]
