"""What is signed cannot be changed, whatever somebody with all rights in the database does.

Proves TR-41, TR-42 and TR-44, on a real Postgres with its triggers off: after a chain was rewritten so that it is whole
again, or cut off with its head, verifying it fails and says where; the same holds for a file that was exported, which
is verified without the database, and for a checkpoint that was kept elsewhere.
"""

import json
from collections.abc import AsyncGenerator, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chimera.core.clock import SystemClock
from chimera.core.errors import AuditBroken, InputError, StoreError
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.audit.checkpoint import Checkpoint
from chimera.store.audit.event import writable
from chimera.store.audit.export import export_lines, read_checkpoints, verify_file
from chimera.store.audit.signing import PublicKey, Signer
from chimera.store.audit.stream import Part
from chimera.store.postgres import Pool, fetch, open_pool

MISSION = "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11"
KEY = Ed25519PrivateKey.generate()
TRUSTED = [PublicKey(KEY.public_key())]
EVERY = 4


@pytest.fixture
async def pool(shared_database_url: str) -> AsyncGenerator[Pool]:
    """One database for all tests here, emptied for each, in which everything may be done."""
    async with open_pool(shared_database_url, 4) as opened:
        for table in ("audit_events", "audit_checkpoints"):
            await fetch(opened, f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        await fetch(opened, "TRUNCATE audit_events, audit_heads, audit_checkpoints")
        yield opened


@pytest.fixture
async def log(pool: Pool, clock: SystemClock) -> AuditLog:
    """Ten events; 4 and 8 are signed."""
    log = AuditLog(pool, clock, Signer(KEY, EVERY))
    for number in range(1, 11):
        await log.append(AuditEvent("verdict", "judge", MISSION, data={"number": number}))
    await log.append(AuditEvent("verdict", "judge", tenant="other"))
    return log


async def rewrite(pool: Pool, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    """Make a chain anew, with its head, from bodies that were changed: all that can be done without the key."""
    rows = await fetch(pool, "SELECT * FROM audit_events WHERE tenant = 'default' ORDER BY seq")
    bodies = change([json.loads(row["body"]) for row in rows])
    await fetch(pool, "DELETE FROM audit_events WHERE tenant = 'default'")
    last = "0" * 64
    for seq, body in enumerate(bodies, 1):
        text = json.dumps({**body, "seq": seq}, sort_keys=True, separators=(",", ":"))
        before, last = last, sha256((last + text).encode()).hexdigest()
        await fetch(
            pool,
            "INSERT INTO audit_events (tenant, seq, mission_id, kind, body, prev_hash, hash) "
            "VALUES ('default', %s, %s, %s, %s, %s, %s)",
            (seq, body["mission_id"], body["kind"], text, before, last),
        )
    await fetch(pool, "UPDATE audit_heads SET seq = %s, hash = %s WHERE tenant = 'default'", (len(bodies), last))


async def test_every_so_many_events_the_end_is_signed(log: AuditLog, pool: Pool) -> None:
    found = await log.examine("default", TRUSTED)
    assert (found.events, found.signed_from, found.signed_to, found.checkpoints) == (10, 1, 8, 2)
    assert found.trusted
    rows = await fetch(pool, "SELECT * FROM audit_checkpoints ORDER BY seq")
    assert [(row["tenant"], row["seq"]) for row in rows] == [("default", 4), ("default", 8)]
    for row in rows:  # anybody can check it, with no code of ours
        message = {name: row[name] for name in ("tenant", "seq", "hash", "at")}
        text = json.dumps(message, sort_keys=True, separators=(",", ":"))
        signed = b"chimera audit checkpoint v1\n" + text.encode()
        KEY.public_key().verify(bytes.fromhex(row["signature"]), signed)


async def test_a_batch_that_passes_several_marks_is_signed_at_its_end(pool: Pool, clock: SystemClock) -> None:
    log = AuditLog(pool, clock, Signer(KEY, 2))
    async with pool.connection() as connection, connection.transaction():
        await log._extend(  # pyright: ignore[reportPrivateUsage] - a batch of a size that the test chooses
            connection, "default", {place: (writable(AuditEvent("k", "a")), "2026-01-01") for place in range(5)}
        )
    found = await log.examine("default", TRUSTED)
    assert (found.events, found.signed_to, found.checkpoints) == (5, 5, 1)


async def test_the_end_can_be_signed_at_any_time(log: AuditLog) -> None:
    made = await log.sign("default")
    assert made is not None
    assert await log.sign("default") == made
    assert (await log.examine("default", TRUSTED)).signed_to == 10
    assert await log.sign("nobody") is None


async def test_the_database_refuses_to_change_a_checkpoint(log: AuditLog, pool: Pool) -> None:
    await fetch(pool, "ALTER TABLE audit_checkpoints ENABLE TRIGGER ALL")
    for change in ("UPDATE audit_checkpoints SET seq = 1", "DELETE FROM audit_checkpoints"):
        with pytest.raises(StoreError, match="append-only"):
            await fetch(pool, change)


def edited(at: int) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    return lambda bodies: [{**body, "actor": "x"} if place == at else body for place, body in enumerate(bodies, 1)]


REWRITTEN: dict[str, tuple[Callable[[list[dict[str, Any]]], list[dict[str, Any]]], str]] = {
    "an event edited": (edited(2), "one of the events 1 to 4 was changed"),
    "a later one edited": (edited(6), "one of the events 5 to 8 was changed"),
    "an event deleted": (lambda bodies: bodies[:2] + bodies[3:], "one of the events 1 to 4 was changed"),
    "two swapped": (lambda b: [*b[:5], b[6], b[5], *b[7:]], "one of the events 5 to 8 was changed"),
    "an event added": (lambda b: [*b[:5], b[5], *b[5:]], "one of the events 5 to 8 was changed"),
    "the tail cut off": (lambda bodies: bodies[:6], "events 7 to 8 are missing: the chain ends at 6"),
    "the last signed event cut off": (lambda bodies: bodies[:7], "event 8 is missing: the chain ends at 7"),
    "everything": (lambda bodies: [], "events 1 to 8 are missing: the chain ends at 0"),
}


@pytest.mark.parametrize("name", REWRITTEN)
async def test_a_chain_that_was_made_anew_is_found_by_its_signatures(log: AuditLog, pool: Pool, name: str) -> None:
    change, place = REWRITTEN[name]
    await rewrite(pool, change)
    for trusted in (TRUSTED, []):
        with pytest.raises(AuditBroken, match=place):
            await log.examine("default", trusted)
    assert (await log.examine("other", TRUSTED)).events == 1
    with pytest.raises(AuditBroken):  # and nothing of the kind gets a signature
        await log.sign("default")


async def test_rows_and_head_gone_are_found(log: AuditLog, pool: Pool) -> None:
    for table in ("audit_events", "audit_heads"):
        await fetch(pool, f"DELETE FROM {table} WHERE tenant = 'default'")
    with pytest.raises(AuditBroken, match="events 1 to 8 are missing"):
        await log.verify()


FORGED = {
    "signature": ("UPDATE audit_checkpoints SET signature = repeat('0', 128) WHERE seq = 8", "event 8 has a signature"),
    "no signature": ("UPDATE audit_checkpoints SET signature = 'x' WHERE seq = 4", "event 4 has a signature"),
    "time": ("UPDATE audit_checkpoints SET at = at || '0' WHERE seq = 8", "event 8 has a signature"),
    "hash": ("UPDATE audit_checkpoints SET hash = repeat('0', 64) WHERE seq = 4", "event 4 has a signature"),
    "number": ("UPDATE audit_checkpoints SET seq = 9 WHERE seq = 8", "event 9 has a signature"),
    "tenant": ("UPDATE audit_checkpoints SET tenant = 'other' WHERE seq = 4", "event 4 has a signature"),
    "key": ("UPDATE audit_checkpoints SET key = 'feedfeedfeedfeed' WHERE seq = 4", "which is not trusted"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_checkpoint_is_found(log: AuditLog, pool: Pool, name: str) -> None:
    change, place = FORGED[name]
    await fetch(pool, change)
    with pytest.raises(AuditBroken, match=place):
        await log.examine("other" if name == "tenant" else "default", TRUSTED)


async def test_a_checkpoint_with_a_key_of_ones_own_is_not_trusted(
    log: AuditLog, pool: Pool, clock: SystemClock
) -> None:
    """Whoever rewrote the chain signs it as well: with another key, because they have not ours."""
    await rewrite(pool, edited(2))
    await fetch(pool, "TRUNCATE audit_checkpoints")
    other = Ed25519PrivateKey.generate()
    await AuditLog(pool, clock, Signer(other, EVERY)).sign("default")
    assert (await log.examine("default", [PublicKey(other.public_key())])).signed_to == 10
    with pytest.raises(AuditBroken, match="not trusted"):
        await log.examine("default", TRUSTED)
    assert (await log.examine("default", [*TRUSTED, PublicKey(other.public_key())])).checkpoints == 1


async def test_what_was_kept_elsewhere_finds_what_lost_its_checkpoints_too(log: AuditLog, pool: Pool) -> None:
    kept = await log.sign("default")
    assert kept is not None
    await rewrite(pool, lambda bodies: bodies[:6])
    await fetch(pool, "DELETE FROM audit_checkpoints WHERE seq > 6")
    assert await log.verify() == 6
    with pytest.raises(AuditBroken, match="events 7 to 10 are missing"):
        await log.examine("default", TRUSTED, [kept])


# --- files -----------------------------------------------------------------------------------------------------------


async def exported(pool: Pool, path: Path, **part: Any) -> Path:
    lines = [line async for line in export_lines(pool, Part(**part), "jsonl")]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


async def test_an_export_verifies_without_the_database(log: AuditLog, pool: Pool, tmp_path: Path) -> None:
    await log.sign("default")
    found = verify_file(await exported(pool, tmp_path / "all.jsonl"), TRUSTED)
    assert found == await log.examine("default", TRUSTED)
    assert (found.signed_from, found.signed_to) == (1, 10)
    assert [one.seq for one in read_checkpoints(tmp_path / "all.jsonl")] == [4, 8, 10]


Lines = list[dict[str, Any]]


def third(**fields: Any) -> Callable[[Lines], Lines]:
    return lambda lines: [
        {**line, **fields} if (line["type"], line.get("seq")) == ("event", 3) else line for line in lines
    ]


TAMPERED: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "edited": (third(actor="x"), "event 3 was changed"),
    "data edited": (third(data={}), "event 3 was changed"),
    "a field added": (third(more=1), "no event as it was written"),
    "deleted": (lambda lines: lines[:3] + lines[4:], "event 3 is missing"),
    "swapped": (lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]], "event 3 is missing"),
    "twice": (lambda lines: [*lines[:4], lines[3], *lines[4:]], "more than once"),
    "cut off": (lambda lines: lines[:6] + lines[11:], "events 6 to 8 are missing"),
    "another tenant's": (lambda lines: [{**lines[0], "tenant": "other"}, *lines[1:]], "another tenant"),
}


@pytest.mark.parametrize("name", TAMPERED)
async def test_a_file_that_was_changed_is_found(log: AuditLog, pool: Pool, tmp_path: Path, name: str) -> None:
    change, place = TAMPERED[name]
    path = await exported(pool, tmp_path / "all.jsonl")
    lines = change([json.loads(line) for line in path.read_text("utf-8").splitlines()])
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n", "utf-8")
    with pytest.raises(AuditBroken, match=place):
        verify_file(path, TRUSTED)


async def test_a_part_verifies_as_far_as_a_part_can(log: AuditLog, pool: Pool, tmp_path: Path) -> None:
    """Of one mission, or of a period; what is signed is what leads to a signature without a gap."""
    await log.append(AuditEvent("verdict", "judge"))
    await log.append(AuditEvent("verdict", "judge", MISSION))  # 12: signed
    await log.append(AuditEvent("verdict", "judge", MISSION))
    found = verify_file(await exported(pool, tmp_path / "part.jsonl", mission_id=MISSION), TRUSTED)
    assert (found.events, found.first, found.last, found.gaps) == (12, 1, 13, 1)
    assert (found.signed_from, found.signed_to) == (12, 12)
    rows = [event async for event in export_lines(pool, Part(), "jsonl")]
    at = json.loads(rows[3])["at"]
    since = SystemClock().now().fromisoformat(at)
    later = verify_file(await exported(pool, tmp_path / "later.jsonl", since=since), TRUSTED)
    assert (later.first, later.last, later.gaps) == (3, 13, 0)
    assert (later.signed_from, later.signed_to) == (3, 12)
    earlier = verify_file(await exported(pool, tmp_path / "earlier.jsonl", until=since), TRUSTED)
    assert (earlier.first, earlier.last, earlier.signed_to) == (1, 2, 0)


async def test_a_broken_chain_is_exported_as_it_is(log: AuditLog, pool: Pool, tmp_path: Path) -> None:
    await fetch(pool, "UPDATE audit_events SET body = 'no json' WHERE seq = 3 AND tenant = 'default'")
    path = await exported(pool, tmp_path / "all.jsonl")
    with pytest.raises(AuditBroken, match="line 4"):
        verify_file(path, TRUSTED)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "{}",
        '{"type":"event"}',
        '{"type":"export","version":9}',
        "\xff",
        '{"type":"export","version":1}\n{}',
    ],
)
def test_what_is_no_export_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError):
        verify_file(path, TRUSTED)
    with pytest.raises(InputError):
        read_checkpoints(path)


TEXTS = dict.fromkeys(("tenant", "hash", "at", "key", "signature"), "x")


@pytest.mark.parametrize("data", [None, [], "x", {}, {"seq": 1}, {**TEXTS, "seq": "1"}, {**TEXTS, "seq": 0}])
def test_what_is_no_checkpoint_is_refused(data: Any) -> None:
    with pytest.raises(InputError):
        Checkpoint.read(data)
