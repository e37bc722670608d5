"""What the record says of an answer."""

import json
from typing import Any

from chimera.core.contracts import ReviewDecision
from chimera.core.ids import digest
from chimera.review.closing import Closed
from chimera.review.queue import Asked
from chimera.store.audit import AuditEvent


def answered(asked: Asked, decision: ReviewDecision) -> AuditEvent:
    """An answer that counts."""
    edited = {} if decision.payload is None else {"payload": _digest(decision.payload)}
    return AuditEvent(
        kind="review.answered",
        actor=decision.reviewer,
        mission_id=asked.item.mission_id,
        tenant=asked.tenant,
        data={
            "item": asked.item.id,
            "point": asked.item.point,
            "action": decision.action,
            "reviewer": decision.reviewer,
            "reason": decision.reason,
            **edited,
        },
    )


def kept_only(asked: Asked, decision: ReviewDecision, closed: Closed) -> AuditEvent:
    """An answer that changes nothing yet, or never will."""
    data = {
        "item": asked.item.id,
        "point": asked.item.point,
        "action": decision.action,
        "reviewer": decision.reviewer,
        "reason": decision.reason,
    }
    if closed.state == "agreed":
        data |= {"missing": closed.missing}
        return AuditEvent("review.agreed", decision.reviewer, asked.item.mission_id, asked.tenant, data)
    return AuditEvent("review.late", decision.reviewer, asked.item.mission_id, asked.tenant, data)


def _digest(edited: dict[str, Any]) -> str:
    """What tells which edit it was; of a tool call that of its arguments, as on the guard's decision about them."""
    return digest(json.dumps(edited.get("arguments", edited), sort_keys=True))[:16]
