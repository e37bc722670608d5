"""Security incidents: what is critical stops the agent that tried it, and only a human lets it go on.

Whether it may go on is decided like everything that people decide: see ``Decisions``.
"""

import asyncio
import json
from datetime import timedelta

from chimera.core.clock import Clock
from chimera.core.contracts import Decision, ReviewItem, ReviewPoint, Threat
from chimera.core.errors import ChimeraError
from chimera.core.ids import NewId, digest, random_ids
from chimera.guards.request import GuardRequest, reject
from chimera.review.queue import ReviewQueue
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.incidents import AGENT, POOL, Held, Incident, IncidentStore, Report
from chimera.store.postgres import Pool

FRESH_S = 1.0
"""How old the list of what is held back may be, as far as other processes change it."""
UNKNOWN = "incident.unknown"
"""Stands beside the rule where nobody knows whether the agent is held back: the store failed, and not the agent."""
_ANSWER_S = 4.0
_REASON_MAX = 300
_PEOPLE = ("user", "human", "user:", "human:")


class Incidents:
    """Opens incidents, puts each before a human, and knows who is held back."""

    rule = "incident.quarantine"

    def __init__(
        self,
        pool: Pool,
        reviews: ReviewQueue,
        audit: AuditLog,
        clock: Clock,
        *,
        pool_limit: int = 3,
        window_s: float = 3_600.0,
        new_id: NewId | None = None,
    ) -> None:
        self._pool = pool
        self._new_id = new_id or random_ids()
        self._store = IncidentStore(pool)
        self._reviews = reviews
        self._audit = audit
        self._clock = clock
        self._pool_limit = pool_limit
        self._window = timedelta(seconds=window_s)
        self._opening = asyncio.Lock()
        self._reading = asyncio.Lock()
        self._held: Held = frozenset()
        self._read_at: float | None = None
        self._changes = 0

    # --- opening -------------------------------------------------------------------------------------------------

    async def opened(self, decision: Decision, request: GuardRequest, agent_id: str) -> Incident | None:
        """Open an incident for a critical decision; None for any other, and for what is refused as held back already.

        The same deed again, while its incident is open, is that incident. What was left undone by a process that died
        is done then.

        Raises:
            StoreError: it is not known whether the agent is held back; whatever was asked must not go on.
        """
        if decision.threat is not Threat.CRITICAL or self.rule in decision.rules:
            return None
        report = _report(decision, request, agent_id)
        async with self._opening:
            incident, is_new = await self._store.open(report, self._clock.now(), self._pool_limit, self._window)
            self.changed()
            if not is_new and incident.trail is not None:
                return incident
            return await self.tell(incident)

    async def tell(self, incident: Incident) -> Incident:
        """Put an incident on the record and its question before a human: both, once, whoever does it."""
        mission_id = incident.mission_id if await self._store.mission_exists(incident.mission_id) else None
        item = _question(incident, self._new_id(), mission_id)
        async with self._pool.connection() as connection, connection.transaction():
            if await self._store.untold(connection, incident.id):
                await self._reviews.open_within(connection, item, incident.tenant)
                trail, _ = await self._audit.append_within(connection, _opened(incident), _asked(incident, item))
                await self._store.told(connection, incident.id, trail=trail, review_id=item.id)
        return await self._store.find(incident.id)

    # --- holding back --------------------------------------------------------------------------------------------

    async def is_quarantined(
        self, agent_id: str, pool: str, *, tenant: str = "default", mission_id: str | None = None
    ) -> Decision | None:
        """A rejection for an agent or pool that is held back, and when that cannot be known; else None."""
        try:
            held = self._held if self._fresh() else await self._soon_held()
        except (ChimeraError, TimeoutError):
            decision = reject(self.rule, "it cannot be known whether this agent is quarantined", Threat.MEDIUM)
            return decision.model_copy(update={"rules": [self.rule, UNKNOWN]})
        if (tenant, AGENT, _subject(agent_id, mission_id)) in held:
            return reject(self.rule, "this agent is quarantined until a human releases it", Threat.HIGH)
        if (tenant, POOL, pool) in held:
            return reject(self.rule, "the pool of this agent is quarantined until a human releases it", Threat.HIGH)
        return None

    def changed(self) -> None:
        """Note that what is held back has changed: it counts at once in this process."""
        self._changes += 1
        self._read_at = None

    def _fresh(self) -> bool:
        return self._read_at is not None and 0 <= self._clock.monotonic() - self._read_at < FRESH_S

    async def _soon_held(self) -> Held:
        async with asyncio.timeout(_ANSWER_S):
            return await self._now_held()

    async def _now_held(self) -> Held:
        while not self._fresh():
            async with self._reading:  # one asks for all who wait
                if self._fresh():
                    break
                changes, at = self._changes, self._clock.monotonic()
                found = await self._store.held()
                if changes == self._changes:  # what was read before a change says nothing about after
                    self._held, self._read_at = found, at
                    return found
        return self._held

    # --- looking -------------------------------------------------------------------------------------------------

    async def listed(self, *, tenant: str | None = None, released: bool = False) -> list[Incident]:
        """The open incidents, newest first; with ``released`` the ended ones too."""
        return await self._store.listed(tenant=tenant, released=released)

    async def find(self, id_or_prefix: str) -> Incident:
        """One incident, by its id or the first digits of it.

        Raises:
            InputError: there is none, or there are several.
        """
        return await self._store.find(id_or_prefix)


