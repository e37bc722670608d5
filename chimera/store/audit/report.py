"""What happened to a tenant in a period, counted: the figures of the compliance report."""

from collections import Counter
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median
from typing import Any, cast

from chimera.core.contracts import Threat
from chimera.core.errors import AuditBroken
from chimera.store.audit.chain import Verified, verify_chain
from chimera.store.audit.checkpoint import Checkpoint, Trusted
from chimera.store.audit.kinds import Category, kind_of, threat_of
from chimera.store.audit.owasp import risk_of
from chimera.store.audit.stream import Part, read_part
from chimera.store.incidents import Incident, IncidentStore
from chimera.store.postgres import Pool, fetch

LISTED = 200
"""The most events, incidents and reviews that are told one by one; the figures count all of them."""


@dataclass
class Reviews:
    """What humans were asked, and how long they took, in seconds."""

    asked: int = 0
    answered: int = 0
    open: int = 0
    by: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    actions: Counter[str] = field(default_factory=Counter[str])
    points: Counter[str] = field(default_factory=Counter[str])
    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


@dataclass
class Summary:
    """A period of one tenant. ``decisions`` by edge and action, ``rules`` by rule and action."""

    part: Part
    made_at: datetime
    verified: Verified | str
    events: int = 0
    kinds: Counter[str] = field(default_factory=Counter[str])
    decisions: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    rules: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    risks: Counter[str] = field(default_factory=Counter[str])
    threats: Counter[str] = field(default_factory=Counter[str])
    policy: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    critical: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    incidents: list[Incident] = field(default_factory=list[Incident])
    reviews: Reviews = field(default_factory=Reviews)
    checkpoints: list[Checkpoint] = field(default_factory=list[Checkpoint])

    def plain(self) -> dict[str, Any]:
        """The figures as JSON data."""
        found = self.verified
        return {
            "tenant": self.part.tenant,
            "since": self.part.since.isoformat() if self.part.since else None,
            "until": self.part.until.isoformat() if self.part.until else None,
            "made_at": self.made_at.isoformat(),
            "intact": not isinstance(found, str),
            "verified": found if isinstance(found, str) else vars(found),
            "events": self.events,
            "kinds": dict(self.kinds),
            "decisions": _nested(self.decisions),
            "rules": {
                rule: {"owasp": risk_of(rule), "actions": actions} for rule, actions in _nested(self.rules).items()
            },
            "owasp": dict(self.risks),
            "threats": {threat.value: self.threats[threat] for threat in Threat},
            "policy_changes": self.policy,
            "incidents": [incident.plain() for incident in self.incidents],
            "reviews": {
                "asked": self.reviews.asked,
                "answered": self.reviews.answered,
                "open": self.reviews.open,
                "actions": dict(self.reviews.actions),
                "points": dict(self.reviews.points),
                "by": {
                    name: {
                        "answered": len(taken),
                        "median_s": round(median(taken), 1),
                        "longest_s": round(max(taken), 1),
                    }
                    for name, taken in self.reviews.by.items()
                },
            },
            "checkpoints": [checkpoint.plain() for checkpoint in self.checkpoints],
        }


async def summarise(pool: Pool, part: Part, trusted: list[Trusted], at: datetime) -> Summary:
    """Read a period and verify the chain that it is in; a broken chain is said, and reported on as it is."""
    try:
        verified: Verified | str = await verify_chain(pool, part.tenant, trusted)
    except AuditBroken as broken:
        verified = broken.message
    made = Summary(part, at, verified)
    async with aclosing(read_part(pool, part)) as reading:
        async for found in reading:
            if not isinstance(found, Checkpoint):
                _count(made, found)
            elif _within(part, found.at):
                made.checkpoints.append(found)
    made.incidents = await IncidentStore(pool).listed(
        tenant=part.tenant, released=True, since=part.since, until=part.until, limit=LISTED
    )
    made.reviews = await _reviews(pool, part)
    return made


def _count(made: Summary, event: dict[str, Any]) -> None:
    kind = str(event.get("kind"))
    made.events += 1
    made.kinds[kind] += 1
    about = kind_of(kind).category
    if about in (Category.POLICY, Category.PERMISSION, Category.PRINCIPAL) and len(made.policy) < LISTED:
        made.policy.append(event)
    if about is not Category.GUARD:
        return
    data: Mapping[str, Any] = event.get("data") or {}
    action, threat = str(data.get("action")), threat_of(event)
    made.decisions[(str(data.get("edge")), action)] += 1
    made.threats[threat] += 1
    given: object = data.get("rules")
    rules = [str(rule) for rule in cast("list[object]", given)] if isinstance(given, list) else []
    for rule in rules:
        made.rules[(rule, action)] += 1
    made.risks.update({risk for rule in rules if (risk := risk_of(rule))})
    if threat in (Threat.HIGH, Threat.CRITICAL) and len(made.critical) < LISTED:
        made.critical.append(event)


async def _reviews(pool: Pool, part: Part) -> Reviews:
    rows = await fetch(
        pool,
        "SELECT r.id, r.mission_id, r.point, r.question, r.state, r.decision, r.created_at, r.decided_at "
        "FROM reviews r WHERE r.tenant = %(tenant)s "
        "AND (%(mission)s::uuid IS NULL OR r.mission_id = %(mission)s) "
        "AND (%(since)s::timestamptz IS NULL OR coalesce(r.decided_at, now()) >= %(since)s) "
        "AND (%(until)s::timestamptz IS NULL OR r.created_at < %(until)s) ORDER BY r.created_at",
        {"tenant": part.tenant, "mission": part.mission_id, "since": part.since, "until": part.until},
    )
    found = Reviews(asked=len(rows))
    for row in rows:
        found.points[row["point"]] += 1
        if row["decision"] is None or row["decided_at"] is None:
            found.open += 1
            continue
        found.answered += 1
        found.actions[str(row["decision"].get("action"))] += 1
        taken = (row["decided_at"] - row["created_at"]).total_seconds()
        found.by.setdefault(str(row["decision"].get("reviewer")), []).append(max(taken, 0.0))
    found.rows = rows[-LISTED:]
    return found


def _within(part: Part, at: str) -> bool:
    try:
        return part.has(datetime.fromisoformat(at))
    except (ValueError, TypeError):  # somebody changed it; verifying says so
        return True


def _nested(counted: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    made: dict[str, dict[str, int]] = {}
    for (outer, inner), number in sorted(counted.items()):
        made.setdefault(outer, {})[inner] = number
    return made
