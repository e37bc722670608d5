"""The queue of questions to humans, in Postgres. Silence is never an answer."""

from dataclasses import dataclass
from typing import Any

from chimera.core.contracts import ReviewDecision, ReviewItem
from chimera.core.errors import InputError
from chimera.review.answers import kind_of
from chimera.review.priority import amount_of, threat_of, weight_of
from chimera.review.rules import DEFAULT, WorkRules
from chimera.store.postgres import Connection, Pool, fetch, fetch_one
from chimera.store.values import as_json, as_stored, is_uuid

OWN_KINDS = frozenset({"policy", "incident", "changed_tools"})
"""Kinds of questions that Chimera asks about itself, with or without a mission. No mission may pretend to."""
_INSERT = """
    INSERT INTO reviews (id, mission_id, tenant, point, question, payload, confidence, reasons, state, decision,
        decided_at, acts_at, amount, threat, weight, due_at, assigned_to, needs, requester)
    VALUES (%(id)s, %(mission)s, coalesce(%(tenant)s, (SELECT tenant FROM missions WHERE id = %(mission)s)), %(point)s,
        %(question)s, %(payload)s, %(confidence)s, %(reasons)s,
        CASE WHEN %(decision)s::jsonb IS NULL THEN 'open' ELSE 'decided' END, %(decision)s,
        CASE WHEN %(decision)s::jsonb IS NULL THEN NULL ELSE now() END,
        CASE WHEN %(decision)s::jsonb IS NULL THEN NULL ELSE now() END,
        %(amount)s, %(threat)s, %(weight)s, now() + make_interval(secs => %(due_s)s), %(assigned)s, %(needs)s,
        (SELECT asked_by FROM missions WHERE id = %(mission)s))
"""
_TAKE = """
    UPDATE reviews SET taken_at = coalesce(taken_at, clock_timestamp())
    WHERE id = %s AND state = 'decided' AND acts_at <= clock_timestamp() RETURNING decision
"""
_PASSED = """
    UPDATE reviews SET passed_at = coalesce(passed_at, now()), late = state = 'decided'
    WHERE mission_id = %s AND id <> ALL (%s::uuid[]) AND NOT late AND taken_at IS NULL
    AND (passed_at IS NULL OR state = 'decided')
    AND kind NOT IN ('policy', 'incident', 'changed_tools') AND coalesce(payload ->> 'blocking', 'true') <> 'false'
"""


@dataclass(frozen=True)
class Asked:
    """A question as it stands on the queue: whose it is, which version, and its answer if it has one."""

    item: ReviewItem
    tenant: str
    decision: ReviewDecision | None
    version: int = 1


