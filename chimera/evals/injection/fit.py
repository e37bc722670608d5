"""Training: logistic regression around what the rules already say, sources balanced, the telling window of each attack.

Two things keep it from learning a source instead of an attack. N-grams count only when they occur in two sources or
more. And the penalty draws rules towards their reviewed weight and everything else towards nothing, so that a rule that
no training source happens to need keeps its say on a source that does.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chimera.evals.injection.matrix import CUE_SCALE, Windows
from chimera.guards.injection.classifier import Weights
from chimera.guards.injection.rules import load_rules

PENALTY = 1e-2
RULE_PRIOR = 2.5
"""The logit that a rule of weight 1 adds before anything is learned."""

LEAST_SOURCES, LEAST_WINDOWS = 2, 4
ROUNDS = (40, 30)
"""Iterations of each round; every round picks the telling window of each attack anew."""


@dataclass(frozen=True)
class Labels:
    """Per document: whether it is an attack, and the number of its source."""

    attack: NDArray[np.bool_]
    source: NDArray[np.int64]


def train(data: Windows, labels: Labels, training: NDArray[np.bool_]) -> Weights:
    """The model of the documents marked in ``training``. The same input gives the same model."""
    document = data.document
    chosen = np.flatnonzero(training[document])
    columns = _columns(data, labels, chosen)
    matrix: Any = data.matrix[:, columns]
    prior = np.where(columns < data.blocks[0].size, RULE_PRIOR, 0.0).astype(np.float32)
    if len(set(labels.attack[training])) < 2:
        return _weights(data, columns, np.append(prior, -RULE_PRIOR))
    weight = _document_weights(labels, training)
    share = weight[document] / np.bincount(document, minlength=len(training))[document]
    found = np.append(prior, 0.0).astype(np.float64)
    for turn, iterations in enumerate(ROUNDS):
        if turn:
            logit = matrix @ found[:-1].astype(np.float32) + found[-1]
            share = _attention(logit, document, labels, weight)
        some = chosen[share[chosen] > 0]
        found = _solve(matrix[some], labels.attack[document[some]], share[some], prior, found, iterations)
    return _weights(data, columns, found)


def _columns(data: Windows, labels: Labels, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """All rules and cues, and the n-grams that are not the mark of a single source."""
    part: Any = data.matrix[chosen]
    source = labels.source[data.document[chosen]]
    sources = np.zeros(part.shape[1], dtype=np.int64)
    for number in np.unique(source):
        sources += part[source == number].getnnz(axis=0) > 0
    keep = (sources >= LEAST_SOURCES) & (part.getnnz(axis=0) >= LEAST_WINDOWS)
    keep[: data.blocks[1].first + data.blocks[1].size] = True
    return np.flatnonzero(keep)


def _document_weights(labels: Labels, training: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Attacks weigh as much as benign texts, and a source as much as the root of its size."""
    weight = np.zeros(len(training))
    for attack in (False, True):
        of_label = training & (labels.attack == attack)
        for number in np.unique(labels.source[of_label]):
            some = of_label & (labels.source == number)
            weight[some] = 1.0 / np.sqrt(some.sum())
        weight[of_label] /= weight[of_label].sum()
    return weight


def _attention(
    logit: NDArray[Any], document: NDArray[np.int64], labels: Labels, weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The weight of each window: of an attack only the most telling one, of a benign text the worst ones most."""
    best = np.full(len(weight), -np.inf)
    np.maximum.at(best, document, logit)
    below = logit - best[document]
    telling = np.where(labels.attack[document], (below >= -1e-6).astype(float), np.exp(np.clip(below, -20.0, 0.0)))
    total = np.bincount(document, telling, minlength=len(weight))
    return weight[document] * telling / np.maximum(total[document], 1e-12)


def _solve(
    matrix: Any, attack: Any, share: Any, prior: NDArray[np.float32], start: NDArray[np.float64], iterations: int
) -> NDArray[np.float64]:
    sign = np.where(attack, 1.0, -1.0).astype(np.float32)
    share = (share / share.sum()).astype(np.float32)
    turned: Any = matrix.T.tocsr()

    def loss(values: Any) -> tuple[float, Any]:
        weights = values[:-1].astype(np.float32)
        margin = sign * (matrix @ weights + np.float32(values[-1]))
        pull = -(share * sign) / (1.0 + np.exp(np.clip(margin, -60.0, 60.0)))
        away = weights - prior
        total = float((share * np.logaddexp(0.0, -margin)).sum() + 0.5 * PENALTY * (away @ away))
        return total, np.append(turned @ pull + PENALTY * away, pull.sum()).astype(np.float64)

    bounds = [(0.0, None) if drawn else (None, None) for drawn in prior] + [(None, None)]
    options = {"maxiter": iterations, "maxcor": 7}
    from scipy.optimize import minimize

    solved: Any = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(solved.x, dtype=np.float64)


def _weights(data: Windows, columns: NDArray[np.int64], found: NDArray[np.float64]) -> Weights:
    """The model in the form that ships: int8 tables."""
    whole = np.zeros(data.matrix.shape[1])
    whole[columns] = found[:-1]
    grams: dict[str, NDArray[np.int8]] = {}
    scales: dict[str, float] = {}
    for block in data.blocks[1:]:
        values = whole[block.first : block.first + block.size]
        step = float(np.abs(values).max()) / 127.0 or 1.0
        grams[block.name], scales[block.name] = np.round(values / step).astype(np.int8), step
    cues = grams.pop("cues")
    scales["cues"] *= CUE_SCALE
    reviewed = np.array([rule.weight for rule in load_rules()])
    return Weights(
        grams=grams,
        scales=scales,
        cues=cues,
        rules=(whole[: len(reviewed)] * reviewed).astype(np.float32),
        bias=float(found[-1]),
    )
