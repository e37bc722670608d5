"""The table of signed checkpoints."""

from datetime import datetime

from chimera.core.errors import AuditBroken
from chimera.store.audit.checkpoint import Checkpoint
from chimera.store.postgres import Connection, Pool, fetch


async def add_checkpoint(connection: Connection, made: Checkpoint) -> Checkpoint:
    """Keep a checkpoint; the one that is kept for that event, which may be an earlier one.

    Raises:
        AuditBroken: another end of the chain was signed there before.
    """
    cursor = await connection.execute(
        "INSERT INTO audit_checkpoints (tenant, seq, hash, at, key, signature) VALUES (%s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (tenant, seq, key) DO NOTHING",
        (made.tenant, made.seq, made.hash, made.at, made.key, made.signature),
    )
    if cursor.rowcount:
        return made
    cursor = await connection.execute(
        "SELECT tenant, seq, hash, at, key, signature FROM audit_checkpoints "
        "WHERE tenant = %s AND seq = %s AND key = %s",
        (made.tenant, made.seq, made.key),
    )
    row = await cursor.fetchone()
    if row is None or row["hash"] != made.hash:
        raise AuditBroken(f"tenant {made.tenant}: event {made.seq} is not the one that was signed before")
    return Checkpoint(**row)


async def checkpoints_of(connection: Connection, tenant: str) -> list[Checkpoint]:
    """All checkpoints of a tenant, by the number of their event."""
    cursor = await connection.execute(
        "SELECT tenant, seq, hash, at, key, signature FROM audit_checkpoints WHERE tenant = %s ORDER BY seq, key",
        (tenant,),
    )
    return [Checkpoint(**row) for row in await cursor.fetchall()]


async def checkpoints_between(pool: Pool, tenant: str, since: datetime, until: datetime) -> list[Checkpoint]:
    """The checkpoints of a tenant that were signed in a period."""
    rows = await fetch(
        pool,
        "SELECT tenant, seq, hash, at, key, signature FROM audit_checkpoints WHERE tenant = %s "
        "AND at::timestamptz >= %s AND at::timestamptz < %s ORDER BY seq",
        (tenant, since, until),
    )
    return [Checkpoint(**row) for row in rows]
