"""What people said as they rejected or edited, for those who plan and work under the same persona.

A line is a person's words about earlier work, which may quote that work: it is told to models as data, it can be seen,
and it can be removed.
"""

from typing import Any

from chimera.core.contracts import ReviewDecision
from chimera.core.errors import InputError
from chimera.core.ids import digest
from chimera.core.lexical import Bm25
from chimera.review.answers import kind_of
from chimera.review.queue import Asked
from chimera.store.postgres import Connection, Pool, fetch
from chimera.store.values import as_stored

LINES = 5
"""How many lines a model is told."""
NEWEST = 200
"""How many of the newest lines are looked through."""
_ABOUT_MAX, _LINE_MAX = 200, 600
_LEARN = b"""
    INSERT INTO review_guidance (tenant, persona, about, point, kind, text, said_by, review_id)
    SELECT %(tenant)s, substr(encode(sha256(convert_to(coalesce(mission ->> 'persona', ''), 'UTF8')), 'hex'), 1, 16),
        left(coalesce(mission ->> 'persona', ''), %(about)s), %(point)s, %(kind)s, %(text)s, %(by)s, %(review)s
    FROM missions WHERE id = %(mission)s
    ON CONFLICT (tenant, persona, md5(text)) WHERE removed_at IS NULL DO NOTHING
"""
_FORGET = b"""
    UPDATE review_guidance SET removed_by = %s, removed_at = clock_timestamp()
    WHERE review_id = ANY (%s::uuid[]) AND removed_at IS NULL
"""


def persona_key(persona: str) -> str:
    """What lines of guidance are kept under: the persona, however long, as a short digest."""
    return digest(persona)[:16]


async def learn_within(connection: Connection, asked: Asked, decision: ReviewDecision) -> None:
    """Keep the reason of an answer, in its transaction; the same words are kept once."""
    values = {
        "tenant": asked.tenant,
        "about": _ABOUT_MAX,
        "point": str(asked.item.point),
        "kind": kind_of(asked.item),
        "text": as_stored(decision.reason.strip())[:4_000],
        "by": decision.reviewer,
        "review": asked.item.id,
        "mission": asked.item.mission_id,
    }
    await connection.execute(_LEARN, values)


async def forget_within(connection: Connection, item_ids: list[str], by: str) -> None:
    """Remove what was learnt from answers that were taken back."""
    await connection.execute(_FORGET, (by, item_ids))


class Guidance:
    """Reads the table ``review_guidance``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def told(self, tenant: str, persona: str, about: str, most: int = LINES) -> list[str]:
        """The lines that fit a goal or a task best; among equals, the newest ones."""
        rows = await fetch(
            self._pool,
            "SELECT text FROM review_guidance WHERE (tenant, persona) = (%s, %s) AND removed_at IS NULL "
            "ORDER BY created_at DESC, id LIMIT %s",
            (tenant, persona_key(as_stored(persona)), NEWEST),
        )
        lines = [str(row["text"])[:_LINE_MAX] for row in rows]
        if len(lines) <= most:
            return lines
        ranked = [place for place, _ in Bm25([[(line, 1.0)] for line in lines]).ranked(about)]
        rest = [place for place in range(len(lines)) if place not in set(ranked)]
        return [lines[place] for place in [*ranked, *rest][:most]]

    async def listed(self, tenant: str, limit: int = 200) -> list[dict[str, Any]]:
        """The lines of a tenant that were not removed, newest first."""
        return await fetch(
            self._pool,
            "SELECT id::text, persona, about, point, kind, text, said_by, review_id::text, created_at "
            "FROM review_guidance WHERE tenant = %s AND removed_at IS NULL ORDER BY created_at DESC, id LIMIT %s",
            (tenant, limit),
        )

    async def find(self, tenant: str, id_or_prefix: str) -> dict[str, Any]:
        """A line that was not removed, by its id or a unique beginning of it.

        Raises:
            InputError: none matches, or several do.
        """
        prefix = id_or_prefix.strip().lower()
        usable = bool(prefix) and not set(prefix) - set("0123456789abcdef-")
        rows = await fetch(
            self._pool,
            "SELECT id::text, text, persona FROM review_guidance WHERE tenant = %s AND removed_at IS NULL "
            "AND id::text LIKE %s LIMIT 2",
            (tenant, (prefix if usable else "?") + "%"),
        )
        if len(rows) != 1:
            raise InputError(
                f"{'several lines' if rows else 'no line'} of guidance with the id {id_or_prefix[:40]!r}",
                remedy="`chimera review guidance` lists them.",
            )
        return rows[0]

    async def remove_within(self, connection: Connection, line_id: str, by: str) -> bool:
        """Remove a line; False when somebody else has."""
        cursor = await connection.execute(
            b"UPDATE review_guidance SET removed_by = %s, removed_at = clock_timestamp() "
            b"WHERE id = %s AND removed_at IS NULL RETURNING id",
            (by, line_id),
        )
        return await cursor.fetchone() is not None
