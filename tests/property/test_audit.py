"""The audit trail against every kind of tampering, on histories that hypothesis makes up.

Proves LAW-8, TR-18 and TR-19: whatever events there are, the chain is what the specification says, can be computed by
anybody, and verifies; and whatever somebody with all rights in the database does to one tenant's chain, that chain no
longer verifies, the first wrong number is named, and the other tenants' chains are as intact as before.
"""

import asyncio
import hashlib
import json
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chimera.core.clock import SystemClock
from chimera.core.errors import AuditBroken
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Pool, fetch, open_pool

TENANTS = ("acme", "globex")
MISSIONS = (None, "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11", "0B9D5A52-9A5E-4A39-8E0B-4A8D2B6D0C12")
text = st.text(st.characters(exclude_categories=()), max_size=12)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
events = st.builds(
    AuditEvent,
    kind=st.sampled_from(["decision", "verdict", "a\x00b"]) | text,
    actor=text,
    mission_id=st.sampled_from(MISSIONS),
    tenant=st.sampled_from(TENANTS),
    data=st.dictionaries(text, plain, max_size=3),
)
some_events = st.lists(events, min_size=1, max_size=12)

CHANGE = "UPDATE audit_events SET {} WHERE tenant = 'acme' AND seq = %(at)s"
COPY = "INSERT INTO audit_events SELECT {} FROM audit_events WHERE tenant = 'acme' AND seq = %(at)s"
HEAD = "UPDATE audit_heads SET {} WHERE tenant = 'acme'"
EACH = ("event 1 ", "event 2 ", "event 4 ")
GONE = ("event 1 is missing", "event 2 is missing", "ends at 3")

TAMPERING: dict[str, tuple[str, tuple[str, ...]]] = {
    "body: a letter": (CHANGE.format("body = overlay(body placing '~' from 3)"), EACH),
    "body: a space": (CHANGE.format("body = body || ' '"), EACH),
    "body: the actor": (CHANGE.format('body = replace(body, \'"actor":"\', \'"actor":"x\')'), EACH),
    "kind": (CHANGE.format("kind = kind || 'x'"), EACH),
    "mission": (CHANGE.format("mission_id = gen_random_uuid()"), EACH),
    "mission: none": (CHANGE.format("mission_id = CASE WHEN mission_id IS NULL THEN gen_random_uuid() END"), EACH),
    "hash": (CHANGE.format("hash = hash || 'x'"), EACH),
    "hash before": (CHANGE.format("prev_hash = 'x' || prev_hash"), EACH),
    "body and its hash": (
        CHANGE.format("body = body || ' ', hash = encode(sha256(convert_to(prev_hash || body || ' ', 'UTF8')), 'hex')"),
        ("event 2 ", "event 3 ", "ends at 4"),
    ),
    "deleted": ("DELETE FROM audit_events WHERE tenant = 'acme' AND seq = %(at)s", GONE),
    "deleted from there on": (
        "DELETE FROM audit_events WHERE tenant = 'acme' AND seq >= %(at)s",
        ("ends at 0", "ends at 1", "ends at 3"),
    ),
    "deleted up to there": (
        "DELETE FROM audit_events WHERE tenant = 'acme' AND seq <= %(at)s",
        ("event 1 is missing", "event 1 is missing", "ends at 0"),
    ),
    "cut out and closed up": (
        (
            "DELETE FROM audit_events WHERE tenant = 'acme' AND seq = %(at)s; "
            "UPDATE audit_events SET seq = seq - 1 WHERE tenant = 'acme' AND seq > %(at)s"
        ),
        ("event 1 ", "event 2 ", "ends at 3"),
    ),
    "swapped with the next": (
        (
            "UPDATE audit_events SET seq = CASE seq WHEN %(at)s THEN %(at)s + 1 ELSE %(at)s END "
            "WHERE tenant = 'acme' AND seq IN (%(at)s, %(at)s + 1)"
        ),
        ("event 1 ", "event 2 ", "event 4 "),
    ),
    "twice": (COPY.format("*"), EACH),
    "twice, the rest moved up": (
        "UPDATE audit_events SET seq = seq + 1 WHERE tenant = 'acme' AND seq > %(at)s; "
        + COPY.format("tenant, seq + 1, mission_id, kind, body, prev_hash, hash"),
        ("event 2 ", "event 3 ", "event 5 "),
    ),
    "added at the end": (
        COPY.format("tenant, %(n)s + 1, mission_id, kind, body, prev_hash, hash"),
        ("event 5 ", "event 5 ", "event 5 "),
    ),
    "given to another tenant": (CHANGE.format("tenant = 'globex'"), GONE),
    "renumbered": (
        CHANGE.format("seq = %(n)s + 5"),
        ("event 1 is missing", "event 2 is missing", "event 4 is missing"),
    ),
    "truncated": ("TRUNCATE audit_events", ("ends at 0",) * 3),
    "head: hash": (HEAD.format("hash = hash || 'x'"), ("ends at 4",) * 3),
    "head: number": (HEAD.format("seq = seq + 1"), ("ends at 4",) * 3),
    "head: an older one": (
        (
            "UPDATE audit_heads AS h SET seq = e.seq - 1, hash = e.prev_hash FROM audit_events AS e "
            "WHERE (e.tenant, e.seq) = ('acme', %(at)s) AND h.tenant = 'acme'"
        ),
        ("ends at 4",) * 3,
    ),
    "head: gone": ("DELETE FROM audit_heads WHERE tenant = 'acme'", ("4 events and no head",) * 3),
    "all of another tenant's": (
        (
            "DELETE FROM audit_events WHERE tenant = 'acme'; DELETE FROM audit_heads WHERE tenant = 'acme'; "
            "INSERT INTO audit_events SELECT 'acme', seq, mission_id, kind, body, prev_hash, hash FROM audit_events "
            "WHERE tenant = 'globex'; "
            "INSERT INTO audit_heads SELECT 'acme', seq, hash FROM audit_heads WHERE tenant = 'globex'"
        ),
        ("event 1 ",) * 3,
    ),
}
ELSEWHERE = ("given to another tenant", "truncated")  # these harm the other chain too


