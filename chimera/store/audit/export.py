"""The record as a file: lines of JSON that anybody can verify without the database, or events of OCSF.

The first line of the own format says what the file is, then come the events with their hashes, then the checkpoints.
"""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Literal, cast

from chimera.core.errors import AuditBroken, InputError
from chimera.store.audit.chain import Verified, Walk
from chimera.store.audit.checkpoint import Checkpoint, Trusted
from chimera.store.audit.event import canonical
from chimera.store.audit.ocsf import as_ocsf
from chimera.store.audit.stream import Part, read_part
from chimera.store.postgres import Pool

Format = Literal["jsonl", "ocsf"]
VERSION = 1
_HASHED = ("seq", "at", "tenant", "mission_id", "kind", "actor", "data")
_LINE_MAX = 64_000_000


async def export_lines(pool: Pool, part: Part, form: Format) -> AsyncGenerator[str]:
    """The lines of an export, without their line ends."""
    if form == "jsonl":
        yield _line({"type": "export", "version": VERSION, **_described(part)})
    async with aclosing(read_part(pool, part)) as reading:
        async for found in reading:
            if isinstance(found, Checkpoint):
                if form == "jsonl":
                    yield _line({"type": "checkpoint", **found.plain()})
            elif form == "jsonl":
                yield _line({"type": "event", **found})
            else:
                yield _line(as_ocsf(found))


def verify_file(path: Path, trusted: Sequence[Trusted], elsewhere: Sequence[Checkpoint] = ()) -> Verified:
    """Verify an export without the database.

    Raises:
        InputError: it cannot be read, or is no export. AuditBroken: it was changed; the message names the place.
    """
    lines = _lines(path)
    _, head = next(lines, (1, cast("dict[str, Any]", {})))
    if head.get("type") != "export" or head.get("version") != VERSION:
        raise InputError(
            f"{path} is no export of an audit log", remedy="`chimera audit export --output FILE` does one."
        )
    tenant = str(head.get("tenant"))
    whole = all(head.get(name) is None for name in ("since", "until", "mission_id"))
    signed: list[Checkpoint] = [one for one in elsewhere if one.tenant == tenant]
    # Checkpoints come last and are needed first; they are few, so the file is read twice.
    for number, line in lines:
        if line.get("type") == "checkpoint":
            signed.append(_checkpoint(line, tenant, number))
        elif line.get("type") != "event":
            raise InputError(f"{path}, line {number}: neither an event nor a checkpoint")
    walk = Walk(tenant, signed, trusted, whole=whole)
    for number, line in _lines(path):
        if line.get("type") == "event":
            walk.take(_row(line, tenant, number))
    return walk.end()


def read_checkpoints(path: Path) -> list[Checkpoint]:
    """The checkpoints of a file: one as ``chimera audit checkpoint --json`` prints it, or those of an export.

    Raises:
        InputError: it cannot be read, or has none.
    """
    found = [Checkpoint.read(line.get("checkpoint", line)) for _, line in _lines(path) if _is_checkpoint(line)]
    if not found:
        raise InputError(f"{path} has no checkpoint in it")
    return found


def _is_checkpoint(line: Mapping[str, Any]) -> bool:
    return "checkpoint" in line or ("signature" in line and line.get("type", "checkpoint") == "checkpoint")


def _described(part: Part) -> dict[str, Any]:
    return {
        "tenant": part.tenant,
        "since": part.since.isoformat() if part.since else None,
        "until": part.until.isoformat() if part.until else None,
        "mission_id": part.mission_id,
    }


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The numbered lines of a file."""
    number = 0
    try:
        with path.expanduser().open("rb") as reading:
            while raw := reading.readline(_LINE_MAX):
                number += 1
                line: object = json.loads(raw)
                if not isinstance(line, dict):
                    raise InputError(f"{path}, line {number}: no JSON object")
                yield number, cast("dict[str, Any]", line)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path}, line {number}: no JSON object") from None


def _checkpoint(line: Mapping[str, Any], tenant: str, number: int) -> Checkpoint:
    found = Checkpoint.read(line)
    if found.tenant != tenant:
        raise AuditBroken(f"line {number}: a checkpoint of another tenant")
    return found


def _row(line: Mapping[str, Any], tenant: str, number: int) -> dict[str, Any]:
    """What the walk takes, from a line; the text that was hashed is written again."""
    body = {name: line.get(name) for name in _HASHED}
    unknown = set(line) - {*_HASHED, "type", "prev_hash", "hash"}
    seq = line.get("seq")
    if unknown or not isinstance(seq, int):
        raise AuditBroken(f"tenant {tenant}: line {number} is no event as it was written")
    return {
        "seq": seq,
        "mission_id": line.get("mission_id"),
        "kind": line.get("kind"),
        "body": canonical(body),
        "prev_hash": line.get("prev_hash"),
        "hash": line.get("hash"),
    }
