"""Search in the record of a tenant, newest first, a bounded stretch at a time."""

import json
from dataclasses import dataclass
from typing import Any

from chimera.core.ids import digest
from chimera.store.postgres import Pool, fetch, fetch_one

STRETCH = 20_000
"""How many events one search looks at for words: further back is looked when somebody asks."""
_CONDITIONS = {
    "kind": "kind = %(kind)s",
    "mission_id": "mission_id = %(mission_id)s::uuid",
    "before": "seq < %(before)s",
    "end": "seq >= %(end)s",
    "words": "strpos(lower(body), %(words)s) > 0",
}
"""What narrows a search. Only what is asked for is written: with a placeholder that may be null no index is used."""


@dataclass(frozen=True)
class Wanted:
    """Which events of a tenant. ``before``: those with a smaller number; ``words``: a piece of what they say."""

    tenant: str
    kind: str | None = None
    mission_id: str | None = None
    words: str | None = None
    before: int | None = None
    limit: int = 100


@dataclass(frozen=True)
class Found:
    """Events, newest first. ``further``: before which number there may be more; None when all was looked at.

    ``fits`` of an event: whether its hash is that of what it says and of the hash before it. That the chain is whole,
    and that nobody wrote it anew, only :func:`chimera.store.audit.chain.verify_chain` says.
    """

    events: list[dict[str, Any]]
    further: int | None


async def search_audit(pool: Pool, wanted: Wanted) -> Found:
    """The newest events that fit. With words, only a stretch of :data:`STRETCH` events is looked at."""
    values: dict[str, Any] = {**vars(wanted), "words": wanted.words.lower() if wanted.words else None, "end": None}
    if wanted.words:
        query = f"SELECT seq FROM audit_events WHERE {_where({**values, 'words': None})}"  # noqa: S608
        end = await fetch_one(pool, f"{query} ORDER BY seq DESC OFFSET {STRETCH - 1} LIMIT 1", values)
        values["end"] = end["seq"] if end else None
    query = f"SELECT seq, body, prev_hash, hash FROM audit_events WHERE {_where(values)}"  # noqa: S608
    events = [_event(row) for row in await fetch(pool, f"{query} ORDER BY seq DESC LIMIT %(limit)s", values)]
    further = events[-1]["seq"] if len(events) == wanted.limit else values["end"]
    return Found(events, further)


def _where(values: dict[str, Any]) -> str:
    wanted = [text for name, text in _CONDITIONS.items() if values[name] is not None]
    return " AND ".join(["tenant = %(tenant)s", *wanted])


def _event(row: dict[str, Any]) -> dict[str, Any]:
    body, before = str(row["body"]), str(row["prev_hash"])
    hashes = {"hash": row["hash"], "prev_hash": before, "fits": digest(before + body) == row["hash"]}
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    said = found if isinstance(found, dict) else {"kind": "", "actor": "", "at": "", "data": {"body": body}}
    return {**said, "seq": row["seq"], **hashes}
