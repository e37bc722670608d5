"""The security policies that were put forward, and what a human said of each."""

from datetime import datetime
from typing import Any, Literal

from chimera.core.errors import InputError
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Connection, Pool, fetch, fetch_one

POLICY_TENANT = "default"
"""Policies are of the whole installation: its own tenant is asked about them."""


class PolicyStore:
    """Reads and writes the table ``policies``. It asks nobody: see ``Proposals`` and ``Decisions``."""

    def __init__(self, pool: Pool, audit: AuditLog) -> None:
        self._pool = pool
        self._audit = audit

    async def known(self, digest: str) -> dict[str, Any] | None:
        """The policy of exactly that digest, if it was put forward."""
        return await fetch_one(self._pool, "SELECT * FROM policies WHERE digest = %s", (digest,))

    async def find(self, digest: str) -> dict[str, Any]:
        """A policy by its digest, or a unique beginning of it.

        Raises:
            InputError: there is none, or there are several.
        """
        rows = await fetch(
            self._pool, "SELECT * FROM policies WHERE starts_with(digest, %s) LIMIT 2", (digest.strip().lower(),)
        )
        if len(rows) != 1 or not digest.strip():
            raise InputError(
                f"{'several policies start' if rows else 'no policy starts'} with {digest[:40]!r}",
                remedy="`chimera policy history` lists them.",
            )
        return rows[0]

    async def asked_by(self, review_id: str) -> dict[str, Any] | None:
        """The policy that a question is about, if it is about one."""
        return await fetch_one(self._pool, "SELECT * FROM policies WHERE review_id = %s", (review_id,))

    async def newest_approved(self) -> dict[str, Any] | None:
        """The policy that was approved last, if any was."""
        return await fetch_one(
            self._pool, "SELECT * FROM policies WHERE state = 'approved' ORDER BY decided_at DESC LIMIT 1"
        )

    async def history(self, limit: int = 50) -> list[dict[str, Any]]:
        """What was put forward, newest first."""
        return await fetch(self._pool, "SELECT * FROM policies ORDER BY proposed_at DESC LIMIT %s", (limit,))

    async def refused(self, digest: str, why: str) -> None:
        """Put on the record that a file could not be taken as a policy."""
        await self._audit.append(
            AuditEvent(kind="policy.refused", actor="policy", data={"policy": digest, "reason": why})
        )

    async def propose(
        self, connection: Connection, digest: str, title: str, body: str, at: datetime, by: str | None
    ) -> tuple[dict[str, Any], bool]:
        """Put a policy forward in a transaction, unless it was; the row, held by it, and whether it is new.

        ``by`` is noted if nobody put it forward in his name before.
        """
        cursor = await connection.execute(
            "INSERT INTO policies (digest, title, body, state, proposed_at) VALUES (%s, %s, %s, 'proposed', %s) "
            "ON CONFLICT DO NOTHING RETURNING digest",
            (digest, title, body, at),
        )
        is_new = await cursor.fetchone() is not None
        cursor = await connection.execute(
            "UPDATE policies SET proposed_by = CASE WHEN state = 'proposed' THEN coalesce(proposed_by, %s) "
            "ELSE proposed_by END WHERE digest = %s RETURNING *",
            (by, digest),
        )
        row = await cursor.fetchone()
        return dict(row or {}), is_new

    async def ask(self, connection: Connection, digest: str, review_id: str) -> None:
        """Note in a transaction which question is about a policy."""
        await connection.execute("UPDATE policies SET review_id = %s WHERE digest = %s", (review_id, digest))

    async def settle(
        self,
        connection: Connection,
        digest: str,
        before: Literal["proposed", "rejected"],
        state: Literal["approved", "rejected"],
        *,
        by: str,
        reason: str,
        at: datetime,
        review_id: str | None,
    ) -> bool:
        """Decide about a policy in a transaction; False when it no longer is as it was ``before``."""
        cursor = await connection.execute(
            "UPDATE policies SET state = %s, decided_at = %s, decided_by = %s, reason = %s, review_id = %s "
            "WHERE digest = %s AND state = %s RETURNING digest",
            (state, at, by, reason, review_id, digest, before),
        )
        return await cursor.fetchone() is not None
