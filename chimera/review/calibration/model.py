"""A logistic model from features to the probability that a human approves; kept as numbers, never as a pickle."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from chimera.core.errors import InputError
from chimera.review.calibration.bounds import Floats
from chimera.review.calibration.features import NAMES, Features

_STRENGTH = 1.0
_LOGIT_MAX = 30.0


@dataclass(frozen=True)
class Model:
    """Weights of :meth:`Features.columns`, and an intercept."""

    weights: tuple[float, ...]
    intercept: float

    def probability(self, features: Features) -> float:
        """The probability that a human approves."""
        logit = self.intercept + sum(w * x for w, x in zip(self.weights, features.columns(), strict=True))
        return 1.0 / (1.0 + math.exp(-max(-_LOGIT_MAX, min(_LOGIT_MAX, logit))))

    def probabilities(self, many: Sequence[Features]) -> Floats:
        """The same for each."""
        return np.array([self.probability(one) for one in many], dtype=np.float64)

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return {"features": list(NAMES), "weights": list(self.weights), "intercept": self.intercept}

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> "Model":
        """From JSON data.

        Raises:
            InputError: it is of other features, or not made of finite numbers.
        """
        try:
            weights = tuple(float(weight) for weight in stored["weights"])
            intercept, names = float(stored["intercept"]), list(stored["features"])
        except (KeyError, TypeError, ValueError):
            raise InputError("a stored model cannot be read", remedy="Run `chimera review calibrate` anew.") from None
        if names != list(NAMES) or len(weights) != 2 * len(NAMES) or not np.isfinite([*weights, intercept]).all():
            raise InputError("a stored model is of other features", remedy="Run `chimera review calibrate` anew.")
        return cls(weights, intercept)


def fit(features: Sequence[Features], ok: NDArray[np.bool_]) -> Model:
    """Fit by penalised maximum likelihood. With labels of one kind only, every item gets their smoothed share."""
    if len(set(ok.tolist())) < 2:
        share = (float(ok.sum()) + 1) / (len(ok) + 2)
        return Model((0.0,) * 2 * len(NAMES), math.log(share / (1 - share)))
    from sklearn.linear_model import LogisticRegression

    table = np.array([one.columns() for one in features], dtype=np.float64)
    mean, spread = table.mean(axis=0), table.std(axis=0)
    scale = np.where(spread > 1e-9, spread, 1.0)
    fitted = cast("Any", LogisticRegression(C=_STRENGTH, max_iter=1_000).fit((table - mean) / scale, ok))
    learnt, start = cast("tuple[list[float], float]", (fitted.coef_[0].tolist(), float(fitted.intercept_[0])))
    moves, sizes, middle = ((spread > 1e-9).tolist(), scale.tolist(), mean.tolist())
    weights = [found / size if real else 0.0 for found, size, real in zip(learnt, sizes, moves, strict=True)]
    return Model(tuple(weights), start - sum(w * x for w, x in zip(weights, middle, strict=True)))
