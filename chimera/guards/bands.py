"""Bands that people open and that an alarm closes: on the record, and with an incident.

Opening one is a decision of a person who may approve policies: it says what happens unseen from then on.
"""

from dataclasses import replace
from datetime import timedelta

from chimera.core.clock import Clock
from chimera.core.contracts import Threat
from chimera.core.ids import NewId
from chimera.guards.incidents import Incidents
from chimera.guards.permissions.people import People
from chimera.guards.permissions.values import Entity, Uid
from chimera.guards.policy.proposing import Proposals
from chimera.review.calibration.bands import certificates_of
from chimera.review.calibration.learn import Learnt
from chimera.review.calibration.store import CalibrationStore, Certificate
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.incidents import IncidentStore, Report
from chimera.store.policies import POLICY_TENANT

DRIFT = "incident.drift"
_POOL_LIMIT, _WINDOW = 1_000_000, timedelta(hours=1)


class BandKeeper:
    """Opens and closes bands. It is the :class:`~chimera.review.calibration.bands.Alarm` of an installation."""

    def __init__(
        self,
        store: CalibrationStore,
        people: People,
        proposals: Proposals,
        incidents: Incidents,
        audit: AuditLog,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        self._store = store
        self._people = people
        self._proposals = proposals
        self._incidents = incidents
        self._audit = audit
        self._clock = clock
        self._new_id = new_id

    async def open(
        self, learnt: Learnt, tenant: str, point: str, topic: str, alpha: float, by: str
    ) -> list[Certificate]:
        """Put the bands in force that were certified; what was in force for the same side is closed.

        Raises:
            GuardRejected: ``by`` may not, or the policy in force asks for four eyes.
        """
        resource = Entity(Uid("Policy", f"bands/{tenant}/{point}/{topic}"), {"tenant": POLICY_TENANT})
        in_force = await self._proposals.in_force()
        # Nobody proposed this but a machine: where the policy asks for four eyes, no band is opened.
        eyes = in_force.changes.four_eyes
        await self._people.require(by, "policy.approve", resource, POLICY_TENANT, four_eyes=eyes)
        basis = Certificate(
            id="", tenant=tenant, point=point, topic=topic, side="", alpha=alpha, threshold=1.0, bound=0.0, labels=1,
            above=1, errors=0, model={}, policy=in_force.digest, made_by=by,
            made_at=self._clock.now(), why="",
        )  # fmt: skip
        made = [replace(one, id=self._new_id()) for one in certificates_of(learnt, basis)]
        for one in made:
            async with self._store.pool.connection() as connection, connection.transaction():
                await self._store.replace(connection, one)
                await self._audit.append_within(connection, _opened(one))
        return made

    async def close(self, certificate: Certificate, why: str) -> None:
        """Close a band whose promise is broken. Once: of many who notice, the first tells."""
        async with self._store.pool.connection() as connection, connection.transaction():
            if not await self._store.close(connection, certificate.id, self._clock.now(), why):
                return
            await self._audit.append_within(connection, _closed(certificate, why))
        report = Report(
            tenant=certificate.tenant,
            mission_id=None,
            agent="judge",
            pool="judge",
            edge="review",
            rule=DRIFT,
            threat=Threat.HIGH,
            reasons=[f"the certified {certificate.side} band of {certificate.point} was closed: {why}"],
            basis=certificate.id,
            subject=None,
        )
        incident, _ = await IncidentStore(self._store.pool).open(report, self._clock.now(), _POOL_LIMIT, _WINDOW)
        await self._incidents.tell(incident)


def _opened(one: Certificate) -> AuditEvent:
    told = ("point", "topic", "side", "alpha", "threshold", "bound", "labels", "above", "errors", "policy")
    data = {"certificate": one.id, **{name: getattr(one, name) for name in told}}
    return AuditEvent(kind="review.band-opened", actor=one.made_by, tenant=one.tenant, data=data)


def _closed(one: Certificate, why: str) -> AuditEvent:
    data = {"certificate": one.id, "point": one.point, "topic": one.topic, "side": one.side, "reasons": [why]}
    return AuditEvent(kind="review.band-closed", actor="calibration", tenant=one.tenant, data=data)
