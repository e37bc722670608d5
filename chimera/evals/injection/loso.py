"""Leave one source out: every text is scored by a model that has seen no text of its source."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from chimera.core.errors import InputError
from chimera.evals.injection.data import Corpus
from chimera.evals.injection.fit import Labels, train
from chimera.evals.injection.matrix import make_windows
from chimera.guards.injection.classifier import Weights
from chimera.guards.injection.detector import best_logit

RATES = (0.05, 0.01, 0.002)
"""The shares of benign texts at which the marks of the shipped model stand."""


@dataclass(frozen=True)
class OutOfFold:
    """Out-of-fold logits of a corpus, and the models that gave them, by source."""

    corpus: Corpus
    logits: NDArray[np.float64]
    models: dict[str, Weights]

    @property
    def attack(self) -> NDArray[np.bool_]:
        """Which rows are attacks."""
        return np.array([row.attack for row in self.corpus.rows])

    @property
    def source(self) -> NDArray[np.str_]:
        """The source of each row."""
        return np.array([row.source for row in self.corpus.rows])

    @property
    def hard(self) -> NDArray[np.bool_]:
        """Which rows are benign texts that talk about attacks."""
        return np.array([row.hard and not row.attack for row in self.corpus.rows])

    def auc(self) -> float:
        """The share of (attack, benign) pairs in the right order, over all sources."""
        from sklearn.metrics import roc_auc_score

        return float(cast("Any", roc_auc_score(self.attack, self.logits)))

    def threshold(self, source: str, rate: float) -> float:
        """The logit above which ``rate`` of the other sources' benign texts lie, each scored out of fold."""
        others = (self.source != source) & ~self.attack
        return float(np.quantile(self.logits[others], 1.0 - rate)) if others.any() else float("inf")

    def flagged(self, rate: float) -> NDArray[np.bool_]:
        """The rows above the threshold of their source."""
        limits = {source: self.threshold(source, rate) for source in self.models}
        return self.logits > np.array([limits[row.source] for row in self.corpus.rows])


def leave_one_source_out(corpus: Corpus) -> OutOfFold:
    """Train once for each source, on all the others, and score the source with that.

    Raises:
        InputError: there are not two sources, or one label is missing.
    """
    sources = sorted({row.source for row in corpus.rows})
    if len(sources) < 2 or len({row.attack for row in corpus.rows}) < 2:
        raise InputError("leave-one-source-out needs two sources, attacks and benign texts")
    data, labels = make_windows(corpus), labels_of(corpus, sources)
    logits = np.zeros(len(corpus.rows))
    models: dict[str, Weights] = {}
    for number, source in enumerate(sources):
        held_out = labels.source == number
        models[source] = train(data, labels, ~held_out)
        for at in (int(at) for at in np.flatnonzero(held_out)):
            logits[at] = best_logit(corpus.features[at], models[source])
    return OutOfFold(corpus, logits, models)


def labels_of(corpus: Corpus, sources: Sequence[str]) -> Labels:
    """The labels of a corpus, its sources by their number in ``sources``."""
    number = {source: at for at, source in enumerate(sources)}
    return Labels(
        attack=np.array([row.attack for row in corpus.rows]),
        source=np.array([number[row.source] for row in corpus.rows]),
    )


def calibrated(weights: Weights, found: OutOfFold) -> Weights:
    """A model with the calibration (Platt) and the marks that the out-of-fold logits give."""
    from sklearn.linear_model import LogisticRegression

    platt = cast("Any", LogisticRegression(C=1e6, max_iter=200).fit(found.logits.reshape(-1, 1), found.attack))
    scaled = replace(weights, slope=float(platt.coef_[0, 0]), offset=float(platt.intercept_[0]))
    benign = found.logits[~found.attack]
    five, one, least = (scaled.risk(float(np.quantile(benign, 1.0 - rate))) for rate in RATES)
    return replace(scaled, marks=(five, one, least))
