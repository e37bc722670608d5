"""How large an error rate can be, at most, after so many labels: exact for independent items, and for clustered ones.

Items of one mission share its goal, its feed and its mistakes. To count them as if each were its own witness promises
too much: with a fixed-sequence test the promise of 5 % is broken in one of eight calibrations.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

DELTA = 0.05
"""How often a bound may be too low: once in twenty calibrations."""
DELTA_CLUSTERED = 0.045
"""The same where the spread between clusters has to be estimated too; its estimate is worst when it matters most."""
CLUSTERS_MIN = 10
"""With fewer clusters nothing can be said about how they differ."""


def exact_upper(errors: Any, count: Any, delta: float = DELTA) -> Floats:
    """Clopper and Pearson's upper bound of an error rate, for independent items (Biometrika 26, 1934).

    Broadcasts. Nothing counted, or nothing but errors: 1.
    """
    from scipy.special import betaincinv

    wrong, seen = np.asarray(errors, dtype=np.float64), np.asarray(count, dtype=np.float64)
    right = np.maximum(seen - wrong, 1e-12)
    return np.where(seen - wrong > 0, betaincinv(wrong + 1.0, right, 1.0 - delta), 1.0)


def clustered_upper(errors: Counts, counts: Counts, delta: float = DELTA_CLUSTERED) -> Floats:
    """Korn and Graubard's upper bound of an error rate over clusters (Survey Methodology 24, 1998).

    The exact bound, at the number of independent items that would know as much as these. The spread is that of the
    jackknife over clusters, and never smaller than between independent items.

    Args:
        errors: errors by cluster (rows) and threshold (columns).
        counts: items, in the same shape.
        delta: how often the bound may be too low.

    Returns:
        A bound for each threshold; 1 where there are too few clusters.
    """
    from scipy.special import stdtrit

    clusters = int(errors.shape[0])
    seen, wrong = counts.sum(axis=0).astype(np.float64), errors.sum(axis=0).astype(np.float64)
    if clusters < CLUSTERS_MIN:
        return np.ones_like(seen)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = wrong / seen
        without = (wrong - errors) / (seen - counts)
        variance = (clusters - 1) / clusters * ((without - rate) ** 2).sum(axis=0)
        worth = np.asarray(np.where(variance > 0, rate * (1 - rate) / variance, seen), dtype=np.float64)
        alone: Floats = np.asarray(stdtrit(np.maximum(seen - 1.0, 1.0), 1 - delta), dtype=np.float64)
        fewer = (alone / float(stdtrit(clusters - 1, 1 - delta))) ** 2
        worth = np.minimum(seen, np.minimum(seen, worth) * fewer)
        # Clusters of which nothing lies above the threshold say nothing: whole ones without an error still count once.
        witnesses = np.where(wrong > 0, worth, np.minimum(worth, (counts > 0).sum(axis=0)))
        bound = exact_upper(rate * witnesses, witnesses, delta)
    return np.where(seen > 0, np.nan_to_num(bound, nan=1.0), 1.0)


def by_cluster(
    scores: Floats, wrong: NDArray[np.bool_], clusters: Sequence[Any], thresholds: Floats
) -> tuple[Counts, Counts]:
    """Errors and items with a score of at least each threshold, by cluster.

    ``thresholds`` fall from the safest to the loosest. Both tables have a row for each cluster.
    """
    _, row = np.unique(np.asarray(clusters), return_inverse=True)
    rows = int(row.max()) + 1 if len(row) else 0
    # The first threshold that an item reaches; from there on it counts.
    first = np.searchsorted(-thresholds, -scores, side="left")
    errors, counts = (np.zeros((rows, len(thresholds) + 1), dtype=np.int64) for _ in range(2))
    np.add.at(counts, (row, first), 1)
    np.add.at(errors, (row, first), wrong.astype(np.int64))
    return errors.cumsum(axis=1)[:, :-1], counts.cumsum(axis=1)[:, :-1]
