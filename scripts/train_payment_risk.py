"""Train the weights of chimera/commerce/payment_risk.json. They are data, and no code that is loaded.

The payments are made up here, seeded, as no labelled payments of agents are public. So the score is worth what this
page assumes and no more, which is why it can make a human look, and nothing else. Run it with scikit-learn installed:

    python scripts/train_payment_risk.py
"""

import json
import math
import random
from pathlib import Path
from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, recall_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from chimera.commerce.scoring import FEATURES, WEIGHTS

SEED, HONEST, ODD = 20261123, 40_000, 4_000
LOOKED_AT = 0.01
"""The share of honest payments that a human is made to look at."""
PLACE = Path(__file__).resolve().parents[1] / "chimera" / "commerce" / WEIGHTS


def honest(source: random.Random) -> list[float]:
    """A payment of an agent that buys small things, mostly from payees that are known."""
    size = source.gauss(-1.2, 0.6)
    payments = source.randint(1, 30)
    window = size + math.log10(payments) * source.uniform(0.4, 1.0)
    ratio = source.gauss(0.0, 0.12)
    payees, agents = source.randint(1, 5), source.randint(1, 4)
    new, night = float(source.random() < 0.08), float(source.random() < 0.25)
    return [size, new, math.log1p(payments), window, ratio, math.log1p(payees), math.log1p(agents), night]


def odd(source: random.Random) -> list[float]:
    """One of four tricks: many under the limit, many agents for one payee, an inflated price, a large first payment."""
    figures = honest(source)
    match source.randrange(4):
        case 0:
            payments = source.randint(10, 80)
            figures[0] = source.uniform(-0.3, 0.0)
            figures[2], figures[3] = math.log1p(payments), figures[0] + math.log10(payments)
        case 1:
            agents = source.randint(5, 60)
            figures[0] = source.uniform(-0.5, 0.0)
            figures[3], figures[6] = figures[0] + math.log10(agents), math.log1p(agents)
        case 2:
            figures[4], figures[0] = source.uniform(0.3, 1.5), source.gauss(-0.4, 0.5)
        case _:
            figures[1], figures[0] = 1.0, source.uniform(-0.2, 1.2)
            figures[3], figures[7] = max(figures[3], figures[0]), float(source.random() < 0.6)
    return figures


def main() -> None:
    """Make payments up, train on two thirds, say what the last third shows, and write the weights."""
    source = random.Random(SEED)  # noqa: S311 - repeatability is the point, not secrecy
    figures = [honest(source) for _ in range(HONEST)] + [odd(source) for _ in range(ODD)]
    labels = [0] * HONEST + [1] * ODD
    parts: Any = train_test_split(figures, labels, test_size=1 / 3, random_state=SEED, stratify=labels)
    train, test, train_labels, test_labels = parts
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(max_iter=1_000).fit(scaler.transform(train), train_labels)
    scores = model.predict_proba(scaler.transform(test))[:, 1]
    calm = sorted(score for score, label in zip(scores, test_labels, strict=True) if not label)
    look = round(float(calm[int(len(calm) * (1 - LOOKED_AT))]), 4)
    found = {
        "roc_auc": round(float(roc_auc_score(test_labels, scores)), 4),
        "pr_auc": round(float(average_precision_score(test_labels, scores)), 4),
        "recall_at_1_percent": round(float(recall_score(test_labels, scores >= look)), 4),
    }
    weights = {
        "trained_on": f"{HONEST:,} honest and {ODD:,} odd payments that are made up (scripts/train_payment_risk.py)",
        "features": list(FEATURES),
        "means": [round(float(each), 6) for each in scaler.mean_],
        "scales": [round(float(each), 6) for each in scaler.scale_],
        "weights": [round(float(each), 6) for each in model.coef_[0]],
        "bias": round(float(model.intercept_[0]), 6),
        "look": look,
        "on_made_up_payments": found,
    }
    PLACE.write_text(json.dumps(weights, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
