"""One decision about many questions that look alike: of one point and one kind, about little money, seen before."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from chimera.core.contracts import ReviewDecision, Threat
from chimera.core.errors import ConflictError, InputError
from chimera.core.ids import NewId
from chimera.guards.answer_events import answered, kept_only
from chimera.guards.settling import Settling, one_of_each
from chimera.review.closing import Given, close_within
from chimera.review.guidance import learn_within
from chimera.review.queue import Asked, ReviewQueue, asked_of
from chimera.review.rules import ACT_AT_ONCE
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Connection, Pool, fetch

MOST = 1_000
_TOGETHER = 100
_FOUND = """
    SELECT *, clock_timestamp() AS at FROM reviews
    WHERE tenant = %(tenant)s AND point = %(point)s AND kind = %(kind)s AND state = 'open' AND passed_at IS NULL
    AND amount <= %(most)s AND threat = ANY (%(threats)s) AND needs = 1
    AND (%(mission)s::uuid IS NULL OR mission_id = %(mission)s)
    AND (%(until)s::timestamptz IS NULL OR created_at <= %(until)s)
    AND (claimed_by IS NULL OR claimed_by = %(by)s OR claimed_until <= clock_timestamp())
    ORDER BY rank DESC, id LIMIT %(limit)s
"""


@dataclass(frozen=True)
class Alike:
    """Which questions. ``amount``: units of money of each at most, never more than the settings say. ``until``: those
    that were asked by then, which is what the reviewer has seen.
    """

    tenant: str
    point: str
    kind: str
    amount: int | None = None
    mission_id: str | None = None
    until: datetime | None = None
    limit: int = MOST


@dataclass(frozen=True)
class Decided:
    """What a bulk decision did. ``left``: questions that were changed or taken by somebody else meanwhile."""

    batch: str
    items: list[str]
    left: list[str]


class Bulk:
    """Decides about many questions. Each is decided, and on the record, by itself."""

    def __init__(self, pool: Pool, settling: Settling, reviews: ReviewQueue, audit: AuditLog, new_id: NewId) -> None:
        self._pool = pool
        self._settling = settling
        self._reviews = reviews
        self._audit = audit
        self._new_id = new_id

    async def found(self, alike: Alike, by: str) -> list[Asked]:
        """The questions that a bulk decision of ``by`` would be about, the most urgent first.

        Raises:
            InputError: questions of that kind are decided one by one.
        """
        if alike.kind in ACT_AT_ONCE or not alike.kind:
            raise InputError(
                f"questions of the kind {alike.kind or 'unknown'} are decided one by one",
                remedy="Look at each of them.",
            )
        most = self._reviews.rules.bulk_units
        values = {
            "tenant": alike.tenant,
            "point": alike.point,
            "kind": alike.kind,
            "most": most if alike.amount is None else min(alike.amount, most),
            "threats": [Threat.NONE.value, Threat.LOW.value],
            "mission": alike.mission_id,
            "until": alike.until,
            "by": by,
            "limit": max(1, min(alike.limit, MOST)),
        }
        return [asked_of(row) for row in await fetch(self._pool, _FOUND, values)]

    async def decide(
        self,
        alike: Alike,
        action: Literal["approve", "reject"],
        by: str,
        reason: str = "",
        *,
        grace_s: float | None = None,
    ) -> Decided:
        """Approve or reject all of them; until it is acted upon, it can be taken back under its ``batch``.

        Raises:
            InputError: a rejection has no reason, or such questions are decided one by one.
            GuardRejected: ``by`` may not answer one of them; then none is decided.
        """
        if action == "reject" and not reason.strip():
            raise InputError("a rejection needs a reason", remedy="The planner and the record use it.")
        said = {"action": action, "reviewer": by, "reason": reason.strip()[:4_000]}
        decision, found = ReviewDecision.model_validate(said), await self.found(alike, by)
        for one in one_of_each(found):
            await self._settling.may_work(one, by, action)
        grace = self._reviews.rules.grace_s if grace_s is None else grace_s
        batch, decided, left = self._new_id(), list[str](), list[str]()
        for first in range(0, len(found), _TOGETHER):
            part = found[first : first + _TOGETHER]
            done = await self._together(part, Given(decision, grace_s=grace, batch=batch))
            decided += done
            left += [one.item.id for one in part if one.item.id not in set(done)]
        return Decided(batch, decided, left)

    async def _together(self, part: list[Asked], given: Given) -> list[str]:
        """Decide about some, in one transaction and in the order of their ids, so that no two wait for each other."""
        events, decided = list[AuditEvent](), dict[str, Asked]()
        teaches = await self._settling.teaches(part[0], given.decision)
        async with self._pool.connection() as connection, connection.transaction():
            for asked in sorted(part, key=lambda one: one.item.id):
                this = replace(given, version=asked.version)
                if (event := await self._one(connection, asked, this)) is not None:
                    events.append(event)
                    decided |= {str(asked.item.mission_id): asked} if event.kind == "review.answered" else {}
            for mission in sorted(decided if teaches else ()):  # once all rows are held, and in one order for everybody
                await learn_within(connection, decided[mission], given.decision)
            if events:
                await self._audit.append_within(connection, *events)
        return [str(event.data["item"]) for event in events]

    async def _one(self, connection: Connection, asked: Asked, given: Given) -> AuditEvent | None:
        """The event of one decision; None where the question was changed, or somebody else has it by now."""
        try:
            closed = await close_within(connection, asked.item.id, given)
        except ConflictError:
            return None
        if closed.state == "before":
            return None
        if closed.state == "late":
            return kept_only(asked, given.decision, closed)
        return answered(asked, given.decision)
