"""The learnt part of the ranking: small regression trees over the features, and how common words are in requests.

Learnt by ``python -m chimera.evals.discovery.train``.
Source: Burges, "From RankNet to LambdaRank to LambdaMART: an overview" (2010).
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from chimera.tools.discovery.terms import Floats, Ints

WEIGHTS = Path(__file__).with_name("weights.npz")
PRIOR_SHARE = 0.3
"""How much the plain mix of scores counts beside the trees, which saw few kinds of tools."""
_ARRAYS = ("feature", "threshold", "left", "right", "value")


@dataclass(frozen=True)
class Trees:
    """Binary trees as arrays; rows are trees, columns nodes. A leaf is its own child."""

    names: tuple[str, ...]
    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    value: Floats
    depth: int

    def predict(self, figures: Mapping[str, Floats]) -> Floats:
        """The sum of the trees for each candidate."""
        matrix = np.stack([figures[name] for name in self.names], axis=1).astype(np.float32)
        rows = np.arange(len(matrix))[:, None]
        trees = np.arange(len(self.feature))[None, :]
        node = np.zeros((len(matrix), len(self.feature)), dtype=np.int64)
        for _ in range(self.depth):
            goes_left = matrix[rows, self.feature[trees, node]] <= self.threshold[trees, node]
            node = np.where(goes_left, self.left[trees, node], self.right[trees, node])
        return self.value[trees, node].sum(axis=1)


@dataclass(frozen=True)
class Ranking:
    """What was learnt: words of requests with their weight, trees for words alone, and trees with a dense model."""

    request_words: Mapping[str, float]
    lexical: Trees
    dense: Trees

    def scores(self, figures: Mapping[str, Floats]) -> Floats:
        """How good each candidate is; figures compare within one search alone."""
        if "dense" in figures:
            prior = 0.4 * figures["telling"] + 0.6 * figures["dense"]
            learnt = self.dense.predict(figures)
        else:
            prior = 0.5 * figures["telling"] + 0.5 * figures["fused"]
            learnt = self.lexical.predict(figures)
        return (1 - PRIOR_SHARE) * _standard(learnt) + PRIOR_SHARE * _standard(prior)

    def arrays(self, prefix: str = "") -> dict[str, Any]:
        """The arrays of a weights file."""
        found: dict[str, Any] = {
            f"{prefix}words": np.array(list(self.request_words)),
            f"{prefix}word_weights": np.array(list(self.request_words.values()), dtype=np.float32),
        }
        for kind, trees in (("lexical", self.lexical), ("dense", self.dense)):
            found |= {f"{prefix}{kind}_{name}": getattr(trees, name) for name in _ARRAYS}
            found |= {f"{prefix}{kind}_names": np.array(trees.names), f"{prefix}{kind}_depth": np.array(trees.depth)}
        return found


def ranking_of(arrays: Mapping[str, Any], prefix: str = "") -> Ranking:
    """The ranking in the arrays of a weights file."""
    kinds = {
        kind: Trees(
            names=tuple(str(name) for name in arrays[f"{prefix}{kind}_names"]),
            depth=int(arrays[f"{prefix}{kind}_depth"]),
            **{name: arrays[f"{prefix}{kind}_{name}"] for name in _ARRAYS},
        )
        for kind in ("lexical", "dense")
    }
    words = zip(arrays[f"{prefix}words"].tolist(), arrays[f"{prefix}word_weights"].tolist(), strict=True)
    return Ranking(request_words=dict(words), **kinds)


@lru_cache(maxsize=1)
def shipped_ranking() -> Ranking:
    """The ranking that comes with the package."""
    with np.load(io.BytesIO(WEIGHTS.read_bytes()), allow_pickle=False) as arrays:
        return ranking_of({name: arrays[name] for name in arrays.files})


def _standard(scores: Floats) -> Floats:
    return (scores - scores.mean()) / max(float(scores.std()), 1e-9)
