"""Every kind of event there is, and what it means to those who read records of many systems.

An event of a kind that is not here is kept like any other, and read as :data:`UNDECLARED`; a contract test sees to it
that none of ours is missing. OCSF numbers are those of the Open Cybersecurity Schema Framework, version 1.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any

from chimera.core.contracts import Threat


class Category(StrEnum):
    """What an event is about."""

    MISSION = "mission"
    GUARD = "guard"
    REVIEW = "review"
    POLICY = "policy"
    PERMISSION = "permission"
    PRINCIPAL = "principal"
    INCIDENT = "incident"
    TOOLS = "tools"
    SERVER = "server"
    MONEY = "money"
    OTHER = "other"


class Ocsf(IntEnum):
    """The OCSF classes that we use."""

    DETECTION_FINDING = 2004
    INCIDENT_FINDING = 2005
    AUTHORIZE_SESSION = 3003
    ENTITY_MANAGEMENT = 3004
    APPLICATION_LIFECYCLE = 6002
    API_ACTIVITY = 6003


CREATE, READ, UPDATE, DELETE = 1, 2, 3, 4
START, STOP = 3, 4
CLOSE = 3
OTHER = 99


@dataclass(frozen=True)
class Kind:
    """One kind of event. ``threat``: how bad it is, unless its data has a threat level of its own."""

    name: str
    category: Category
    title: str
    ocsf: Ocsf
    activity: int
    threat: Threat = Threat.NONE


_MISSION, _GUARD, _REVIEW = Category.MISSION, Category.GUARD, Category.REVIEW
_POLICY, _PERMISSION, _INCIDENT = Category.POLICY, Category.PERMISSION, Category.INCIDENT
_PRINCIPAL, _TOOLS = Category.PRINCIPAL, Category.TOOLS
_SERVER, _MONEY = Category.SERVER, Category.MONEY
_ENTITY, _LIFE = Ocsf.ENTITY_MANAGEMENT, Ocsf.APPLICATION_LIFECYCLE

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("mission.started", _MISSION, "A mission was started", _LIFE, START),
        Kind("mission.finished", _MISSION, "A mission ended", _LIFE, STOP),
        Kind("mission.amended", _MISSION, "A mission was changed while it ran", _ENTITY, UPDATE),
        Kind("mission.forked", _MISSION, "A mission was made from a checkpoint of another", _ENTITY, CREATE),
        Kind("teams", _MISSION, "A mission was split over teams", _ENTITY, CREATE),
        Kind("plan", _MISSION, "A team planned its tasks", _ENTITY, CREATE),
        Kind("team.stopped", _MISSION, "A team gave up or was stopped", _LIFE, STOP),
        Kind("void", _MISSION, "Results of an older mission were dropped", _ENTITY, DELETE),
        Kind("extracted", _MISSION, "Typed values were taken out of an untrusted text", Ocsf.API_ACTIVITY, OTHER),
        Kind("verdict", _MISSION, "A result was judged", _ENTITY, UPDATE),
        Kind("guard.decision", _GUARD, "A guard decided about a request", Ocsf.API_ACTIVITY, OTHER),
        Kind("review.asked", _REVIEW, "A question was put to a human", _ENTITY, CREATE),
        Kind("review.answered", _REVIEW, "A question was answered", _ENTITY, UPDATE),
        Kind("review.agreed", _REVIEW, "One of several people agreed", _ENTITY, UPDATE),
        Kind("review.late", _REVIEW, "An answer came too late, and was kept", _ENTITY, UPDATE),
        Kind("review.undone", _REVIEW, "An answer was taken back", _ENTITY, UPDATE),
        Kind("review.asked-back", _REVIEW, "A reviewer asked whoever did the work", _ENTITY, UPDATE),
        Kind("review.replied", _REVIEW, "Whoever did the work answered a reviewer", _ENTITY, UPDATE),
        Kind("review.handed-on", _REVIEW, "A question was handed to somebody else", _ENTITY, UPDATE),
        Kind("review.escalated", _REVIEW, "A question that was not answered in time was handed up", _ENTITY, UPDATE),
        Kind("review.overdue", _REVIEW, "Nobody of its chain answered a question in time", _ENTITY, UPDATE, Threat.LOW),
        Kind("review.guidance-removed", _REVIEW, "A line of guidance was removed", _ENTITY, DELETE),
        Kind("review.band-opened", _REVIEW, "A certified band was put in force", _ENTITY, CREATE),
        Kind("review.band-closed", _REVIEW, "A band broke its promise and was closed", _ENTITY, UPDATE, Threat.HIGH),
        Kind("policy.proposed", _POLICY, "A security policy was put forward", _ENTITY, CREATE),
        Kind("policy.approved", _POLICY, "A security policy was put in force", _ENTITY, UPDATE),
        Kind("policy.rejected", _POLICY, "A security policy was turned down", _ENTITY, UPDATE),
        Kind("policy.refused", _POLICY, "A file could not be taken as a policy", _ENTITY, UPDATE, Threat.LOW),
        Kind("permission.granted", _PERMISSION, "A permission was given for a time", Ocsf.AUTHORIZE_SESSION, CREATE),
        Kind("permission.revoked", _PERMISSION, "A permission was taken back", _ENTITY, DELETE),
        Kind(
            "permission.refused",
            _PERMISSION,
            "Somebody tried to decide what he may not decide",
            Ocsf.AUTHORIZE_SESSION,
            OTHER,
            Threat.MEDIUM,
        ),
        Kind("principal.enrolled", _PRINCIPAL, "Somebody was enrolled, or got other roles", _ENTITY, CREATE),
        Kind("principal.removed", _PRINCIPAL, "Somebody was removed", _ENTITY, DELETE),
        Kind("principal.key-issued", _PRINCIPAL, "Somebody got a key to call the server", _ENTITY, CREATE),
        Kind("principal.invited", _PRINCIPAL, "Somebody was invited to choose a password", _ENTITY, UPDATE),
        Kind("principal.password-set", _PRINCIPAL, "Somebody chose a password", _ENTITY, UPDATE),
        Kind("principal.logged-in", _PRINCIPAL, "Somebody logged in to the pages", _ENTITY, READ),
        Kind("principal.logged-out", _PRINCIPAL, "Somebody logged out of the pages", _ENTITY, READ),
        Kind(
            "principal.identity-bound", _PRINCIPAL, "Somebody logged in by a provider the first time", _ENTITY, UPDATE
        ),
        Kind(
            "principal.identity-forgotten", _PRINCIPAL, "Who somebody is at a provider was forgotten", _ENTITY, UPDATE
        ),
        Kind("principal.login-refused", _PRINCIPAL, "Somebody was guessing a password", _ENTITY, READ, Threat.LOW),
        Kind("principal.key-revoked", _PRINCIPAL, "A key to call the server was revoked", _ENTITY, DELETE),
        Kind("server.called", _SERVER, "Somebody called the server", Ocsf.API_ACTIVITY, OTHER),
        Kind(
            "server.refused",
            _SERVER,
            "Somebody called the server with a key that no longer counts",
            Ocsf.AUTHORIZE_SESSION,
            OTHER,
            Threat.MEDIUM,
        ),
        Kind(
            "incident.opened",
            _INCIDENT,
            "A security incident was opened",
            Ocsf.INCIDENT_FINDING,
            CREATE,
            Threat.CRITICAL,
        ),
        Kind("tools.added", _TOOLS, "A tool server was registered, or a version of one", _ENTITY, CREATE),
        Kind("tools.routed", _TOOLS, "Another version of a tool server serves", _ENTITY, UPDATE),
        Kind("tools.pinned", _TOOLS, "What tools say of themselves was pinned", _ENTITY, CREATE),
        Kind("tools.held", _TOOLS, "Tools changed since they were pinned", Ocsf.DETECTION_FINDING, CREATE, Threat.HIGH),
        Kind("tools.approved", _TOOLS, "A human let changed tools be used", _ENTITY, UPDATE),
        Kind("tools.rejected", _TOOLS, "A human refused changed tools", _ENTITY, UPDATE),
        Kind("money.asset", _MONEY, "An asset that can be paid with was added", _ENTITY, CREATE),
        Kind("money.budget", _MONEY, "A budget was made or changed", _ENTITY, UPDATE),
        Kind("money.wallet", _MONEY, "An agent got a wallet on a chain", _ENTITY, CREATE),
        Kind("money.alarm", _MONEY, "A payment or a wallet needs somebody to look", _ENTITY, OTHER, Threat.MEDIUM),
        Kind("money.quarantined", _MONEY, "A wallet was kept from paying", _ENTITY, UPDATE, Threat.HIGH),
        Kind("money.unquarantined", _MONEY, "A human let a wallet pay again", _ENTITY, UPDATE),
        Kind("money.bought", _MONEY, "Something was bought over HTTP and came", _ENTITY, CREATE),
        Kind("money.undelivered", _MONEY, "Something was paid and did not come", _ENTITY, OTHER, Threat.MEDIUM),
        Kind("money.offer-refused", _MONEY, "A seller's offer was not allowed", _ENTITY, OTHER, Threat.LOW),
        Kind("money.price-changed", _MONEY, "A seller changed the price or payee", _ENTITY, OTHER, Threat.MEDIUM),
        Kind("money.given-up", _MONEY, "A purchase was given up before it was paid", _ENTITY, UPDATE),
        Kind("money.sealed", _MONEY, "Rows of the ledger's journal were sealed", _ENTITY, CREATE),
        Kind("money.payee", _MONEY, "Somebody who can be paid was added or removed", _ENTITY, UPDATE),
        Kind("money.screened", _MONEY, "A proposed payment was looked at by rules and lists", _ENTITY, READ),
        Kind("money.verdict", _MONEY, "The CFO judged a proposed payment", _ENTITY, UPDATE),
        Kind("money.agreed", _MONEY, "A human agreed to a payment", _ENTITY, UPDATE),
        Kind("money.signed", _MONEY, "The CFO's key signed an approved payment", _ENTITY, CREATE),
        Kind("money.refused", _MONEY, "A proposed payment was refused", _ENTITY, UPDATE),
        Kind("money.paid", _MONEY, "A payment was made", _ENTITY, UPDATE),
        Kind("incident.released", _INCIDENT, "A human ended a security incident", Ocsf.INCIDENT_FINDING, CLOSE),
    )
}
UNDECLARED = Kind("undeclared", Category.OTHER, "An event of an unknown kind", Ocsf.API_ACTIVITY, OTHER, Threat.LOW)


def kind_of(name: str) -> Kind:
    """What is known of a kind of event."""
    return KINDS.get(name, UNDECLARED)


def threat_of(event: Mapping[str, Any]) -> Threat:
    """How bad an event is: as its data says, else as its kind says."""
    data: Mapping[str, Any] = event.get("data") or {}
    try:
        return Threat(data.get("threat"))
    except ValueError:
        return kind_of(str(event.get("kind"))).threat


def ocsf_of(event: Mapping[str, Any]) -> tuple[Ocsf, int]:
    """Class and activity of an event. What a guard did not simply let pass is a finding, the rest a call of an API."""
    kind = kind_of(str(event.get("kind")))
    if kind.category is not Category.GUARD:
        return kind.ocsf, kind.activity
    data: Mapping[str, Any] = event.get("data") or {}
    found = data.get("action") != "allow" or threat_of(event) not in (Threat.NONE, Threat.LOW)
    return (Ocsf.DETECTION_FINDING, CREATE) if found else (kind.ocsf, kind.activity)
