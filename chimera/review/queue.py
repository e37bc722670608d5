"""The queue of questions to humans, in Postgres. Silence is never an answer."""

from typing import Any

from chimera.core.contracts import ReviewDecision, ReviewItem
from chimera.core.errors import ConflictError, InputError
from chimera.review.answers import why_unusable
from chimera.store.postgres import Pool, fetch, fetch_one
from chimera.store.values import as_json, as_stored, is_uuid


class ReviewQueue:
    """Reads and writes the table ``reviews``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def open(self, item: ReviewItem) -> None:
        """Put a question on the queue; the same item is put there once."""
        await fetch(
            self._pool,
            "INSERT INTO reviews (id, mission_id, point, question, payload, confidence, reasons) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING",
            (
                item.id,
                item.mission_id,
                item.point,
                as_stored(item.question),
                as_json(item.payload),
                item.confidence,
                as_json(item.reasons),
            ),
        )

    async def decide(self, item_id: str, decision: ReviewDecision) -> ReviewDecision:
        """Record the answer; repeating the same answer is harmless.

        Raises:
            ConflictError: it was answered differently before.
            InputError: there is no such item, or it cannot be edited in this way.
        """
        if not is_uuid(item_id):
            raise _unknown(item_id)
        if (why := why_unusable(await self.find(item_id), decision)) is not None:
            raise InputError(why, remedy="Correct the edit, or approve or reject what is shown.")
        row = await fetch_one(
            self._pool,
            "UPDATE reviews SET state = 'decided', decision = %s, decided_at = now() "
            "WHERE id = %s AND state = 'open' RETURNING id",
            (as_json(decision.plain()), item_id),
        )
        if row is not None:
            return decision
        before = await self.decision(item_id)
        if before is not None and (before.action, before.payload) == (decision.action, as_stored(decision.payload)):
            return before
        raise ConflictError(f"review item {item_id} was decided before")

    async def decision(self, item_id: str) -> ReviewDecision | None:
        """The answer, or None while the item is open.

        Raises:
            InputError: there is no such item.
        """
        query = "SELECT decision FROM reviews WHERE id = %s"
        row = await fetch_one(self._pool, query, (item_id,)) if is_uuid(item_id) else None
        if row is None:
            raise _unknown(item_id)
        return ReviewDecision.model_validate(row["decision"]) if row["decision"] else None

    async def find(self, id_or_prefix: str) -> ReviewItem:
        """The item for an id or a unique prefix of one.

        Raises:
            InputError: none matches, or several do.
        """
        prefix = id_or_prefix.strip().lower()
        if not prefix or set(prefix) - set("0123456789abcdef-"):
            raise _unknown(id_or_prefix)
        rows = await fetch(self._pool, "SELECT * FROM reviews WHERE id::text LIKE %s LIMIT 2", (prefix + "%",))
        if len(rows) != 1:
            raise _unknown(id_or_prefix, several=bool(rows))
        return _item(rows[0])

    async def pending(self, mission_id: str | None = None, limit: int = 200) -> list[ReviewItem]:
        """The open items, oldest first; of one mission, or of all."""
        rows = await fetch(
            self._pool,
            "SELECT * FROM reviews WHERE state = 'open' AND (%(mission)s::uuid IS NULL OR mission_id = %(mission)s) "
            "ORDER BY created_at, id LIMIT %(limit)s",
            {"mission": mission_id, "limit": limit},
        )
        return [_item(row) for row in rows]

    async def of_mission(self, mission_id: str) -> list[dict[str, Any]]:
        """Every question of a mission with its answer, oldest first."""
        return await fetch(
            self._pool,
            "SELECT id, point, question, confidence, state, decision, created_at, decided_at FROM reviews "
            "WHERE mission_id = %s ORDER BY created_at, id",
            (mission_id,),
        )


def _unknown(item_id: str, *, several: bool = False) -> InputError:
    return InputError(
        f"{'several review items' if several else 'no review item'} with the id {item_id[:40]!r}",
        remedy="`chimera review ls` lists the open items.",
    )


def _item(row: dict[str, Any]) -> ReviewItem:
    return ReviewItem(
        id=str(row["id"]),
        mission_id=str(row["mission_id"]),
        point=row["point"],
        question=row["question"],
        payload=row["payload"],
        confidence=row["confidence"],
        reasons=row["reasons"],
    )
