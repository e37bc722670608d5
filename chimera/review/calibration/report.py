"""How well stated probabilities and what humans said agree, by point, tenant and topic."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from chimera.review.calibration.bands import Bands
from chimera.review.calibration.bounds import exact_upper
from chimera.review.calibration.learn import Learnt

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Results of about the same probability: its mean, how many there were, and how many of them humans approved."""

    stated: float
    count: int
    approved: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """The share that was approved."""
        return self.approved / self.count


def reliability(learnt: Learnt) -> list[Bin]:
    """The labels that tested a model, by tenths of its probability; empty tenths are left out.

    ``low`` and ``high`` of a bin hold the true share with 90 % confidence.
    """
    ok = np.array([one.ok for one in learnt.tested], dtype=np.bool_)
    place = np.minimum((learnt.probabilities * BINS).astype(np.int64), BINS - 1)
    bins: list[Bin] = []
    for number in range(BINS):
        inside = place == number
        count, approved = int(inside.sum()), int(ok[inside].sum())
        if count:
            stated = float(learnt.probabilities[inside].mean())
            low, high = 1 - float(exact_upper(count - approved, count)), float(exact_upper(approved, count))
            bins.append(Bin(stated, count, approved, low, high))
    return bins


async def report(bands: Bands) -> list[dict[str, Any]]:
    """Of each point, tenant and topic: what was judged and decided, bins, bands, and what could be certified."""
    found: list[dict[str, Any]] = []
    for tenant, point, topic, judged, decided in await bands.store.points():
        learnt = await bands.learnt(tenant, point, topic)
        in_force = await bands.watched(tenant, point, topic)
        bins = [{**vars(one), "share": one.share} for one in reliability(learnt)] if len(learnt.tested) else []
        found.append(
            {
                "tenant": tenant,
                "point": point,
                "topic": topic,
                "judged": judged,
                "decided": decided,
                "alpha": bands.alpha(point),
                "bins": bins,
                "bands": [one.plain() for one in in_force],
                "closed": await bands.store.broken(tenant, point, topic),
                "could_be": {
                    side: {"threshold": one.threshold, "bound": one.bound, "share": one.share, "why": one.why}
                    for side, one in (("approve", learnt.approve), ("reject", learnt.reject))
                },
            }
        )
    return found
