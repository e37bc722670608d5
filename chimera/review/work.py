"""The queue as people work it: by priority, fair to every tenant, with who has what and why it stands where it does."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zlib import crc32

from chimera.core.contracts import ReviewDecision, ReviewItem
from chimera.core.errors import InputError
from chimera.review.priority import Priority, priority_of
from chimera.review.queue import Asked, asked_of
from chimera.store.postgres import Pool, fetch

LIMIT_MAX = 2_000
_SHOWN = """
    SELECT r.*, clock_timestamp() AS at, claimed_until > clock_timestamp() AS is_claimed,
        acts_at > clock_timestamp() AND taken_at IS NULL AND NOT late AS can_be_undone,
        (SELECT count(*) FROM review_votes AS v WHERE v.review_id = r.id AND v.version = r.version) AS votes
"""
_WHICH = """
    state = 'open' AND passed_at IS NULL AND (%(point)s::text IS NULL OR point = %(point)s)
    AND (%(kind)s::text IS NULL OR kind = %(kind)s) AND (%(mission)s::uuid IS NULL OR mission_id = %(mission)s)
    AND (%(assigned)s::text[] IS NULL OR assigned_to = ANY (%(assigned)s))
"""
_OF_ONE = (
    f"{_SHOWN} FROM reviews AS r WHERE tenant = %(tenant)s AND {_WHICH} AND (%(rank)s::float8 IS NULL "
    "OR rank <= %(rank)s AND (rank < %(rank)s OR id > %(id)s::uuid)) ORDER BY rank DESC, id LIMIT %(limit)s"
)
_OF_ALL = (
    f"{_SHOWN} FROM (SELECT DISTINCT tenant FROM reviews WHERE state = 'open' AND passed_at IS NULL) AS whose, "  # noqa: S608
    "LATERAL (SELECT *, row_number() OVER (ORDER BY rank DESC, id) AS turn FROM reviews "
    f"WHERE tenant = whose.tenant AND {_WHICH} ORDER BY rank DESC, id LIMIT %(limit)s) AS r "
    "ORDER BY turn, rank DESC, id LIMIT %(limit)s"
)
_MARKS = (
    "SELECT id::text AS id, version, "
    "CASE WHEN claimed_until > clock_timestamp() THEN claimed_by END AS claimed_by, overdue_at IS NOT NULL AS overdue "
    "FROM reviews WHERE tenant = %(tenant)s AND " + _WHICH + "ORDER BY rank DESC, id LIMIT %(limit)s"
)
_ONE = f"{_SHOWN} FROM reviews AS r WHERE id = %s"


@dataclass(frozen=True)
class Which:
    """Which open questions. ``assigned``: to any of these, as ``ada`` or ``role:reviewer``."""

    point: str | None = None
    kind: str | None = None
    mission_id: str | None = None
    assigned: list[str] | None = None


@dataclass(frozen=True)
class Card:
    """One question as it stands: what it asks, of whom, until when, who has it, and how urgent it is.

    ``state``: ``open``, ``asked`` (whoever did the work was asked back), ``decided`` or ``late``. ``agreed`` of
    ``needs`` people have agreed. ``undo_until``: until when the decision can be taken back; None when it cannot.
    """

    item: ReviewItem
    tenant: str
    kind: str
    state: str
    version: int
    created_at: datetime
    due_at: datetime
    priority: Priority
    rank: float
    step: int
    overdue: bool
    passed: bool
    assigned_to: str | None
    claimed_by: str | None
    claimed_until: datetime | None
    requester: str | None
    needs: int
    agreed: int
    decision: ReviewDecision | None
    decided_at: datetime | None
    undo_until: datetime | None
    batch: str | None

    @property
    def mark(self) -> str:
        """See :func:`mark_of`."""
        return mark_of(self.version, self.claimed_by, overdue=self.overdue)

    @property
    def cursor(self) -> str:
        """Where a listing of one tenant goes on after this one."""
        return f"{self.rank!r}:{self.item.id}"

    def plain(self) -> dict[str, Any]:
        """The card as plain JSON data."""
        told = {**self.item.plain(), "tenant": self.tenant, "kind": self.kind, "state": self.state}
        told |= {"version": self.version, "step": self.step, "overdue": self.overdue, "passed": self.passed}
        told |= {"assigned_to": self.assigned_to, "claimed_by": self.claimed_by, "requester": self.requester}
        told |= {"needs": self.needs, "agreed": self.agreed, "batch": self.batch}
        times = ("created_at", "due_at", "claimed_until", "decided_at", "undo_until")
        told |= {name: at.isoformat() if (at := getattr(self, name)) is not None else None for name in times}
        told["decision"] = self.decision.plain() if self.decision else None
        factors = [{"name": one.name, "times": round(one.times, 4), "why": one.why} for one in self.priority.factors]
        return {**told, "priority": round(self.priority.score, 4), "why": factors}


class Work:
    """Lists and shows questions."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def listed(
        self, tenant: str | None, which: Which = Which(), *, limit: int = 50, after: str | None = None
    ) -> list[Card]:
        """The open questions of a tenant, the most urgent first; of all tenants, each tenant's first, then each one's
        second, so that no tenant's flood hides another's questions.

        ``after``: the ``cursor`` of the last card before; of one tenant only.

        Raises:
            InputError: the cursor is none.
        """
        rank, last = _place(after)
        if after is not None and tenant is None:
            raise InputError("a listing of all tenants has no cursor", remedy="Name a tenant.")
        values = {
            "tenant": tenant,
            "point": which.point,
            "kind": which.kind,
            "mission": which.mission_id,
            "assigned": which.assigned,
            "rank": rank,
            "id": last,
            "limit": max(1, min(limit, LIMIT_MAX)),
        }
        query = _OF_ALL if tenant is None else _OF_ONE
        return [_card(row) for row in await fetch(self._pool, query, values)]

    async def marks(self, tenant: str, which: Which = Which(), *, limit: int = 50) -> list[tuple[str, str]]:
        """The same listing of a tenant as ids and marks, which cost little: whoever shows it sees what has changed."""
        values = {
            "tenant": tenant,
            "point": which.point,
            "kind": which.kind,
            "mission": which.mission_id,
            "assigned": which.assigned,
            "limit": max(1, min(limit, LIMIT_MAX)),
        }
        rows = await fetch(self._pool, _MARKS, values)
        return [(row["id"], mark_of(row["version"], row["claimed_by"], overdue=row["overdue"])) for row in rows]

    async def card(self, item_id: str) -> Card:
        """One question, whatever became of it; ``item_id`` is whole.

        Raises:
            InputError: there is none.
        """
        rows = await fetch(self._pool, _ONE, (item_id,))
        if not rows:
            raise InputError(f"no review item with the id {item_id[:40]!r}")
        return _card(rows[0])


