"""One event, and the text of it that is hashed."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from chimera.core.errors import StoreError
from chimera.store.values import as_stored

_ODD = ("\\u0000", "\\ud", "NaN", "Infinity")
"""One of these is in the JSON of all data that is stored in another form than it has."""
_QUOTED = json.JSONEncoder().encode
GENESIS = "0" * 64
"""The hash before the first event."""


@dataclass(frozen=True)
class AuditEvent:
    """Something that must be on the record. ``data`` holds ids, reasons and digests, never secrets."""

    kind: str
    actor: str
    mission_id: str | None = None
    tenant: str = "default"
    data: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as the tables can hold it, with its data as canonical JSON."""

    event: AuditEvent
    data: str

    def body(self, seq: int, at: str) -> str:
        """The text that is hashed for it with its number and time: canonical JSON."""
        event = self.event
        mission_id = "null" if event.mission_id is None else f'"{event.mission_id}"'
        # Put together by hand, names in order: it is one of the few texts that every step of every agent writes.
        return (
            f'{{"actor":{_QUOTED(event.actor)},"at":{_QUOTED(at)},"data":{self.data},"kind":{_QUOTED(event.kind)},'
            f'"mission_id":{mission_id},"seq":{seq},"tenant":{_QUOTED(event.tenant)}}}'
        )


def writable(event: AuditEvent) -> Entry:
    """The event as the tables can hold it; one that they cannot must not take the others of its batch with it.

    Raises:
        StoreError: its mission id is none. TypeError: its data is not plain JSON.
    """
    data = canonical(event.data)
    if any(odd in data for odd in _ODD):
        event = replace(event, data=as_stored(event.data))
        data = canonical(event.data)
    mission_id = event.mission_id
    if mission_id is not None:
        try:
            mission_id = str(uuid.UUID(mission_id))  # as the column shows it, whatever way it was written
        except ValueError:
            raise StoreError(f"event {event.kind}: what it is about has no mission id") from None
    stored = replace(
        event,
        kind=as_stored(event.kind),
        actor=as_stored(event.actor),
        tenant=as_stored(event.tenant),
        mission_id=mission_id,
    )
    return Entry(stored, data)


def canonical(value: Mapping[str, Any]) -> str:
    """JSON with sorted keys and no spaces: the one text of a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
