"""The audit trail is written as the specification says, so that anybody can verify it with no code of ours.

Proves TR-18 and TR-19: bodies fit AUDIT_BODY, the chain can be computed again from the rows alone, the database refuses
to change an event, and every way to change one around that is found and named.
"""

import json
from hashlib import sha256

import pytest

from chimera.core import specs
from chimera.core.clock import SystemClock
from chimera.core.errors import AuditBroken, StoreError
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Pool, fetch

MISSION = "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11"
ADDED = """INSERT INTO audit_events (tenant, seq, mission_id, kind, body, prev_hash, hash)
    SELECT tenant, 4, mission_id, kind, body, prev_hash, hash FROM audit_events WHERE seq = 3"""


@pytest.fixture
async def log(pool: Pool, clock: SystemClock) -> AuditLog:
    """A log with three events of one tenant and one of another."""
    log = AuditLog(pool, clock)
    for number in range(3):
        await log.append(AuditEvent(kind="decision", actor="gateway", mission_id=MISSION, data={"number": number}))
    await log.append(AuditEvent(kind="decision", actor="gateway", tenant="other"))
    return log


async def test_the_chain_can_be_computed_from_the_rows_alone(log: AuditLog, pool: Pool) -> None:
    heads = {row["tenant"]: row for row in await fetch(pool, "SELECT * FROM audit_heads")}
    for tenant, length in (("default", 3), ("other", 1)):
        rows = await fetch(pool, "SELECT * FROM audit_events WHERE tenant = %s ORDER BY seq", (tenant,))
        before = "0" * 64
        for seq, row in enumerate(rows, start=1):
            body = json.loads(row["body"])
            assert specs.problems("AUDIT_BODY", body) == []
            assert row["body"] == json.dumps(body, sort_keys=True, separators=(",", ":"))
            assert (body["seq"], body["tenant"], row["prev_hash"]) == (seq, tenant, before)
            before = sha256((before + row["body"]).encode()).hexdigest()
            assert row["hash"] == before
        assert (heads[tenant]["seq"], heads[tenant]["hash"]) == (length, before) == (len(rows), before)
        assert await log.verify(tenant) == length


@pytest.mark.parametrize(
    "change",
    ["UPDATE audit_events SET kind = 'x'", "DELETE FROM audit_events", "TRUNCATE audit_events"],
)
async def test_the_database_refuses_to_change_an_event(log: AuditLog, pool: Pool, change: str) -> None:
    with pytest.raises(StoreError, match="append-only"):
        await fetch(pool, change)
    assert await log.verify() == 3


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ("UPDATE audit_events SET body = replace(body, '1', '7') WHERE seq = 2 AND tenant = 'default'", "event 2"),
        ("UPDATE audit_events SET kind = 'x' WHERE seq = 2 AND tenant = 'default'", "event 2"),
        ("DELETE FROM audit_events WHERE seq = 2 AND tenant = 'default'", "event 2"),
        ("DELETE FROM audit_events WHERE seq = 3 AND tenant = 'default'", "ends at 2"),
        ("UPDATE audit_events SET seq = 5 - seq WHERE seq IN (2, 3) AND tenant = 'default'", "event 2"),
        (ADDED, "event 4"),
    ],
    ids=["body", "column", "removed", "last removed", "moved", "added"],
)
async def test_a_change_around_the_database_is_found_and_named(
    log: AuditLog, pool: Pool, change: str, place: str
) -> None:
    await fetch(pool, "ALTER TABLE audit_events DISABLE TRIGGER audit_events_append_only")
    await fetch(pool, "ALTER TABLE audit_events DROP CONSTRAINT audit_events_pkey")
    await fetch(pool, change)
    with pytest.raises(AuditBroken, match=place):
        await log.verify()