def mark_of(version: int, claimed_by: str | None, *, overdue: bool) -> str:
    """What a question says of itself besides its times, in eight characters: with the same mark it looks the same."""
    return f"{crc32(repr((version, claimed_by, overdue)).encode()):08x}"


def _place(after: str | None) -> tuple[float | None, str | None]:
    if after is None:
        return None, None
    rank, _, last = after.partition(":")
    try:
        return float(rank), str(UUID(last))
    except ValueError:
        raise InputError("that is no cursor of this listing", remedy="Begin without one.") from None


def _card(row: dict[str, Any]) -> Card:
    asked: Asked = asked_of(row)
    claimed, undo = bool(row["is_claimed"]), bool(row["can_be_undone"])
    state = "late" if row["late"] and row["state"] == "decided" else str(row["state"])
    return Card(
        item=asked.item,
        tenant=asked.tenant,
        kind=str(row["kind"]),
        state=state,
        version=asked.version,
        created_at=row["created_at"],
        due_at=row["due_at"],
        priority=priority_of(asked.item, row["created_at"], row["due_at"], int(row["step"]), row["at"]),
        rank=float(row["rank"]),
        step=int(row["step"]),
        overdue=row["overdue_at"] is not None,
        passed=row["passed_at"] is not None,
        assigned_to=row["assigned_to"],
        claimed_by=row["claimed_by"] if claimed else None,
        claimed_until=row["claimed_until"] if claimed else None,
        requester=row["requester"],
        needs=int(row["needs"]),
        agreed=int(row["votes"]),
        decision=asked.decision,
        decided_at=row["decided_at"],
        undo_until=row["acts_at"] if undo else None,
        batch=str(row["batch"]) if row["batch"] else None,
    )
