"""Events in the form of the Open Cybersecurity Schema Framework, version 1.3.0.

Only what the classes require, and what is known; the data of an event goes along as ``unmapped``. OWASP's risks are in
``enrichments``. ``ocsf.schema.json`` has the fields that are required.
"""

from collections.abc import Mapping
from typing import Any, cast

from chimera.core.contracts import Threat
from chimera.store.audit.kinds import OTHER, Ocsf, kind_of, ocsf_of, threat_of
from chimera.store.audit.owasp import risks, risks_of
from chimera.store.audit.stream import moment_of

OCSF_VERSION = "1.3.0"
_SEVERITY = {Threat.NONE: 1, Threat.LOW: 2, Threat.MEDIUM: 3, Threat.HIGH: 4, Threat.CRITICAL: 5}
_NAMES = {1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical"}
_NEW, _CLOSED = 1, 5
_DECIDED = {"allow": (1, 1, "Allowed"), "edit": (1, 11, "Corrected"), "escalate": (2, 14, "Delayed")}
_BLOCKED = (2, 2, "Blocked")


def as_ocsf(event: Mapping[str, Any]) -> dict[str, Any]:
    """One event, as :func:`chimera.store.audit.stream.read_part` gives it, as an OCSF event."""
    kind, (ocsf, activity) = kind_of(str(event.get("kind"))), ocsf_of(event)
    severity = _SEVERITY[threat_of(event)]
    data: Mapping[str, Any] = event.get("data") or {}
    made: dict[str, Any] = {
        "class_uid": int(ocsf),
        "category_uid": ocsf // 1000,
        "activity_id": activity,
        "type_uid": ocsf * 100 + activity,
        "severity_id": severity,
        "severity": _NAMES[severity],
        "time": max(0, int(moment_of(event).timestamp() * 1000)),
        "message": kind.title,
        "metadata": _metadata(event),
        "unmapped": {"data": dict(data), **{name: event[name] for name in ("mission_id", "body") if event.get(name)}},
    }
    if activity == OTHER:
        made["activity_name"] = "Authorize" if event.get("kind") == "guard.decision" else "Record"
    found = risks_of(_texts(data.get("rules")))
    if found:
        made["enrichments"] = [
            {"name": "owasp_agentic", "value": risk, "type": "risk", "data": {"title": risks()[risk]}} for risk in found
        ]
    return {**made, **_of_class(ocsf, event, data, kind.title)}


def _metadata(event: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": OCSF_VERSION,
        "product": {"name": "Chimera", "vendor_name": "Chimera"},
        "uid": str(event.get("hash")),
        "sequence": event.get("seq"),
        "event_code": str(event.get("kind")),
        "log_name": "audit",
        **({"profiles": ["security_control"]} if ocsf_of(event)[0] is Ocsf.DETECTION_FINDING else {}),
        "tenant_uid": str(event.get("tenant")),
    }


def _of_class(ocsf: Ocsf, event: Mapping[str, Any], data: Mapping[str, Any], title: str) -> dict[str, Any]:
    """What a class requires besides."""
    name = str(event.get("actor"))
    actor = {"actor": {"user": {"name": name}}}
    match ocsf:
        case Ocsf.DETECTION_FINDING:
            action, number, text = _DECIDED.get(str(data.get("action")), _BLOCKED)
            return {
                **actor,
                "finding_info": _finding(event, data, title),
                "action_id": action,
                "disposition_id": number,
                "disposition": text,
                "is_alert": data.get("threat") in (Threat.HIGH, Threat.CRITICAL),
            }
        case Ocsf.INCIDENT_FINDING:
            closed = event.get("kind") == "incident.released"
            return {
                "finding_info_list": [_finding(event, data, title, str(data.get("incident")))],
                "status_id": _CLOSED if closed else _NEW,
                "status": "Closed" if closed else "New",
                "assignee_group": {"name": "security reviewers"},
                "comment": str(data.get("reason") or ""),
            }
        case Ocsf.AUTHORIZE_SESSION:
            who, what = str(data.get("principal") or name), str(data.get("action") or event.get("kind"))
            return {**actor, "user": {"name": who}, "privileges": [what]}
        case Ocsf.ENTITY_MANAGEMENT:
            return {**actor, "entity": _entity(event, data)}
        case Ocsf.APPLICATION_LIFECYCLE:
            return {"app": {"name": "mission", "uid": str(event.get("mission_id")), "vendor_name": "Chimera"}}
        case Ocsf.API_ACTIVITY:
            operation = str(data.get("capability") or data.get("edge") or event.get("kind"))
            return {**actor, "api": {"operation": operation}, "src_endpoint": {"name": "chimera"}}


def _finding(event: Mapping[str, Any], data: Mapping[str, Any], title: str, uid: str = "") -> dict[str, Any]:
    rules, reasons = _texts(data.get("rules")), _texts(data.get("reasons"))
    return {
        "uid": uid or str(event.get("hash")),
        "title": f"{title}: {', '.join(rules)}" if rules else title,
        "desc": "; ".join(reasons),
        "types": rules,
    }


def _texts(value: object) -> list[str]:
    """A list of texts, whatever was recorded."""
    return [str(item) for item in cast("list[object]", value)] if isinstance(value, list) else []


def _entity(event: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    for name in ("policy", "item", "task", "grant", "team", "principal"):
        if data.get(name):
            return {"type": name, "uid": str(data[name]), "name": str(data[name])}
    return {"type": "mission", "uid": str(event.get("mission_id")), "name": str(event.get("kind"))}
