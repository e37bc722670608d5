"""Learn, then test: the loosest threshold at which a band keeps its promise, and why there is none (arXiv:2110.01052).

Thresholds are tested from the safest to the loosest, each at the full level, until one fails: the first one that breaks
the promise passes in one of twenty calibrations at most, and no other can be reached before it. They are fixed without
looking at the labels that test them, and the sequence starts where enough items lie above to pass at all.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chimera.review.calibration.bounds import DELTA, Floats, by_cluster, clustered_upper, exact_upper

ALPHA = 0.10
START = 7
"""The first threshold leaves START ln(1/delta) / alpha labels above it; three times would do for a perfect machine."""
START_LEAST = 3
STEP = 0.0025
STEP_CLUSTERED = 0.01
"""Shares of the traffic between two thresholds."""


@dataclass(frozen=True)
class Labels:
    """What humans said: a score for each item, whether the band would have been wrong about it, and its cluster."""

    scores: Floats
    wrong: NDArray[np.bool_]
    clusters: Sequence[Any]

    @property
    def clustered(self) -> bool:
        """Whether any two items belong together."""
        return len(set(self.clusters)) < len(self.clusters)


@dataclass(frozen=True)
class Found:
    """A certified threshold, or None, and why. ``count`` items lay above it, ``bound`` is the highest error rate."""

    threshold: float | None
    count: int
    errors: int
    bound: float
    share: float
    why: str


def needed(alpha: float, labels: int, delta: float = DELTA) -> int:
    """How many labels the first threshold leaves above it; more than there are means: too few."""
    least, usual = (math.ceil(factor * math.log(1 / delta) / alpha) for factor in (START_LEAST, START))
    return max(least, min(usual, labels // 4))


def thresholds(traffic: Floats, labels: int, alpha: float, step: float) -> Floats:
    """The thresholds to test, safest first: quantiles of what the machine says of items that test nothing."""
    shares = np.arange(needed(alpha, labels) / max(labels, 1), 1.0 + step / 2, step)
    return np.quantile(traffic, 1.0 - np.minimum(shares, 1.0)) if len(shares) else np.zeros(0)


def certify(labels: Labels, traffic: Floats, alpha: float = ALPHA) -> Found:
    """The loosest threshold whose error rate is at most ``alpha``, with 95 % confidence.

    ``traffic``: scores of other items of the same kind; they say where thresholds lie, and prove nothing.
    """
    total, clustered = len(labels.scores), labels.clustered
    least = needed(alpha, total)
    if total < least or not len(traffic):
        return _none(f"{total} labels; at least {least} are needed for an error of {alpha:g}")
    tried = thresholds(traffic, total, alpha, STEP_CLUSTERED if clustered else STEP)
    errors, counts = by_cluster(labels.scores, labels.wrong, labels.clusters, tried)
    wrong, seen = errors.sum(axis=0), counts.sum(axis=0)
    bounds = clustered_upper(errors, counts) if clustered else exact_upper(wrong, seen)
    passed = int(np.cumprod(bounds <= alpha).sum())
    at = max(passed - 1, 0)
    told = f"{int(wrong[at])} of {int(seen[at])} were wrong, so the error rate may be {bounds[at]:.3f}"
    if not passed:
        return _none(f"among the safest {told}: more than {alpha:g}")
    return Found(
        float(tried[at]), int(seen[at]), int(wrong[at]), float(bounds[at]), float(seen[at] / total), f"{told} at most"
    )


def _none(why: str) -> Found:
    return Found(None, 0, 0, 1.0, 0.0, why)
