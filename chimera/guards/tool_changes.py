"""Tools that changed since they were pinned: before a human once, on the record, and pinned anew after a yes."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from chimera.core.clock import Clock
from chimera.core.contracts import ReviewDecision, ReviewItem, ReviewPoint, Threat
from chimera.core.errors import ConflictError
from chimera.core.ids import NewId
from chimera.review.queue import ReviewQueue
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.pins import PinStore
from chimera.store.postgres import Connection, Pool
from chimera.tools.registry.gate import ITSELF, Found
from chimera.tools.registry.pins import fingerprint

TOOLS_TENANT = "default"
"""Tool servers are of the whole installation: its own tenant is asked about them."""


class ToolChanges:
    """Keeps what servers say instead of what was pinned, and asks a human about it."""

    def __init__(
        self, pool: Pool, pins: PinStore, reviews: ReviewQueue, audit: AuditLog, clock: Clock, new_id: NewId
    ) -> None:
        self.pins = pins
        self._pool = pool
        self._reviews = reviews
        self._audit = audit
        self._clock = clock
        self._new_id = new_id

    async def put_forward(self, found: Found, *, again: bool = False) -> str:
        """Put changed tools before a human, unless they are there or were rejected; how it stands, in words.

        Raises:
            StoreError: it was not put forward.
        """
        item = _question(found, self._new_id())
        held = [change["tool"] for change in found.changes if change["held"]]
        about = {"server": found.server, "identity": found.identity, "version": found.version, "digest": found.digest}
        events = [
            AuditEvent(kind="tools.held", actor=ITSELF, tenant=TOOLS_TENANT, data={**about, "tools": held}),
            AuditEvent(
                kind="review.asked",
                actor=ITSELF,
                tenant=TOOLS_TENANT,
                data={"item": item.id, "point": item.point, "question": item.question, "server": found.server},
            ),
        ]
        async with self._pool.connection() as connection, connection.transaction():
            # The question is there before the change that names it, and goes with the transaction if nobody needs it.
            if await self.pins.propose(
                connection, found.digest, found.plain(), item.id, self._clock.now(), again=again
            ):
                await self._reviews.open_within(connection, item, TOOLS_TENANT)
                await self._audit.append_within(connection, *events)
        row = await self.pins.change(found.digest)
        if row is not None and row["state"] == "rejected":
            return f"{row['decided_by']} said no to it; `chimera tools pin {found.server} --ask` asks again"
        return f"it waits for a human: `chimera review show {str(row['review_id'])[:8] if row else item.id[:8]}`"

    def settled(
        self, row: Mapping[str, Any], decision: ReviewDecision
    ) -> Callable[[Connection], Awaitable[list[AuditEvent]]]:
        """What an answer about changed tools changes, in its transaction: after a yes, they are pinned as they are."""
        approve, by = decision.action == "approve", decision.reviewer

        async def effect(connection: Connection) -> list[AuditEvent]:
            at, identity, version = self._clock.now(), row["identity"], row["version"]
            state = "approved" if approve else "rejected"
            if not await self.pins.settle(connection, row["digest"], state, by=by, reason=decision.reason, at=at):
                raise ConflictError(f"the change of {row['server']} was decided in the meantime")
            told = {name: row[name] for name in ("server", "identity", "version", "digest")}
            told["reason"] = decision.reason
            if not approve:
                return [AuditEvent(kind="tools.rejected", actor=by, tenant=TOOLS_TENANT, data=told)]
            found: dict[str, dict[str, Any]] = row["definitions"]
            digests = {name: (fingerprint(defined), defined) for name, defined in found.items()}
            await self.pins.unpin(connection, identity, version, list(found))
            await self.pins.pin(connection, identity, version, digests, by, at, instead=True)
            return [AuditEvent(kind="tools.approved", actor=by, tenant=TOOLS_TENANT, data=told)]

        return effect


def _question(found: Found, review_id: str) -> ReviewItem:
    held = [change for change in found.changes if change["held"]]
    return ReviewItem(
        id=review_id,
        mission_id=None,
        point=ReviewPoint.SECURITY,
        question=f"May agents use {len(held)} {'tool' if len(held) == 1 else 'tools'} of {found.server} that changed?",
        payload={
            "kind": "changed_tools",
            "blocking": False,
            "threat": Threat.HIGH.value,
            "server": found.server,
            "identity": found.identity,
            "version": found.version,
            "digest": found.digest,
            "changes": found.changes,
        },
        confidence=0.0,
        reasons=[f"{change['tool']}: {change['said']}"[:400] for change in found.changes[:20]],
    )
