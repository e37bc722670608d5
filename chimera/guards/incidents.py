"""Security incidents: what is critical stops the agent that tried it, and only a human lets it go on."""

import asyncio
import json
import unicodedata
from datetime import timedelta

from chimera.core.clock import Clock
from chimera.core.contracts import Decision, ReviewDecision, ReviewItem, ReviewPoint, Threat
from chimera.core.errors import ChimeraError, ConflictError, GuardRejected, InputError
from chimera.core.ids import derived_id, digest
from chimera.guards.request import GuardRequest, reject
from chimera.review.queue import ReviewQueue
from chimera.review.reviewers import SCRIPTED
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.incidents import AGENT, POOL, Held, Incident, IncidentStore, Report
from chimera.store.postgres import Pool

FRESH_S = 1.0
"""How old the list of what is held back may be, as far as other processes change it."""
_ANSWER_S = 4.0
_REASON_MAX = 300
_PEOPLE = ("user", "human", "user:", "human:")
_MACHINES = ("agent:", "pool:", "peer:", "service:", "team:", "tool:")


class Incidents:
    """Opens incidents, knows who is held back, and ends incidents on a human's word."""

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
    ) -> None:
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
            self._changed()
            if not is_new and incident.trail is not None:
                return incident
            return await self._tell(incident)

    async def _tell(self, incident: Incident) -> Incident:
        """Put an incident on the record, and its question before a human."""
        asked = await self._store.mission_exists(incident.mission_id)
        trail = await self._record(
            incident,
            "incident.opened",
            "incidents",
            agent=incident.agent,
            pool=incident.pool,
            edge=incident.edge,
            rules=[incident.rule],
            threat=incident.threat,
            reasons=incident.reasons,
            quarantined=incident.quarantined,
        )
        review_id = derived_id("incident-review", incident.id) if asked else None
        if review_id is not None:
            item = _question(incident, review_id)
            await self._reviews.open(item)
            await self._record(
                incident, "review.asked", "incidents", item=item.id, point=item.point, question=item.question
            )
        await self._store.told(incident.id, trail=trail, review_id=review_id)
        return await self._store.find(incident.id)

    # --- holding back --------------------------------------------------------------------------------------------

    async def is_quarantined(
        self, agent_id: str, pool: str, *, tenant: str = "default", mission_id: str | None = None
    ) -> Decision | None:
        """A rejection for an agent or pool that is held back, and when that cannot be known; else None."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                held = await self._now_held()
        except (ChimeraError, TimeoutError):
            return reject(self.rule, "it cannot be known whether this agent is quarantined", Threat.MEDIUM)
        if (tenant, AGENT, _subject(agent_id, mission_id)) in held:
            return reject(self.rule, "this agent is quarantined until a human releases it", Threat.HIGH)
        if (tenant, POOL, pool) in held:
            return reject(self.rule, "the pool of this agent is quarantined until a human releases it", Threat.HIGH)
        return None

    def _changed(self) -> None:
        self._changes += 1
        self._read_at = None

    def _fresh(self) -> bool:
        return self._read_at is not None and 0 <= self._clock.monotonic() - self._read_at < FRESH_S

    async def _now_held(self) -> Held:
        while not self._fresh():
            async with self._reading:  # one asks for all who wait
                if self._fresh():
                    break
                changes, at = self._changes, self._clock.monotonic()
                await self._take_answers()
                found = await self._store.held()
                if changes == self._changes:  # what was read before a change says nothing about after
                    self._held, self._read_at = found, at
                    return found
        return self._held

    async def _take_answers(self) -> None:
        """End the incidents whose question a human answered with yes."""
        for incident_id, answer in await self._store.approved():
            if _machine(answer.reviewer):
                continue
            incident = await self._store.find(incident_id)
            await self._end(incident, _name(answer.reviewer), answer.reason or "approved on the review queue")

    # --- releasing -----------------------------------------------------------------------------------------------

    async def release(self, incident_id: str, by: str, reason: str) -> Incident:
        """End an incident as a human; what no other open incident holds back goes on.

        Raises:
            GuardRejected: an agent, or a script, asks for it; that is on the record.
            InputError: nobody is named, no reason is given, or there is no such incident.
            ConflictError: it was released before.
        """
        incident = await self._store.find(incident_id)
        name = _name(by)
        if not name or not reason.strip():
            raise InputError("a release needs a name and a reason", remedy="Give --by NAME and --reason TEXT.")
        if _machine(name) or (not _is_person(name) and await self._store.is_agent(name)):
            await self._record(
                incident, "incident.release-refused", name[:200], threat=Threat.HIGH, agent=incident.agent
            )
            raise GuardRejected(
                "an incident is released by a human", remedy="Have a human look at it, with their name."
            )
        if not await self._end(incident, name, reason.strip()):
            raise ConflictError(f"incident {incident.id[:8]} was released before")
        await self._close_question(incident, name, reason.strip())
        return await self._store.find(incident.id)

    async def _end(self, incident: Incident, by: str, reason: str) -> bool:
        async def record() -> None:
            await self._record(
                incident,
                "incident.released",
                by[:200],
                agent=incident.agent,
                pool=incident.pool,
                rules=[incident.rule],
                reason=reason[:4_000],
                quarantined=incident.quarantined,
            )

        ended = await self._store.release(incident.id, by[:200], reason[:4_000], self._clock.now(), record)
        self._changed()
        return ended

    async def _close_question(self, incident: Incident, by: str, reason: str) -> None:
        if incident.review_id is None:
            return
        answer = ReviewDecision(action="approve", reviewer=by[:200], reason=reason[:4_000])
        try:
            await self._reviews.decide(incident.review_id, answer)
        except ConflictError:
            return  # it was answered with no, and that human, or another, thought again
        await self._record(
            incident,
            "review.answered",
            by[:200],
            item=incident.review_id,
            point=ReviewPoint.SECURITY,
            action="approve",
            reviewer=by[:200],
            reason=reason[:4_000],
        )

    # --- looking -------------------------------------------------------------------------------------------------

    async def listed(self, *, tenant: str | None = None, released: bool = False) -> list[Incident]:
        """The open incidents, newest first; with ``released`` the ended ones too."""
        await self._take_answers()
        return await self._store.listed(tenant=tenant, released=released)

    async def find(self, id_or_prefix: str) -> Incident:
        """One incident, by its id or the first digits of it.

        Raises:
            InputError: there is none, or there are several.
        """
        await self._take_answers()
        return await self._store.find(id_or_prefix)

    async def _record(self, incident: Incident, kind: str, actor: str, **data: object) -> str:
        return await self._audit.append(
            AuditEvent(
                kind=kind,
                actor=actor,
                mission_id=incident.mission_id,
                tenant=incident.tenant,
                data={"incident": incident.id, **data},
            )
        )


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


def _question(incident: Incident, review_id: str) -> ReviewItem:
    held = ", ".join(incident.quarantined)[:600] or "nobody"
    return ReviewItem(
        id=review_id,
        mission_id=str(incident.mission_id),
        point=ReviewPoint.SECURITY,
        question=f"Security incident {incident.id[:8]}: {incident.rule[:100]} at {incident.edge}. "
        f"Quarantined: {held}. Release?",
        payload={
            "kind": "incident",
            "blocking": False,
            "incident": incident.id,
            "agent": incident.agent,
            "pool": incident.pool,
            "rule": incident.rule,
            "quarantined": incident.quarantined,
        },
        confidence=0.0,
        reasons=incident.reasons,
    )


def _tenant(request: GuardRequest) -> str:
    return request.mission.tenant if request.mission else "default"


def _subject(agent_id: str, mission_id: str | None) -> str:
    """The name that an agent is held back by. One that is a place in a mission means another agent in each mission."""
    return f"{mission_id} {agent_id}" if mission_id and ("/" in agent_id or agent_id == "mission") else agent_id


def _is_person(agent_id: str) -> bool:
    return agent_id in _PEOPLE or agent_id.startswith(_PEOPLE[2:])


def _name(by: str) -> str:
    """A name without what nobody sees."""
    shown = (char for char in unicodedata.normalize("NFKC", by) if unicodedata.category(char)[0] != "C")
    return "".join(shown).strip()


def _machine(by: str) -> bool:
    name = _name(by).casefold()
    return not name or name.startswith(_MACHINES) or name == SCRIPTED.casefold() or "(not a human)" in name