class ReviewQueue:
    """Reads and writes the table ``reviews``. Answers come through ``Decisions``, which asks who may give them."""

    def __init__(self, pool: Pool, rules: WorkRules = DEFAULT) -> None:
        self._pool = pool
        self.rules = rules

    async def open(self, item: ReviewItem) -> None:
        """Put a question of a mission on the queue; the same item is put there once.

        Raises:
            InputError: it is of a kind that no mission asks.
        """
        if kind_of(item) in OWN_KINDS or item.mission_id is None:
            raise InputError(f"a mission asks no question of the kind {kind_of(item) or 'unknown'}")
        await fetch(self._pool, f"{_INSERT} ON CONFLICT (id) DO NOTHING", self._row(item, None, None))

    async def open_within(
        self, connection: Connection, item: ReviewItem, tenant: str, decision: ReviewDecision | None = None
    ) -> None:
        """Put a question on the queue in a transaction, with its answer if it has one already."""
        await connection.execute(_INSERT.encode(), self._row(item, tenant, decision))

    async def hand_over(self, item_id: str) -> ReviewDecision | None:
        """The answer, for whoever acts upon it; None while there is none, or while it can be taken back.

        From then on it cannot be taken back.
        """
        row = await fetch_one(self._pool, _TAKE, (item_id,))
        return _decision(row) if row else None

    async def asked_back(self, item_id: str) -> bool:
        """Whether a reviewer has asked whoever did the work, and has no answer yet."""
        query = "SELECT id FROM reviews WHERE id = %s AND state = 'asked'"
        return await fetch_one(self._pool, query, (item_id,)) is not None

    async def goes_on(self, mission_id: str) -> bool:
        """Whether an answer, or what a reviewer asked back, lies ready for a mission and is not taken up yet."""
        query = (
            "SELECT id FROM reviews WHERE mission_id = %s AND NOT late AND passed_at IS NULL "
            "AND coalesce(payload ->> 'blocking', 'true') <> 'false' AND (state = 'asked' OR state = 'decided' "
            "AND taken_at IS NULL AND acts_at <= clock_timestamp()) LIMIT 1"
        )
        return await fetch_one(self._pool, query, (mission_id,)) is not None

    async def passed(self, mission_id: str, asking: list[str]) -> None:
        """Note that a mission went on without an answer to what it asked, but for the questions that it still asks."""
        await fetch(self._pool, _PASSED, (mission_id, asking))

    async def decision(self, item_id: str) -> ReviewDecision | None:
        """The answer, or None while the item is open.

        Raises:
            InputError: there is no such item.
        """
        query = "SELECT decision FROM reviews WHERE id = %s"
        row = await fetch_one(self._pool, query, (item_id,)) if is_uuid(item_id) else None
        if row is None:
            raise _unknown(item_id)
        return _decision(row)

    async def asked(self, id_or_prefix: str) -> Asked:
        """A question with its answer, by its id or a unique prefix of it.

        Raises:
            InputError: none matches, or several do.
        """
        prefix = id_or_prefix.strip().lower()
        if not prefix or set(prefix) - set("0123456789abcdef-"):
            raise _unknown(id_or_prefix)
        if is_uuid(prefix):
            rows = await fetch(self._pool, "SELECT * FROM reviews WHERE id = %s", (prefix,))
        else:
            rows = await fetch(self._pool, "SELECT * FROM reviews WHERE id::text LIKE %s LIMIT 2", (prefix + "%",))
        if len(rows) != 1:
            raise _unknown(id_or_prefix, several=bool(rows))
        return asked_of(rows[0])

    async def find(self, id_or_prefix: str) -> ReviewItem:
        """The item for an id or a unique prefix of one.

        Raises:
            InputError: none matches, or several do.
        """
        return (await self.asked(id_or_prefix)).item

    async def pending(self, mission_id: str | None = None, limit: int = 200) -> list[ReviewItem]:
        """The open items, oldest first; of one mission, or of all."""
        return [asked.item for asked in await self.open_items(mission_id=mission_id, limit=limit)]

    async def open_items(
        self, *, mission_id: str | None = None, tenant: str | None = None, limit: int = 200
    ) -> list[Asked]:
        """The open questions with whose they are, oldest first; of one mission, of one tenant, or all."""
        rows = await fetch(
            self._pool,
            "SELECT * FROM reviews WHERE state = 'open' AND (%(mission)s::uuid IS NULL OR mission_id = %(mission)s) "
            "AND (%(tenant)s::text IS NULL OR tenant = %(tenant)s) ORDER BY created_at, id LIMIT %(limit)s",
            {"mission": mission_id, "tenant": tenant, "limit": limit},
        )
        return [asked_of(row) for row in rows]

    async def of_batch(self, batch: str) -> list[Asked]:
        """The questions of a bulk decision; none when there is no such decision."""
        query = "SELECT * FROM reviews WHERE batch = %s ORDER BY id"
        return [asked_of(row) for row in await fetch(self._pool, query, (batch,))] if is_uuid(batch) else []

    async def of_mission(self, mission_id: str) -> list[dict[str, Any]]:
        """Every question of a mission with its answer, oldest first."""
        return await fetch(
            self._pool,
            "SELECT id, point, question, confidence, state, decision, created_at, decided_at FROM reviews "
            "WHERE mission_id = %s ORDER BY created_at, id",
            (mission_id,),
        )

    def _row(self, item: ReviewItem, tenant: str | None, decision: ReviewDecision | None) -> dict[str, Any]:
        return {
            "id": item.id,
            "mission": item.mission_id,
            "tenant": tenant,
            "point": item.point,
            "question": as_stored(item.question),
            "payload": as_json(item.payload),
            "confidence": item.confidence,
            "reasons": as_json(item.reasons),
            "decision": as_json(decision.plain()) if decision else None,
            "amount": amount_of(item),
            "threat": threat_of(item).value,
            "weight": weight_of(item),
            "due_s": self.rules.due_s,
            "assigned": self.rules.first(item),
            "needs": self.rules.needs(item),
        }


def asked_of(row: dict[str, Any]) -> Asked:
    """The question of a row of ``reviews``."""
    return Asked(_item(row), str(row["tenant"]), _decision(row), int(row["version"]))


def _unknown(item_id: str, *, several: bool = False) -> InputError:
    return InputError(
        f"{'several review items' if several else 'no review item'} with the id {item_id[:40]!r}",
        remedy="`chimera review ls` lists the open items.",
    )


def _decision(row: dict[str, Any]) -> ReviewDecision | None:
    return ReviewDecision.model_validate(row["decision"]) if row["decision"] else None


def _item(row: dict[str, Any]) -> ReviewItem:
    return ReviewItem(
        id=str(row["id"]),
        mission_id=str(row["mission_id"]) if row["mission_id"] else None,
        point=row["point"],
        question=row["question"],
        payload=row["payload"],
        confidence=row["confidence"],
        reasons=row["reasons"],
    )
