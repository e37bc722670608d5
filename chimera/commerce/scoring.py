"""A score of how odd a payment is, by a trained model whose weights are data. It can make people look, and nothing
else.

It is a logistic regression over a few figures about the payment; ``scripts/train_payment_risk.py`` trains it, on
payments that are made up, as the file of weights says. It decides nothing: rules do, and a low score takes nothing
back.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from chimera.core.errors import ConfigError

FEATURES = ("size", "new_payee", "payments", "share_of_window", "price_ratio", "payees", "agents_to_owner", "night")
WEIGHTS = "payment_risk.json"


@dataclass(frozen=True)
class Scorer:
    """Weights of standardised figures. ``look``: the score from which on a human looks."""

    means: Sequence[float]
    scales: Sequence[float]
    weights: Sequence[float]
    bias: float
    look: float
    trained_on: str

    def score(self, figures: Mapping[str, float]) -> float:
        """Between 0 and 1; a figure that is none counts as the oddest."""
        given = [float(figures[name]) for name in FEATURES]
        if not all(map(math.isfinite, given)):
            return 1.0
        parts = zip(given, self.means, self.scales, self.weights, strict=True)
        total = self.bias + sum(weight * (value - mean) / scale for value, mean, scale, weight in parts)
        return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, total))))


@cache
def shipped_scorer() -> Scorer:
    """The scorer as Chimera ships it.

    Raises:
        ConfigError: its weights are damaged.
    """
    try:
        known = json.loads((resources.files("chimera.commerce") / WEIGHTS).read_text("utf-8"))
        if known["features"] != list(FEATURES) or min(known["scales"]) <= 0:
            raise ValueError("other figures")
        parts = {name: [float(each) for each in known[name]] for name in ("means", "scales", "weights")}
        if {len(part) for part in parts.values()} != {len(FEATURES)}:
            raise ValueError("not one weight for each figure")
        return Scorer(
            **parts, bias=float(known["bias"]), look=float(known["look"]), trained_on=str(known["trained_on"])
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"the weights of the payment scorer cannot be used: {type(error).__name__}") from None
