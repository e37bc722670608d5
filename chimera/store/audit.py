"""The tamper-evident record: an append-only hash chain per tenant.

Each event's hash covers the hash before it, so editing, deleting or reordering a row breaks the chain from there on.
Concurrent writers of one process share a transaction (group commit); an append returns when its row is committed.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from chimera.core.clock import Clock
from chimera.core.errors import AuditBroken
from chimera.core.ids import digest
from chimera.store.postgres import Pool, fetch, store_errors

GENESIS = "0" * 64


@dataclass(frozen=True)
class AuditEvent:
    """Something that must be on the record. ``data`` holds ids, reasons and digests, never secrets."""

    kind: str
    actor: str
    mission_id: str | None = None
    tenant: str = "default"
    data: dict[str, Any] = field(default_factory=dict[str, Any])


class AuditLog:
    """Appends events to the chain and verifies it."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._waiting: list[tuple[AuditEvent, str, asyncio.Future[str]]] = []
        self._turn = asyncio.Lock()

    async def append(self, event: AuditEvent) -> str:
        """Commit one event and return its hash."""
        mine: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, self._clock.now().isoformat(), mine))
        async with self._turn:  # whoever gets the turn writes for all who wait
            if not mine.done():
                batch, self._waiting = self._waiting, []
                # Shielded: a cancelled writer must not take the events of the others with it.
                await asyncio.shield(asyncio.ensure_future(self._write(batch)))
        return await mine

    async def _write(self, batch: list[tuple[AuditEvent, str, asyncio.Future[str]]]) -> None:
        try:
            hashes = await self._commit([(event, at) for event, at, _ in batch])
        except Exception as error:  # noqa: BLE001 - every waiter learns of it; none may believe that it is on the record
            for *_, future in batch:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # read once here, so that a waiter that went away leaves no warning
            return
        for (*_, future), done in zip(batch, hashes, strict=True):
            if not future.done():
                future.set_result(done)

    async def _commit(self, batch: list[tuple[AuditEvent, str]]) -> list[str]:
        hashes: dict[int, str] = {}
        async with store_errors(), self._pool.connection() as connection, connection.transaction():
            for tenant in sorted({event.tenant for event, _ in batch}):  # one order for all, so no deadlock
                cursor = await connection.execute(
                    "INSERT INTO audit_heads (tenant, seq, hash) VALUES (%s, 0, %s) "
                    "ON CONFLICT (tenant) DO UPDATE SET tenant = excluded.tenant RETURNING seq, hash",
                    (tenant, GENESIS),
                )
                head = await cursor.fetchone()
                seq, last = (int(head["seq"]), str(head["hash"])) if head else (0, GENESIS)
                rows: list[tuple[Any, ...]] = []
                for place, (event, at) in enumerate(batch):
                    if event.tenant == tenant:
                        seq += 1
                        body = _body(event, seq, at)
                        previous, last = last, digest(last + body)
                        hashes[place] = last
                        rows.append((tenant, seq, event.mission_id, event.kind, body, previous, last))
                await connection.cursor().executemany(
                    "INSERT INTO audit_events (tenant, seq, mission_id, kind, body, prev_hash, hash) "
                    "VALUES (%s, %s, %s, %s, %s, %s, %s)",
                    rows,
                )
                await connection.execute(
                    "UPDATE audit_heads SET seq = %s, hash = %s WHERE tenant = %s", (seq, last, tenant)
                )
        return [hashes[place] for place in range(len(batch))]

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
        """Walk the tenant's chain and return its length.

        Raises:
            AuditBroken: a row was changed, removed, added or moved; the message names the place.
        """
        head = await fetch(self._pool, "SELECT seq, hash FROM audit_heads WHERE tenant = %s", (tenant,))
        expected, last = 0, GENESIS
        while True:
            rows = await fetch(
                self._pool,
                "SELECT seq, mission_id, kind, body, prev_hash, hash FROM audit_events "
                "WHERE tenant = %s AND seq > %s ORDER BY seq LIMIT 5000",
                (tenant, expected),
            )
            for row in rows:
                expected += 1
                _verify_row(row, expected, last, tenant)
                last = str(row["hash"])
            if not rows:
                break
        if head and (int(head[0]["seq"]), str(head[0]["hash"])) != (expected, last):
            raise AuditBroken(f"tenant {tenant}: the chain ends at {expected}, its head says {head[0]['seq']}")
        if not head and expected:
            raise AuditBroken(f"tenant {tenant}: the chain has {expected} events and no head")
        return expected


def _body(event: AuditEvent, seq: int, at: str) -> str:
    return json.dumps(
        {
            "seq": seq,
            "at": at,
            "tenant": event.tenant,
            "mission_id": event.mission_id,
            "kind": event.kind,
            "actor": event.actor,
            "data": event.data,
        },
        sort_keys=True,
        separators=(",", ":"),
    )


def _verify_row(row: dict[str, Any], expected: int, last: str, tenant: str) -> None:
    if row["seq"] != expected:
        raise AuditBroken(f"tenant {tenant}: event {expected} is missing")
    if row["prev_hash"] != last:
        raise AuditBroken(f"tenant {tenant}: event {expected} does not follow event {expected - 1}")
    if digest(last + row["body"]) != row["hash"]:
        raise AuditBroken(f"tenant {tenant}: event {expected} was changed")
    body = json.loads(row["body"])
    shown = (str(row["mission_id"]) if row["mission_id"] else None, row["kind"], row["seq"])
    if (body["mission_id"], body["kind"], body["seq"]) != shown:
        raise AuditBroken(f"tenant {tenant}: event {expected}: its columns do not match what was hashed")
