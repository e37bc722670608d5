"""What people decide: asked of the permissions, on the record, and done once, wherever it was said.

``chimera review``, ``chimera policy``, ``chimera incident``, a running mission, the server and Python all come here. An
answer, what it changes and its events are one transaction: of several people who answer at once, one is first, and
what the queue says is what happened.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from chimera.commerce.approvals import ApprovalStore
from chimera.core.clock import Clock
from chimera.core.contracts import ReviewDecision, ReviewItem
from chimera.core.errors import ConflictError, InputError
from chimera.core.ids import NewId, digest
from chimera.guards.incidents import Incidents
from chimera.guards.permissions.people import People
from chimera.guards.permissions.values import Entity, Uid
from chimera.guards.policy.document import Policy, read_policy
from chimera.guards.policy.proposing import Proposals
from chimera.guards.settling import Effect, Settling
from chimera.guards.tool_changes import ToolChanges
from chimera.review.answers import kind_of, why_unusable
from chimera.review.queue import Asked, ReviewQueue
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.incidents import Incident, IncidentStore
from chimera.store.policies import POLICY_TENANT, PolicyStore
from chimera.store.postgres import Pool
from chimera.store.values import as_stored

_NAME_MAX, _REASON_MAX = 200, 4_000


@dataclass(frozen=True)
class Answered:
    """An answer that counts. ``first``: whether it was given by this call, and not before."""

    item: ReviewItem
    decision: ReviewDecision
    first: bool


class Decisions:
    """The one way in which a human's word takes effect."""

    def __init__(
        self,
        pool: Pool,
        people: People,
        reviews: ReviewQueue,
        proposals: Proposals,
        incidents: Incidents,
        tools: ToolChanges,
        audit: AuditLog,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._pool = pool
        self._people = people
        self._reviews = reviews
        self._proposals = proposals
        self._policies: PolicyStore = proposals.store
        self._incidents = incidents
        self._open_incidents = IncidentStore(pool)
        self._settling = Settling(people, proposals, self._open_incidents, tools, ApprovalStore(pool), clock)
        self._audit = audit
        self._new_id = new_id

    # --- answering a question ------------------------------------------------------------------------------------

    async def answer(self, item_id: str, decision: ReviewDecision) -> Answered:
        """Answer a question. The first answer counts; the same one again is harmless.

        Raises:
            InputError: there is no such question, or it cannot be answered in this way.
            GuardRejected: who answers may not. ConflictError: it was answered differently.
        """
        asked = await self._reviews.asked(item_id)
        if (why := why_unusable(asked.item, decision)) is not None:
            raise InputError(why, remedy="Correct the edit, or approve or reject what is shown.")
        if asked.decision is not None:
            return _before(asked.item, asked.decision, decision)
        effect = await self._settling.prepared(asked, decision)
        async with self._pool.connection() as connection, connection.transaction():
            first = await self._reviews.close_within(connection, asked.item.id, decision)
            if first:
                events = await effect(connection)
                await self._audit.append_within(connection, _answered(asked, decision), *events)
        if not first:
            kept = await self._reviews.decision(asked.item.id)
            return _before(asked.item, kept or decision, decision)
        self._noticed(asked.item)
        return Answered(asked.item, decision, first=True)

    async def allow(self, item_id: str, decision: ReviewDecision) -> None:
        """Let an answer pass that would count if it were given now, and whatever is none or comes too late.

        Raises:
            GuardRejected: who answers may not. InputError: there is no such question.
        """
        asked = await self._reviews.asked(item_id)
        if asked.decision is None and why_unusable(asked.item, decision) is None:
            await self._settling.prepared(asked, decision)

    def _noticed(self, item: ReviewItem) -> None:
        if kind_of(item) == "incident":
            self._incidents.changed()

    # --- policies ------------------------------------------------------------------------------------------------

    async def propose(self, policy: Policy, by: str) -> str:
        """Put a policy forward in somebody's name, and return its state.

        Raises:
            GuardRejected: ``by`` may not.
        """
        resource = Entity(Uid("Policy", policy.digest), {"tenant": POLICY_TENANT})
        await self._people.require(by, "policy.propose", resource, POLICY_TENANT)
        return await self._proposals.put_forward(policy, await self._proposals.in_force(), by=by)

    async def about_policy(self, policy: str, *, approve: bool, by: str, reason: str = "") -> dict[str, Any]:
        """Approve or reject a policy that was put forward; the newest approved one is what holds.

        What was rejected can be approved after all: that is a second question with its answer.

        Raises:
            InputError: there is no such policy. GuardRejected: ``by`` may not.
            ConflictError: it was decided already.
        """
        row = await self._policies.find(policy)
        decision = _said("approve" if approve else "reject", by, reason)
        if row["state"] == "proposed":
            # An older version asked nobody: then the question is put now.
            await self._proposals.put_forward(read_policy(row["body"]), await self._proposals.in_force())
            row = await self._policies.find(row["digest"])
            if not (await self.answer(str(row["review_id"]), decision)).first:
                raise ConflictError(f"policy {row['digest']} was decided by somebody else")
        elif row["state"] == "rejected" and approve:
            item = await self._proposals.question(row)
            await self._anew(
                item,
                POLICY_TENANT,
                row["decided_by"],
                decision,
                lambda item_id: self._settling.of_policy(row, item_id, decision),
            )
        else:
            raise ConflictError(f"policy {row['digest']} is {row['state']} already")
        return await self._policies.find(row["digest"])

    # --- incidents -----------------------------------------------------------------------------------------------

    async def release(self, incident_id: str, by: str, reason: str) -> Incident:
        """End an incident; what no other open incident holds back goes on.

        Raises:
            InputError: no reason is given, or there is no such incident. GuardRejected: ``by`` may not.
            ConflictError: it was released before.
        """
        incident = await self._open_incidents.find(incident_id)
        decision = _said("approve", by, reason)
        if incident.state != "open":
            raise ConflictError(f"incident {incident.id[:8]} was released before")
        if incident.review_id is None:  # who opened it died before anybody was told
            incident = await self._incidents.tell(incident)
        review_id = str(incident.review_id)
        if await self._reviews.decision(review_id) is None:
            if not (await self.answer(review_id, decision)).first:
                raise ConflictError(f"incident {incident.id[:8]} was released before")
        else:  # it was answered with no, and somebody thinks again
            asked = await self._reviews.asked(review_id)
            said_no = asked.decision.reviewer if asked.decision else ""
            await self._anew(
                asked.item,
                asked.tenant,
                said_no,
                decision,
                lambda item_id: self._settling.of_incident(incident, item_id, decision),
            )
            self._incidents.changed()
        return await self._open_incidents.find(incident.id)

    # --- the record ----------------------------------------------------------------------------------------------

    async def may_export(self, by: str, tenant: str) -> None:
        """Let somebody take the record of a tenant out of the installation.

        Raises:
            GuardRejected: ``by`` may not.
        """
        await self._people.require(by, "audit.export", Entity(Uid("Tenant", tenant), {"tenant": tenant}), tenant)

    # --- tool servers ----------------------------------------------------------------------------------------------

    async def may_change_tools(self, by: str) -> None:
        """Let somebody register tool servers, and say which of them and which versions serve.

        Raises:
            GuardRejected: ``by`` may not.
        """
        everywhere = Entity(Uid("Tenant", POLICY_TENANT), {"tenant": POLICY_TENANT})
        await self._people.require(by, "tools.change", everywhere, POLICY_TENANT)

    async def _anew(
        self,
        before: ReviewItem,
        tenant: str,
        said_no: str | None,
        decision: ReviewDecision,
        prepared: Callable[[str], Awaitable[Effect]],
    ) -> None:
        """Decide once more about what a question was answered with no: a question of its own, with its answer."""
        reasons = [*before.reasons, f"rejected before by {said_no}"] if said_no else before.reasons
        item = before.model_copy(update={"id": self._new_id(), "reasons": reasons})
        effect = await prepared(item.id)
        async with self._pool.connection() as connection, connection.transaction():
            await self._reviews.open_within(connection, item, tenant, decision)
            events = await effect(connection)
            await self._audit.append_within(connection, _answered(Asked(item, tenant, None), decision), *events)


def _before(item: ReviewItem, kept: ReviewDecision, given: ReviewDecision) -> Answered:
    """The answer that counts already, if the one that is given says the same.

    Raises:
        ConflictError: it does not.
    """
    if (kept.action, kept.payload) != (given.action, as_stored(given.payload)):
        raise ConflictError(f"review item {item.id} was decided before")
    return Answered(item, kept, first=False)


def _said(action: str, by: str, reason: str) -> ReviewDecision:
    if not by.strip():
        raise InputError("a decision needs a name", remedy="Say who decides: `--by NAME`.")
    given = {"action": action, "reviewer": by[:_NAME_MAX], "reason": reason.strip()[:_REASON_MAX]}
    return ReviewDecision.model_validate(given)


def _answered(asked: Asked, decision: ReviewDecision) -> AuditEvent:
    edited = {} if decision.payload is None else {"payload": _digest(decision.payload)}
    return AuditEvent(
        kind="review.answered",
        actor=decision.reviewer,
        mission_id=asked.item.mission_id,
        tenant=asked.tenant,
        data={
            "item": asked.item.id,
            "point": asked.item.point,
            "action": decision.action,
            "reviewer": decision.reviewer,
            "reason": decision.reason,
            **edited,
        },
    )


def _digest(edited: dict[str, Any]) -> str:
    """What tells which edit it was; of a tool call that of its arguments, as on the guard's decision about them."""
    return digest(json.dumps(edited.get("arguments", edited), sort_keys=True))[:16]
