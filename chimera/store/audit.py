"""The tamper-evident record: an append-only hash chain per tenant.

Each event's hash covers the hash before it, so editing, deleting or reordering a row breaks the chain from there on.
Concurrent writers of one process share a transaction (group commit); an append returns when its row is committed.
"""

import asyncio
import json
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

from chimera.core.clock import Clock
from chimera.core.errors import AuditBroken, StoreError
from chimera.core.ids import digest
from chimera.store.postgres import Pool, fetch, take_time
from chimera.store.values import as_stored

GENESIS = "0" * 64
_VERIFY_S = 3_600.0
_PAGE = 5_000


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
        """Commit one event and return its hash.

        Raises:
            StoreError: it is not on the record. TypeError: its data is not plain JSON.
        """
        entry = _writable(event)
        mine: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, self._clock.now().isoformat(), mine))
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
        async with self._pool.connection() as connection, connection.transaction():
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
        expected, last = 0, GENESIS
        async with self._pool.connection(within_s=_VERIFY_S) as connection, connection.transaction():
            await take_time(connection)
            # One snapshot: what others append meanwhile must not look like tampering.
            await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor = await connection.execute("SELECT seq, hash FROM audit_heads WHERE tenant = %s", (tenant,))
            head = await cursor.fetchone()
            async with connection.cursor(name="audit_chain") as rows:
                rows.itersize = _PAGE
                await rows.execute(
                    "SELECT seq, mission_id, kind, body, prev_hash, hash FROM audit_events "
                    "WHERE tenant = %s ORDER BY seq",
                    (tenant,),
                )
                async for row in rows:
                    expected += 1
                    _verify_row(row, expected, last, tenant)
                    last = str(row["hash"])
        if head and (head["seq"], head["hash"]) != (expected, last):
            raise AuditBroken(
                f"tenant {tenant}: the chain ends at {expected}, which is not the end that its head has ({head['seq']})"
            )
        if not head and expected:
            raise AuditBroken(f"tenant {tenant}: the chain has {expected} events and no head")
        return expected


def _writable(event: AuditEvent) -> AuditEvent:
    """The event as the tables can hold it; one that they cannot must not take the others of its batch with it."""
    json.dumps(event.data, sort_keys=True)
    mission_id = event.mission_id
    if mission_id is not None:
        try:
            mission_id = str(uuid.UUID(mission_id))  # as the column shows it, whatever way it was written
        except ValueError:
            raise StoreError(f"event {event.kind}: what it is about has no mission id") from None
    return replace(
        event,
        kind=as_stored(event.kind),
        actor=as_stored(event.actor),
        tenant=as_stored(event.tenant),
        mission_id=mission_id,
        data=as_stored(event.data),
    )


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
        raise AuditBroken(
            f"tenant {tenant}: event {expected} is missing"
            if row["seq"] > expected
            else f"tenant {tenant}: event {row['seq']} is there more than once"
        )
    if row["prev_hash"] != last:
        raise AuditBroken(f"tenant {tenant}: event {expected} does not follow event {expected - 1}")
    if digest(last + row["body"]) != row["hash"]:
        raise AuditBroken(f"tenant {tenant}: event {expected} was changed")
    shown = {
        "tenant": tenant,
        "mission_id": str(row["mission_id"]) if row["mission_id"] else None,
        "kind": row["kind"],
        "seq": row["seq"],
    }
    if not shown.items() <= json.loads(row["body"]).items():
        raise AuditBroken(f"tenant {tenant}: event {expected}: its columns do not match what was hashed")
