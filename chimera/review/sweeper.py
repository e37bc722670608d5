"""What nobody answered in time goes up its chain. Silence is never an answer: it only asks somebody else.

Several processes may sweep at once: each item is moved by one of them, in a transaction with its event.
"""

from typing import Any

from chimera.review.rules import WorkRules
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Connection, Pool

SWEEPER = "chimera:sweeper"
_MOST = 100
_LATE = b"""
    SELECT id::text, mission_id::text, tenant, point, step, assigned_to FROM reviews
    WHERE state = 'open' AND passed_at IS NULL AND overdue_at IS NULL AND due_at <= clock_timestamp()
    ORDER BY tenant, due_at, id LIMIT %s FOR UPDATE SKIP LOCKED
"""
_UP = b"""
    UPDATE reviews SET assigned_to = %s, step = step + 1, version = version + 1,
        due_at = clock_timestamp() + make_interval(secs => %s),
        claimed_by = NULL, claimed_until = NULL
    WHERE id = %s
"""
_OVERDUE = b"UPDATE reviews SET overdue_at = clock_timestamp() WHERE id = %s"


class Sweeper:
    """Hands up what is late."""

    def __init__(self, pool: Pool, audit: AuditLog, rules: WorkRules) -> None:
        self._pool = pool
        self._audit = audit
        self._rules = rules

    async def sweep(self) -> int:
        """Hand up every open question that is late by now; return how many were."""
        moved = 0
        while (some := await self._some()) > 0:
            moved += some
        return moved

    async def _some(self) -> int:
        async with self._pool.connection() as connection, connection.transaction():
            rows = await (await connection.execute(_LATE, (_MOST,))).fetchall()
            by_tenant: dict[str, list[AuditEvent]] = {}
            for row in rows:
                by_tenant.setdefault(row["tenant"], []).append(await self._moved(connection, row))
            for events in by_tenant.values():
                await self._audit.append_within(connection, *events)
        return len(rows)

    async def _moved(self, connection: Connection, row: dict[str, Any]) -> AuditEvent:
        chain, step = self._rules.chain(row["point"]), int(row["step"]) + 1
        data = {"item": row["id"], "from": row["assigned_to"], "step": step}
        if step < len(chain):
            to = f"role:{chain[step]}"
            await connection.execute(_UP, (to, self._rules.due_s, row["id"]))
            return AuditEvent("review.escalated", SWEEPER, row["mission_id"], row["tenant"], {**data, "to": to})
        await connection.execute(_OVERDUE, (row["id"],))
        return AuditEvent("review.overdue", SWEEPER, row["mission_id"], row["tenant"], data)
