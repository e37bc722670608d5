"""Both certified bands on labelled tweets: what a judge of brand safety may let pass, and send back, by itself.

The judge is a linear model of words, taught on some of the tweets; others certify its bands, and the rest says what
they are worth. Most tweets of this set are unsafe, as they were searched for; so what is safe can hardly be
certified, which is the point of the control.
"""

import csv
import os
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from chimera.review.calibration.bounds import Floats
from chimera.review.calibration.certify import Labels, certify

SEED, TAUGHT, CERTIFYING = 3, 0.30, 0.35
ALPHAS = {"2": 0.02, "10": 0.10}
_FILE = Path("review", "hate-speech", "data", "labeled_data.csv")
_SAFE = "2"
Truths = NDArray[np.bool_]


def data_file() -> Path | None:
    """The labelled tweets, where ``CHIMERA_DATA`` has them."""
    folder = os.environ.get("CHIMERA_DATA")
    path = Path(folder, _FILE) if folder else None
    return path if path is not None and path.is_file() else None


def brand_safety(path: Path, *, quick: bool) -> dict[str, float]:
    """Share and error rate of both bands, at two promises: means over splits of the tweets that taught nothing."""
    safe, score = _judged(path)
    rng = np.random.default_rng(SEED)
    figures: dict[str, float] = {"brand_items": float(len(safe)), "brand_safe_share": float(safe.mean())}
    certifying = round(len(safe) * CERTIFYING / (1 - TAUGHT))
    for name, alpha in ALPHAS.items():
        told: dict[str, list[float]] = {}
        for _ in range(5 if quick else 40):
            order = rng.permutation(len(safe))
            first, rest = order[:certifying], order[certifying:]
            for side, sign, wrong in (("approve", 1.0, ~safe), ("reject", -1.0, safe)):
                for key, value in _band(sign * score, wrong, first, rest, alpha).items():
                    told.setdefault(f"brand_{side}_{key}_{name}", []).append(value)
        figures |= {key: float(np.mean(values)) for key, values in told.items()}
    return figures


def _band(score: Floats, wrong: Truths, first: Any, rest: Any, alpha: float) -> dict[str, float]:
    """What one certificate is worth on the tweets that it never saw."""
    found = certify(Labels(score[first], wrong[first], list(range(len(first)))), score[rest], alpha)
    inside = score[rest] >= found.threshold if found.threshold is not None else np.zeros(len(rest), dtype=np.bool_)
    error = float(wrong[rest][inside].mean()) if inside.any() else 0.0
    return {"share": float(inside.mean()), "error": error, "broken": float(error > alpha)}


def _judged(path: Path) -> tuple[Truths, Floats]:
    """Of the tweets that taught nothing: whether each is safe, and the judge's logit that it is."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    with path.open(encoding="utf-8", newline="") as file:
        rows = [(row["tweet"], row["class"] == _SAFE) for row in csv.DictReader(file)]
    order = np.random.default_rng(SEED).permutation(len(rows))
    taught = round(len(rows) * TAUGHT)
    texts = [rows[place][0] for place in order.tolist()]
    safe = np.array([rows[place][1] for place in order.tolist()], dtype=np.bool_)
    words = cast("Any", TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True))
    table = words.fit_transform(texts[:taught])
    judge = cast("Any", LogisticRegression(C=10.0, max_iter=500)).fit(table, safe[:taught])
    return safe[taught:], np.asarray(judge.decision_function(words.transform(texts[taught:])), dtype=np.float64)
