"""What is done with a question besides answering it: claimed, let go, asked back, handed on, taken back."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chimera.core.errors import ActedUpon, Claimed, ConflictError, StaleDecision
from chimera.review.closing import tell_within
from chimera.store.postgres import Connection, Pool, fetch, fetch_one

_CLAIM = """
    UPDATE reviews SET claimed_by = %(by)s, claimed_until = clock_timestamp() + make_interval(secs => %(claim_s)s)
    WHERE id = %(id)s AND state <> 'decided'
    AND (claimed_by IS NULL OR claimed_by = %(by)s OR claimed_until <= clock_timestamp())
    RETURNING claimed_until
"""
_WHOSE = "SELECT state, claimed_by, claimed_until > clock_timestamp() AS claimed FROM reviews WHERE id = %s"
_ASK = b"""
    UPDATE reviews SET state = 'asked', version = version + 1, claimed_by = NULL, claimed_until = NULL
    WHERE id = %s AND state = 'open' AND (claimed_by IS NULL OR claimed_by = %s OR claimed_until <= clock_timestamp())
    RETURNING mission_id
"""
_NOTE = b"""
    INSERT INTO review_notes (review_id, number, asked_by, question)
    SELECT %(id)s, coalesce(max(number), 0) + 1, %(by)s, %(question)s FROM review_notes WHERE review_id = %(id)s
    RETURNING number
"""
_REPLY = b"""
    UPDATE review_notes SET replied_by = %s, reply = %s, replied_at = clock_timestamp()
    WHERE review_id = %s AND number = %s AND reply IS NULL RETURNING number
"""
_HAND = b"""
    UPDATE reviews SET assigned_to = %(to)s, step = %(step)s, version = version + 1, overdue_at = NULL,
        due_at = clock_timestamp() + make_interval(secs => %(due_s)s), claimed_by = NULL, claimed_until = NULL
    WHERE id = %(id)s AND state <> 'decided' AND version = %(version)s RETURNING version
"""
_LOCK = b"SELECT id FROM reviews WHERE id = ANY (%s::uuid[]) ORDER BY id FOR UPDATE"
_UNDO = b"""
    UPDATE reviews SET state = 'open', decision = NULL, decided_at = NULL, acts_at = NULL, batch = NULL,
        version = version + 1
    WHERE id = ANY (%s::uuid[]) AND state = 'decided' AND taken_at IS NULL
    AND acts_at > clock_timestamp() AND NOT late RETURNING id::text, mission_id::text, version
"""


@dataclass(frozen=True)
class Note:
    """What a reviewer asked back, and the answer when there is one."""

    number: int
    asked_by: str
    question: str
    replied_by: str | None
    reply: str | None


class Moves:
    """The statements on ``reviews`` and ``review_notes``; whether somebody may is asked elsewhere."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, item_id: str, by: str, claim_s: float) -> datetime:
        """Claim a question, or keep it for longer; return until when.

        Raises:
            Claimed: somebody else has it. ConflictError: it is decided.
        """
        row = await fetch_one(self._pool, _CLAIM, {"id": item_id, "by": by, "claim_s": claim_s})
        if row is not None:
            return row["claimed_until"]
        found = await fetch_one(self._pool, _WHOSE, (item_id,))
        if found is not None and found["claimed"]:
            raise Claimed(f"{found['claimed_by'][:60]} works on review item {item_id}", claimed_by=found["claimed_by"])
        raise ConflictError(f"review item {item_id} was decided before")

    async def release(self, item_id: str, by: str) -> bool:
        """Let go of a question; False when it was not claimed by ``by``."""
        query = (
            "UPDATE reviews SET claimed_by = NULL, claimed_until = NULL WHERE id = %s AND claimed_by = %s RETURNING id"
        )
        return bool(await fetch(self._pool, query, (item_id, by)))

    async def ask_within(self, connection: Connection, item_id: str, by: str, question: str) -> int:
        """Ask whoever did the work, in a transaction; return the number of the question. Its mission is told to go on.

        Raises:
            ConflictError: it is decided, asked about already, or claimed by somebody else.
        """
        row = await (await connection.execute(_ASK, (item_id, by))).fetchone()
        if row is None:
            raise ConflictError(f"review item {item_id} is not open, or somebody else works on it")
        note = await (await connection.execute(_NOTE, {"id": item_id, "by": by, "question": question})).fetchall()
        await tell_within(connection, row["mission_id"])
        return int(note[0]["number"])

    async def reply_within(self, connection: Connection, item_id: str, number: int, by: str, reply: str) -> bool:
        """Keep the answer to what was asked back, in a transaction; False when there is one already."""
        if await (await connection.execute(_REPLY, (by, reply, item_id, number))).fetchone() is None:
            return False
        await connection.execute(
            b"UPDATE reviews SET state = 'open', version = version + 1 WHERE id = %s AND state = 'asked'", (item_id,)
        )
        return True

    async def open_note(self, item_id: str) -> Note | None:
        """What was asked back and is not answered yet."""
        return next((note for note in await self.notes(item_id) if note.reply is None), None)

    async def notes(self, item_id: str) -> list[Note]:
        """What was asked back about a question, in order."""
        rows = await fetch(
            self._pool,
            "SELECT number, asked_by, question, replied_by, reply FROM review_notes WHERE review_id = %s "
            "ORDER BY number",
            (item_id,),
        )
        return [Note(**row) for row in rows]

    async def hand_within(
        self, connection: Connection, item_id: str, version: int, *, to: str, step: int, due_s: float
    ) -> int:
        """Hand a question to somebody else, in a transaction; return its new version.

        Raises:
            StaleDecision: it was changed or decided in the meantime.
        """
        values = {"id": item_id, "version": version, "to": to, "step": step, "due_s": due_s}
        row = await (await connection.execute(_HAND, values)).fetchone()
        if row is None:
            raise StaleDecision(f"review item {item_id} was changed or decided in the meantime")
        return int(row["version"])

    async def undo_within(self, connection: Connection, item_ids: list[str]) -> list[dict[str, Any]]:
        """Take decisions back that nobody has acted upon, in a transaction; of several, those that can be.

        Raises:
            ActedUpon: none of them can.
        """
        await connection.execute(
            _LOCK, (item_ids,)
        )  # in the order of bulk decisions, so that no two wait for each other
        rows = await (await connection.execute(_UNDO, (item_ids,))).fetchall()
        if not rows:
            raise ActedUpon(f"{len(item_ids)} decisions cannot be taken back any more")
        await connection.execute(
            b"DELETE FROM review_votes WHERE review_id = ANY (%s::uuid[])", ([row["id"] for row in rows],)
        )
        return [dict(row) for row in rows]
