"""Appending to the record, and looking at it.

Each event's hash covers the hash before it, so editing, deleting or reordering a row breaks the chain from there on.
Concurrent writers of one process share a transaction (group commit); an append returns when its row is committed.
"""

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chimera.core.clock import Clock
from chimera.core.ids import digest
from chimera.store.audit.chain import Verified, verify_chain
from chimera.store.audit.checkpoint import Checkpoint, Trusted
from chimera.store.audit.checkpoints import add_checkpoint
from chimera.store.audit.event import GENESIS, AuditEvent, Entry, writable
from chimera.store.audit.kinds import KINDS
from chimera.store.postgres import Connection, Pool, fetch
from chimera.store.together import Together

if TYPE_CHECKING:
    from chimera.store.audit.signing import Signer

_LOG = logging.getLogger(__name__)
_INSERT = """
    INSERT INTO audit_events (tenant, seq, mission_id, kind, body, prev_hash, hash)
    SELECT %s, * FROM unnest(%b::bigint[], %b::text[]::uuid[], %b::text[], %b::text[], %b::text[], %b::text[])
"""


class AuditLog:
    """Appends events to the chain and verifies it.

    ``signer`` signs the head of a chain after every so many events, in the transaction of the event; without one,
    nothing is signed.
    """

    def __init__(self, pool: Pool, clock: Clock, signer: "Signer | None" = None) -> None:
        self._pool = pool
        self._clock = clock
        self._signer = signer
        self._together: Together[Connection, tuple[Entry, str], str] = Together(pool.turns, self._write, last=True)
        self._unknown: set[str] = set()

    async def append(self, event: AuditEvent) -> str:
        """Commit one event and return its hash.

        Raises:
            StoreError: it is not on the record. TypeError: its data is not plain JSON.
        """
        entry = writable(event)
        self._notice(entry.event.kind)
        return await self._together.submit((entry, self._clock.now().isoformat()))

    async def append_within(self, connection: Connection, *events: AuditEvent) -> list[str]:
        """Write events of one tenant in a transaction of the caller, and return their hashes.

        They are on the record exactly if what the transaction changes is changed. It holds the chain until it ends, so
        this comes last in it.

        Raises:
            StoreError: they are not on the record. TypeError: their data is not plain JSON.
        """
        at = self._clock.now().isoformat()
        batch = {place: (writable(event), at) for place, event in enumerate(events)}
        for entry, _ in batch.values():
            self._notice(entry.event.kind)
        (tenant,) = {entry.event.tenant for entry, _ in batch.values()}
        hashes = await self._extend(connection, tenant, batch)
        return [hashes[place] for place in batch]

    async def settled(self) -> None:
        """Return when nothing is being written."""
        await self._together.settled()

    def _notice(self, kind: str) -> None:
        """An event of a kind that nobody declared is kept all the same: a record with a gap would be worse."""
        if kind not in KINDS and kind not in self._unknown and len(self._unknown) < 100:
            self._unknown.add(kind)
            _LOG.info("audit events of the kind %.60r are not declared", kind)

    async def _write(self, connection: Connection, batch: Sequence[tuple[Entry, str]]) -> list[str]:
        hashes: dict[int, str] = {}
        for tenant in sorted({entry.event.tenant for entry, _ in batch}):  # one order for all, so no deadlock
            mine = {place: each for place, each in enumerate(batch) if each[0].event.tenant == tenant}
            hashes |= await self._extend(connection, tenant, mine)
        return [hashes[place] for place in range(len(batch))]

    async def _extend(self, connection: Connection, tenant: str, batch: dict[int, tuple[Entry, str]]) -> dict[int, str]:
        """Add events to the chain of one tenant; their hashes by their place in the batch."""
        cursor = await connection.execute(
            "INSERT INTO audit_heads (tenant, seq, hash) VALUES (%s, 0, %s) "
            "ON CONFLICT (tenant) DO UPDATE SET tenant = excluded.tenant RETURNING seq, hash",
            (tenant, GENESIS),
        )
        head = await cursor.fetchone()
        first, last = (int(head["seq"]), str(head["hash"])) if head else (0, GENESIS)
        hashes: dict[int, str] = {}
        rows: list[tuple[int, str | None, str, str, str, str]] = []
        for seq, (place, (entry, at)) in enumerate(batch.items(), first + 1):
            event, body = entry.event, entry.body(seq, at)
            previous, last = last, digest(last + body)
            hashes[place] = last
            rows.append((seq, event.mission_id, event.kind, body, previous, last))
        await connection.execute(_INSERT, (tenant, *map(list, zip(*rows, strict=True))))
        seq = first + len(rows)
        await connection.execute("UPDATE audit_heads SET seq = %s, hash = %s WHERE tenant = %s", (seq, last, tenant))
        if self._signer is not None and seq // self._signer.every > first // self._signer.every:
            at = self._clock.now().isoformat()
            await add_checkpoint(connection, self._signer.sign(tenant, seq, last, at))
        return hashes

    async def of_mission(self, mission_id: str) -> list[dict[str, Any]]:
        """The events of one mission, oldest first, each with its hash."""
        rows = await fetch(
            self._pool, "SELECT body, hash FROM audit_events WHERE mission_id = %s ORDER BY seq", (mission_id,)
        )
        return [{**json.loads(row["body"]), "hash": row["hash"]} for row in rows]

    async def tail(self, tenant: str, count: int) -> list[dict[str, Any]]:
        """The last ``count`` events of a tenant, oldest first."""
        rows = await fetch(
            self._pool,
            "SELECT body, hash FROM audit_events WHERE tenant = %s ORDER BY seq DESC LIMIT %s",
            (tenant, count),
        )
        return [{**json.loads(row["body"]), "hash": row["hash"]} for row in reversed(rows)]

    async def verify(self, tenant: str = "default") -> int:
        """Walk the tenant's chain and return its length; signatures are checked where this log has a key.

        Raises:
            AuditBroken: a row was changed, removed, added or moved; the message names the place.
        """
        return (await self.examine(tenant, [self._signer.public_key] if self._signer else [])).events

    async def examine(self, tenant: str, trusted: Sequence[Trusted], elsewhere: Sequence[Checkpoint] = ()) -> Verified:
        """Walk the tenant's chain; what was found intact, and how much of it is signed by a ``trusted`` key.

        ``elsewhere``: checkpoints that were kept outside the database; the chain has to agree with them too.

        Raises:
            AuditBroken: a row or a checkpoint was changed, removed, added or moved; the message names the place.
        """
        return await verify_chain(self._pool, tenant, trusted, elsewhere)

    async def sign(self, tenant: str) -> Checkpoint | None:
        """Verify the chain and sign its head; None for a tenant without events, or a log that has no key.

        Raises:
            AuditBroken: the chain does not verify; a broken chain is not signed.
        """
        if self._signer is None:
            return None
        found = await self.examine(tenant, [])
        if not found.events:
            return None
        made = self._signer.sign(tenant, found.last, found.head, self._clock.now().isoformat())
        async with self._pool.connection() as connection:
            return await add_checkpoint(connection, made)
