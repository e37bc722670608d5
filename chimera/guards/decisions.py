"""What people decide: asked of the permissions, on the record, and done once, wherever it was said.

``chimera review``, ``chimera policy``, ``chimera incident``, a running mission, the server and Python all come here. An
answer, what it changes and its events are one transaction: of several people who answer at once, one is first, and
what the queue says is what happened.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from chimera.commerce.approvals import ApprovalStore
from chimera.core.clock import Clock
from chimera.core.contracts import ReviewDecision, ReviewItem
from chimera.core.errors import ConflictError, InputError
from chimera.core.ids import NewId
from chimera.guards.answer_events import answered, kept_only
from chimera.guards.bulk import Bulk
from chimera.guards.incidents import Incidents
from chimera.guards.permissions.people import People
from chimera.guards.permissions.values import Entity, Uid
from chimera.guards.policy.document import Policy, read_policy
from chimera.guards.policy.proposing import Proposals
from chimera.guards.reviewing import Reviewing
from chimera.guards.settling import Effect, Settling
from chimera.guards.tool_changes import ToolChanges
from chimera.review.answers import kind_of, why_unusable
from chimera.review.closing import Given, close_within
from chimera.review.guidance import learn_within
from chimera.review.queue import Asked, ReviewQueue
from chimera.store.audit import AuditLog
from chimera.store.incidents import Incident, IncidentStore
from chimera.store.policies import POLICY_TENANT, PolicyStore
from chimera.store.postgres import Pool
from chimera.store.values import as_stored

_NAME_MAX, _REASON_MAX = 200, 4_000


@dataclass(frozen=True)
class Answered:
    """What became of an answer. ``first``: whether it counts by this call, and not by one before.

    ``state``: ``decided``; ``late``, when the mission had ended or gone on: it is kept, and nothing comes of it;
    ``agreed``, when ``missing`` more people have to agree. ``acts_at``: until when it can be taken back.
    """

    item: ReviewItem
    decision: ReviewDecision
    first: bool
    state: Literal["decided", "late", "agreed"] = "decided"
    version: int = 0
    missing: int = 0
    acts_at: datetime | None = None


class Decisions:
    """The one way in which a human's word takes effect.

    ``desk``: what people do with questions besides answering them. ``bulk``: one answer to many questions.
    """

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
        self.desk = Reviewing(pool, people, self._settling, reviews, audit)
        self.bulk = Bulk(pool, self._settling, reviews, audit, new_id)

    # --- answering a question ------------------------------------------------------------------------------------

    async def answer(
        self, item_id: str, decision: ReviewDecision, *, version: int | None = None, grace_s: float = 0.0
    ) -> Answered:
        """Answer a question. The first answer counts; the same one again is harmless.

        ``version``: of the question that the reviewer saw. ``grace_s``: how long the decision can be taken back before
        it is handed over; answers that change something themselves act at once.

        Raises:
            InputError: there is no such question, or it cannot be answered in this way.
            GuardRejected: who answers may not. ConflictError: it was answered differently. StaleDecision: it says
            something else by now. Claimed: somebody else works on it.
        """
        return await self._answer(await self._reviews.asked(item_id), decision, version=version, grace_s=grace_s)

    async def _answer(
        self, asked: Asked, decision: ReviewDecision, *, version: int | None = None, grace_s: float = 0.0
    ) -> Answered:
        if (why := why_unusable(asked.item, decision)) is not None:
            raise InputError(why, remedy="Correct the edit, or approve or reject what is shown.")
        if asked.decision is not None:
            return _before(asked.item, asked.decision, decision)
        late = await self._settling.came_late(asked)
        effect = await self._settling.prepared(asked, decision)
        given = Given(decision, version, self._reviews.rules.grace(asked.item, grace_s), late)
        teaches = await self._settling.teaches(asked, decision)
        async with self._pool.connection() as connection, connection.transaction():
            closed = await close_within(connection, asked.item.id, given)
            if closed.state == "decided":
                events = await effect(connection)
                if teaches:
                    await learn_within(connection, asked, decision)
                await self._audit.append_within(connection, answered(asked, decision), *events)
            elif closed.state != "before":
                await self._audit.append_within(connection, kept_only(asked, decision, closed))
        if closed.state == "before":
            return _before(asked.item, closed.kept or decision, decision)
        self._noticed(asked.item)
        return Answered(
            asked.item,
            decision,
            first=closed.state == "decided",
            state=closed.state,
            version=closed.version,
            missing=closed.missing,
            acts_at=closed.acts_at,
        )

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
            await self._audit.append_within(connection, answered(Asked(item, tenant, None), decision), *events)


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
