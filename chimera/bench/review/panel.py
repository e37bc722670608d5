"""A labelled panel whose truth is known: a machine that states its confidence, and clusters that it misjudges together.

It states sigmoid(z) with z ~ N(1.2, 1.6); a cluster is off by u ~ N(0, sd); an item is right with probability
sigmoid(z + u). So the error rate above any threshold is an integral, and no second sample is needed to know it.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from chimera.review.calibration.bounds import Floats

MEAN, SPREAD = 1.2, 1.6
_POINTS, _RANGE, _NODES = 20_001, 6.0, 80


def sigmoid(values: Floats) -> Floats:
    """The logistic function."""
    return 1.0 / (1.0 + np.exp(-values))


@dataclass(frozen=True)
class Panel:
    """How labels are drawn: the spread of clusters on the logit scale, how many there are, and items of each."""

    name: str
    sd: float
    clusters: int
    items: int

    def draw(self, rng: np.random.Generator) -> tuple[Floats, NDArray[np.bool_], NDArray[np.int64]]:
        """Stated confidences on the logit scale, whether each is wrong, and the cluster of each."""
        cluster = np.repeat(np.arange(self.clusters), self.items)
        off = rng.normal(0.0, self.sd, self.clusters)[cluster] if self.sd else np.zeros(len(cluster))
        stated = self.traffic(rng, len(cluster))
        return stated, rng.random(len(cluster)) >= sigmoid(stated + off), cluster

    @staticmethod
    def traffic(rng: np.random.Generator, items: int) -> Floats:
        """Stated confidences of items that nobody labelled."""
        return rng.normal(MEAN, SPREAD, items)

    @cached_property
    def truth(self) -> tuple[Floats, Floats, Floats]:
        """Thresholds, rising; the share of all items at or above each; and the error rate among those."""
        nodes, weights = cast("tuple[Floats, Floats]", np.polynomial.hermite_e.hermegauss(_NODES))
        stated = np.linspace(MEAN - _RANGE * SPREAD, MEAN + _RANGE * SPREAD, _POINTS)
        density = np.exp(-0.5 * ((stated - MEAN) / SPREAD) ** 2)
        density /= density.sum()
        wrong = sigmoid(-(stated[:, None] + self.sd * nodes)) @ (weights / weights.sum())
        share = np.cumsum(density[::-1])[::-1]
        return stated, share, np.cumsum((density * wrong)[::-1])[::-1] / share

    def share_above(self, threshold: Any) -> Any:
        """The share of all items at or above a threshold, or at or above each."""
        stated, share, _ = self.truth
        return np.interp(threshold, stated, share)

    def error_above(self, threshold: Any) -> Any:
        """The true error rate at or above a threshold."""
        stated, _, error = self.truth
        return np.interp(threshold, stated, error)

    def oracle(self, alpha: float) -> tuple[float, float]:
        """The loosest threshold that keeps ``alpha`` in truth, and the share above it: for who knows the curve."""
        stated, share, error = self.truth
        at = int(np.argmax(error <= alpha))
        return float(stated[at]), float(share[at])
