"""Putting a policy forward: kept once, on the record once, and before a human once, whoever finds it."""

from collections.abc import Mapping
from typing import Any

from chimera.core.clock import Clock
from chimera.core.contracts import ReviewItem, ReviewPoint
from chimera.core.errors import PolicyInvalid
from chimera.core.ids import NewId
from chimera.guards.policy.difference import differences
from chimera.guards.policy.document import Policy, read_policy, shipped_policy
from chimera.review.queue import ReviewQueue
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.policies import POLICY_TENANT, PolicyStore
from chimera.store.postgres import Connection, Pool

ITSELF = "policy"
"""Who put a file forward that a process found, on the record."""
_TITLE = 200


class Proposals:
    """Keeps what was put forward, and asks a human about it."""

    def __init__(
        self, pool: Pool, store: PolicyStore, reviews: ReviewQueue, audit: AuditLog, clock: Clock, new_id: NewId
    ) -> None:
        self.store = store
        self._pool = pool
        self._reviews = reviews
        self._audit = audit
        self._clock = clock
        self._new_id = new_id

    async def put_forward(self, policy: Policy, in_force: Policy, *, by: str | None = None) -> str:
        """Put a policy forward, unless it was, and return its state. ``by``: the human who does it in his name.

        Where the policy in force asks nobody, it is approved at once; else one question about it is on the queue.

        Raises:
            StoreError: it was not put forward.
        """
        known = await self.store.known(policy.digest)
        asked = known is not None and (known["state"] != "proposed" or known["review_id"] is not None)
        if known is not None and asked and (by is None or known["proposed_by"] is not None):
            return str(known["state"])
        async with self._pool.connection() as connection, connection.transaction():
            row, is_new = await self.store.propose(
                connection, policy.digest, policy.title, policy.text, self._clock.now(), by
            )
            if row["state"] != "proposed":
                return str(row["state"])
            if is_new and in_force.changes.approval == "none":
                return await self._approve(connection, policy)
            takes_on = by is not None and row["proposed_by"] == by  # what a process had found
            events = [_event("policy.proposed", by, policy)] if is_new or takes_on else []
            if row["review_id"] is None:
                events.append(await self._ask(connection, policy, in_force, by))
            if events:
                await self._audit.append_within(connection, *events)
        return "proposed"

    async def _approve(self, connection: Connection, policy: Policy) -> str:
        at, digest = self._clock.now(), policy.digest
        await self.store.settle(connection, digest, "proposed", "approved", by=ITSELF, reason="", at=at, review_id=None)
        await self._audit.append_within(connection, _event("policy.approved", None, policy))
        return "approved"

    async def _ask(self, connection: Connection, policy: Policy, in_force: Policy, by: str | None) -> AuditEvent:
        item = _question(policy, in_force, self._new_id())
        await self._reviews.open_within(connection, item, POLICY_TENANT)
        await self.store.ask(connection, policy.digest, item.id)
        about = {"item": item.id, "point": item.point, "question": item.question, "policy": policy.digest}
        return AuditEvent(kind="review.asked", actor=by or ITSELF, tenant=POLICY_TENANT, data=about)

    async def question(self, row: Mapping[str, Any]) -> ReviewItem:
        """A question about a policy that was put forward, compared with the one in force; on no queue yet.

        Raises:
            PolicyInvalid: this version cannot read it.
        """
        return _question(read_policy(row["body"]), await self.in_force(), self._new_id())

    async def now(self, digest: str) -> dict[str, Any]:
        """What a policy would change of the one that is in force by now: ``compared_with`` and ``changes``."""
        in_force = await self.in_force()
        row = await self.store.find(digest)
        return {"compared_with": in_force.digest, "changes": differences(in_force, read_policy(row["body"]))}

    async def in_force(self) -> Policy:
        """The policy that a human approved last, if it can still be read; else the one that Chimera ships with.

        Raises:
            StoreError: it cannot be known.
        """
        last = await self.store.newest_approved()
        if last is not None:
            try:
                return read_policy(last["body"])
            except PolicyInvalid:  # of an older version
                pass
        return shipped_policy()


def _question(policy: Policy, in_force: Policy, review_id: str) -> ReviewItem:
    return ReviewItem(
        id=review_id,
        mission_id=None,
        point=ReviewPoint.POLICY,
        question=f"Shall the policy {policy.digest[:8]} be in force: {policy.title[:_TITLE]}?",
        payload={
            "kind": "policy",
            "blocking": False,
            "digest": policy.digest,
            "title": policy.title,
            "compared_with": in_force.digest,
            "changes": differences(in_force, policy),
        },
        confidence=0.0,
    )


def _event(kind: str, by: str | None, policy: Policy) -> AuditEvent:
    return AuditEvent(
        kind=kind, actor=by or ITSELF, tenant=POLICY_TENANT, data={"policy": policy.digest, "title": policy.title}
    )
