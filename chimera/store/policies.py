"""The security policies that were put forward, and what a human said of each."""

from typing import Any

from chimera.core.clock import Clock
from chimera.core.errors import ConflictError, InputError
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Pool, fetch, fetch_one


class PolicyStore:
    """Reads and writes the table ``policies``. Whatever changes in it is on the record, once."""

    def __init__(self, pool: Pool, audit: AuditLog, clock: Clock) -> None:
        self._pool = pool
        self._audit = audit
        self._clock = clock

    async def propose(self, digest: str, title: str, body: str, *, approved: bool = False) -> str:
        """Put a policy forward, unless it was; return its state. ``approved``: nobody has to be asked about it."""
        now = self._clock.now()
        rows = await fetch(
            self._pool,
            "INSERT INTO policies (digest, title, body, state, proposed_at, decided_at, decided_by) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING state",
            (
                digest,
                title,
                body,
                "approved" if approved else "proposed",
                now,
                now if approved else None,
                "policy" if approved else None,
            ),
        )
        if rows:
            await self._tell("policy.approved" if approved else "policy.proposed", "policy", digest, title=title)
        return str((await self.find(digest))["state"])

    async def decide(self, digest: str, *, approve: bool, by: str, reason: str = "") -> dict[str, Any]:
        """Approve or reject what was put forward, as a human; the newest approved one is what holds.

        Raises:
            InputError: there is no such policy, or no human says so. ConflictError: it was decided already.
        """
        if not by.strip() or by.startswith("agent:"):
            raise InputError("a policy is approved by a human", remedy="Say who: `--by NAME`.")
        found = await self.find(digest)
        state = "approved" if approve else "rejected"
        rows = await fetch(
            self._pool,
            "UPDATE policies SET state = %s, decided_at = %s, decided_by = %s, reason = %s "
            "WHERE digest = %s AND (state = 'proposed' OR (state = 'rejected' AND %s = 'approved')) RETURNING digest",
            (state, self._clock.now(), by, reason, found["digest"], state),
        )
        if not rows:
            raise ConflictError(f"policy {found['digest']} is {found['state']} already")
        await self._tell(f"policy.{state}", by, found["digest"], reason=reason)
        return await self.find(found["digest"])

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
        await self._tell("policy.refused", "policy", digest, reason=why)

    async def _tell(self, kind: str, actor: str, digest: str, **data: str) -> None:
        await self._audit.append(AuditEvent(kind=kind, actor=actor, data={"policy": digest, **data}))
