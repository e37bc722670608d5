"""One event, and the text of it that is hashed."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from chimera.core.errors import StoreError
from chimera.store.values import as_stored

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


def writable(event: AuditEvent) -> AuditEvent:
    """The event as the tables can hold it; one that they cannot must not take the others of its batch with it.

    Raises:
        StoreError: its mission id is none. TypeError: its data is not plain JSON.
    """
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


def body_of(event: AuditEvent, seq: int, at: str) -> str:
    """The text that is hashed for an event with its number and time."""
    return canonical(
        {
            "seq": seq,
            "at": at,
            "tenant": event.tenant,
            "mission_id": event.mission_id,
            "kind": event.kind,
            "actor": event.actor,
            "data": event.data,
        }
    )


def canonical(value: Mapping[str, Any]) -> str:
    """JSON with sorted keys and no spaces: the one text of a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