@dataclass
class Desk:
    """A loop with a database in which everything may be done, and a log in it."""

    runner: asyncio.Runner
    pool: Pool
    log: AuditLog

    def write(self, written: list[AuditEvent]) -> None:
        """Start with an empty trail, and append at the same time."""

        async def append() -> None:
            await fetch(self.pool, "TRUNCATE audit_events, audit_heads")
            async with asyncio.TaskGroup() as group:
                for event in written:
                    group.create_task(self.log.append(event))

        self.runner.run(append())

    def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """Run statements, one after the other."""

        async def run() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = []
            for statement in query.split("; "):
                found = await fetch(self.pool, statement, values)
            return found

        return self.runner.run(run())

    def verify(self, tenant: str) -> int | str:
        """The length of the chain, or what is wrong with it."""
        try:
            return self.runner.run(self.log.verify(tenant))
        except AuditBroken as broken:
            return broken.message


@pytest.fixture
def desk(database_url: str) -> Generator[Desk]:
    """A trail whose database has lost what protects it: triggers and keys are no obstacle to a superuser."""
    with asyncio.Runner() as runner:
        opened = open_pool(database_url, 4)
        pool = runner.run(opened.__aenter__())
        desk = Desk(runner, pool, AuditLog(pool, SystemClock()))
        desk.rows(
            "ALTER TABLE audit_events DISABLE TRIGGER ALL; ALTER TABLE audit_events DROP CONSTRAINT audit_events_pkey"
        )
        yield desk
        runner.run(opened.__aexit__(None, None, None))


quick = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    database=None,
)


def test_any_history_verifies_and_reads_as_the_specification_says(desk: Desk) -> None:
    @quick
    @given(some_events)
    def check(written: list[AuditEvent]) -> None:
        desk.write(written)
        for tenant in TENANTS:
            mine = [event for event in written if event.tenant == tenant]
            rows = desk.rows("SELECT * FROM audit_events WHERE tenant = %(tenant)s ORDER BY seq", tenant=tenant)
            assert desk.verify(tenant) == len(rows) == len(mine)
            before = "0" * 64
            for seq, row in enumerate(rows, 1):
                body = json.loads(row["body"])
                assert row["body"] == json.dumps(body, sort_keys=True, separators=(",", ":"))
                assert (row["seq"], body["seq"], row["prev_hash"]) == (seq, seq, before)
                before = hashlib.sha256(before.encode() + row["body"].encode()).hexdigest()
                assert row["hash"] == before
                json.dumps(body, ensure_ascii=False, allow_nan=False).encode()  # whole characters, real numbers

    check()


def test_tampering_with_any_history_is_found(desk: Desk) -> None:
    @quick
    @given(some_events, st.sampled_from(sorted(TAMPERING)), st.data())
    def check(written: list[AuditEvent], kind: str, data: st.DataObject) -> None:
        whole = [AuditEvent("k", "a", tenant=tenant) for tenant in TENANTS] + written
        length = sum(event.tenant == "acme" for event in whole)
        desk.write(whole)
        desk.rows(TAMPERING[kind][0], at=data.draw(st.integers(1, length)), n=length)
        told = desk.verify("acme")
        assert isinstance(told, str), (kind, told)
        if kind not in ELSEWHERE:
            assert desk.verify("globex") == len(whole) - length

    check()


def test_tampering_is_located(desk: Desk) -> None:
    """At the first, an inner and the last event of four."""
    mine = AuditEvent("decision", "gateway", MISSIONS[1], "acme", {"action": "allow"})
    other = AuditEvent("decision", "gateway", None, "globex", {"action": "reject"})
    for kind, (change, places) in TAMPERING.items():
        for at, place in zip((1, 2, 4), places, strict=True):
            desk.write([mine] * 4 + [other] * 3)
            desk.rows(change, at=at, n=4)
            assert place in f"{desk.verify('acme')} ".replace(":", " "), (kind, at)
