"""What lets a result pass: a certificate, or the thresholds as long as nothing lasting hangs on it, or a human.

The first answer is kept: a step that runs again gets the same one, whatever the lot would say now.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from chimera.core.clock import Clock
from chimera.core.errors import InputError
from chimera.core.settings import Settings
from chimera.review.calibration.certify import ALPHA
from chimera.review.calibration.drift import drifted
from chimera.review.calibration.features import Features
from chimera.review.calibration.learn import Learnt, learn
from chimera.review.calibration.model import Model
from chimera.review.calibration.store import CalibrationStore, Certificate, Judgement

_LOT: Callable[[], float] = random.SystemRandom().random
"""Nobody can tell beforehand which results a human will look at."""


@dataclass(frozen=True)
class Judged:
    """A result whose checks passed. ``sure``: the verdict approved it. ``lasting``: it made calls that may destroy."""

    id: str
    mission_id: str
    tenant: str
    point: str
    topic: str
    persona: str
    features: Features
    confidence: float
    sure: bool
    lasting: bool


@dataclass(frozen=True)
class Placed:
    """What becomes of a judged result, and why."""

    judgement: Judgement
    why: str

    @property
    def outcome(self) -> str:
        """approve, retry or escalate, as a verdict says it."""
        return {"approve": "approve", "threshold": "approve", "reject": "retry", "human": "escalate"}[
            self.judgement.band
        ]


class Alarm(Protocol):
    """Who closes a band that broke its promise, and tells people."""

    async def close(self, certificate: Certificate, why: str) -> None:
        """Close it on the record, and open an incident; once, whoever notices first."""
        ...


class Bands:
    """Decides who looks at judged results."""

    def __init__(
        self, store: CalibrationStore, settings: Settings, clock: Clock, alarm: Alarm, lot: Callable[[], float] = _LOT
    ) -> None:
        self.store = store
        self._settings = settings
        self._clock = clock
        self._alarm = alarm
        self._lot = lot

    def alpha(self, point: str) -> float:
        """The error rate that a certificate of a review point promises."""
        return self._settings.review_alpha.get(point, ALPHA)

    async def place(self, judged: Judged) -> Placed:
        """Say what becomes of a result, and keep it.

        Raises:
            StoreError: it is not known; nothing passes.
        """
        if (before := await self.store.judgement(judged.id)) is not None:
            return Placed(before, "as decided before")
        band, certificate, probability, why = await self._band(judged)
        share = (
            self._settings.review_audit_share if band in ("approve", "reject") or self._unseen(judged, band) else 1.0
        )
        audited = share < 1.0 and self._lot() < share
        made = Judgement(
            id=judged.id,
            mission_id=judged.mission_id,
            tenant=judged.tenant,
            point=judged.point,
            topic=judged.topic,
            persona=judged.persona,
            features=judged.features,
            probability=probability,
            band=band,
            certificate_id=certificate.id if certificate else None,
            propensity=max(share, 1e-6),
            audited=audited,
            judged_at=self._clock.now(),
        )
        return Placed(await self.store.keep(made), why)

    def _unseen(self, judged: Judged, band: str) -> bool:
        return band == "threshold" and judged.confidence >= self._settings.auto_approve

    async def _band(self, judged: Judged) -> tuple[str, Certificate | None, float | None, str]:
        if judged.topic in self._settings.review_topics:
            return "human", None, None, f"claims about {judged.topic} are for a human"
        certificates = await self.watched(judged.tenant, judged.point, judged.topic)
        probability = None
        for found in certificates:
            try:
                probability = Model.read(found.model).probability(judged.features)
            except InputError:
                return "human", None, None, "the model of a certificate cannot be read"
            if inside(found, probability):
                told = "likely enough" if found.side == "approve" else "too likely to be wrong"
                return found.side, found, probability, f"{told}: {probability:.2f}, certified for {found.alpha:g}"
        if certificates:
            return "human", None, probability, f"outside of the certified bands: {probability:.2f}"
        if await self.store.broken(judged.tenant, judged.point, judged.topic):
            return "human", None, None, "the certified band was closed, and there is no new certificate"
        if judged.lasting:
            return "human", None, None, "it made calls that may destroy, and no certificate covers that"
        if not judged.sure:
            return "human", None, None, "a human has to decide"
        return "threshold", None, None, "reads or can be undone"

    async def watched(self, tenant: str, point: str, topic: str) -> list[Certificate]:
        """The certificates in force after their audits were looked at; one that broke its promise is closed first."""
        found = await self.store.open_bands(tenant, point, topic)
        audits = await asyncio.gather(*(self.store.audited(one) for one in found))
        kept: list[Certificate] = []
        for one, errors in zip(found, audits, strict=True):
            if drifted(errors, one.alpha):
                await self._alarm.close(
                    one, f"{sum(errors)} of {len(errors)} audited were wrong: more than {one.alpha:g}"
                )
            else:
                kept.append(one)
        return kept

    async def learnt(self, tenant: str, point: str, topic: str) -> Learnt:
        """A model and bands from what humans decided so far; puts nothing in force."""
        labelled = await self.store.labelled(tenant, point, topic)
        return await asyncio.to_thread(learn, labelled, self.alpha(point))


def inside(certificate: Certificate, probability: float) -> bool:
    """Whether a band decides about a result that humans would approve with this probability."""
    return (probability if certificate.side == "approve" else 1 - probability) >= certificate.threshold


def certificates_of(learnt: Learnt, kept: Certificate) -> Sequence[Certificate]:
    """The certificates that were found, each like ``kept`` but for what was learnt."""
    return [
        replace(
            kept,
            side=side,
            threshold=min(1.0, max(0.0, found.threshold)),
            bound=found.bound,
            labels=len(learnt.tested),
            above=found.count,
            errors=found.errors,
            model=learnt.model.plain(),
            why=found.why,
        )
        for side, found in (("approve", learnt.approve), ("reject", learnt.reject))
        if found.threshold is not None
    ]