class Quarantine:
    """Nothing passes that comes from an agent, or a pool, that is held back."""

    rule = Incidents.rule

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents

    async def check(self, request: GuardRequest) -> Decision | None:
        """Reject what a quarantined agent asks for; people are never quarantined."""
        if _is_person(request.agent_id):
            return None
        return await self._incidents.is_quarantined(
            request.agent_id, request.pool, tenant=_tenant(request), mission_id=request.mission_id
        )


def _report(decision: Decision, request: GuardRequest, agent_id: str) -> Report:
    try:
        payload = json.dumps(request.payload, sort_keys=True, default=str)
    except (TypeError, ValueError, RecursionError):
        payload = "unreadable"
    rule = decision.rules[0] if decision.rules else "gateway"
    return Report(
        tenant=_tenant(request),
        mission_id=request.mission_id,
        agent=agent_id,
        pool=request.pool,
        edge=request.edge,
        rule=rule,
        threat=decision.threat,
        reasons=[reason[:_REASON_MAX] for reason in decision.reasons[:10]],
        basis=digest("\x1f".join((str(request.mission_id), agent_id, request.edge, rule, payload))),
        subject=None if _is_person(agent_id) else _subject(agent_id, request.mission_id),
    )


def _question(incident: Incident, review_id: str, mission_id: str | None) -> ReviewItem:
    held = ", ".join(incident.quarantined)[:600] or "nobody"
    return ReviewItem(
        id=review_id,
        mission_id=mission_id,
        point=ReviewPoint.SECURITY,
        question=f"Security incident {incident.id[:8]}: {incident.rule[:100]} at {incident.edge}. "
        f"Quarantined: {held}. Release?",
        payload={
            "kind": "incident",
            "blocking": False,
            "incident": incident.id,
            "agent": incident.agent,
            "pool": incident.pool,
            "edge": incident.edge,
            "rule": incident.rule,
            "threat": incident.threat,
            "quarantined": incident.quarantined,
        },
        confidence=0.0,
        reasons=incident.reasons,
    )


def _opened(incident: Incident) -> AuditEvent:
    data = {
        "agent": incident.agent,
        "pool": incident.pool,
        "edge": incident.edge,
        "rules": [incident.rule],
        "threat": incident.threat,
        "reasons": incident.reasons,
        "quarantined": incident.quarantined,
    }
    return _event("incident.opened", "incidents", incident, **data)


def _asked(incident: Incident, item: ReviewItem) -> AuditEvent:
    about = {"item": item.id, "point": item.point, "question": item.question}
    return _event("review.asked", "incidents", incident, **about)


def released(incident: Incident, by: str, reason: str) -> AuditEvent:
    """The event that puts the end of an incident on the record."""
    data = {
        "agent": incident.agent,
        "pool": incident.pool,
        "rules": [incident.rule],
        "reason": reason,
        "quarantined": incident.quarantined,
    }
    return _event("incident.released", by, incident, **data)


def _event(kind: str, actor: str, incident: Incident, **data: object) -> AuditEvent:
    about = {"incident": incident.id, **data}
    return AuditEvent(kind=kind, actor=actor, mission_id=incident.mission_id, tenant=incident.tenant, data=about)


def _tenant(request: GuardRequest) -> str:
    return request.mission.tenant if request.mission else "default"


def _subject(agent_id: str, mission_id: str | None) -> str:
    """The name that an agent is held back by. One that is a place in a mission means another agent in each mission."""
    return f"{mission_id} {agent_id}" if mission_id and ("/" in agent_id or agent_id == "mission") else agent_id


def _is_person(agent_id: str) -> bool:
    return agent_id in _PEOPLE or agent_id.startswith(_PEOPLE[2:])
