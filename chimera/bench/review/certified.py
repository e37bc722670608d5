"""Certificates on panels of known truth: how often they break their promise, and how much they let pass.

Beside what the certificate reaches stands what could be reached at all with as many labels. Who counts the same errors
and knows the true spread of such counts takes the loosest threshold whose count lies far enough below alpha, with just
that margin that breaks the promise in one draw of twenty. No test of these counts knows as much.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chimera.bench.review.brand_safety import brand_safety, data_file
from chimera.bench.review.panel import Panel
from chimera.core.figures import Goal
from chimera.review.calibration.bounds import Floats, by_cluster
from chimera.review.calibration.certify import ALPHA, Labels, certify, thresholds

SEED, SPLITS, LABELS, TRAFFIC = 7, 200, 2_000, 20_000
PANELS = (
    Panel("independent", 0.0, LABELS, 1),
    Panel("clusters_sd05", 0.5, 40, LABELS // 40),
    Panel("clusters_sd1", 1.0, 40, LABELS // 40),
)
SPREAD_OUT = Panel("spread_sd1", 1.0, 400, LABELS // 400)
"""The same labels taken from ten times as many clusters: told beside, and in no goal."""
GOALS: Mapping[str, Goal] = {"violation_share": ("<=", 0.05), "oracle_share": (">=", 0.85)}


async def certified(quick: bool) -> tuple[dict[str, float], dict[str, Goal], dict[str, Any]]:
    """Figures, goals and conditions; the quick run draws fewer times."""
    splits = 60 if quick else SPLITS
    figures: dict[str, float] = {}
    for panel in (*PANELS, SPREAD_OUT):
        figures |= {f"{key}_{panel.name}": value for key, value in of_panel(panel, splits, SEED).items()}
    worst = {
        "violation_share": max(figures[f"violation_share_{panel.name}"] for panel in PANELS),
        "oracle_share": min(figures[f"oracle_share_{panel.name}"] for panel in PANELS),
        "reachable_share": min(figures[f"reachable_share_{panel.name}"] for panel in PANELS),
    }
    tweets = data_file()
    if tweets is not None:
        figures |= await asyncio.to_thread(brand_safety, tweets, quick=quick)
    conditions = {
        "brand": "labelled tweets, 30 % teach a linear judge, 35 % certify, 35 % tell share and error; promises "
        "of 2 and 10 %, means over splits; broken: splits whose sample error is above the promise"
        if tweets
        else "absent: CHIMERA_DATA has no review/hate-speech",
        "certified": f"{splits} draws of {LABELS} labels for each panel, alpha {ALPHA}, 95 % confidence; stated "
        "confidence sigmoid(z), z ~ N(1.2, 1.6), right with probability sigmoid(z + u), u ~ N(0, sd) by cluster; "
        "clusters: 40 of 50 items; spread: 400 of 5; violations by the true error rate, not by a sample",
        "oracle_share": "mean share of items above the certified threshold, of the oracle's, who knows the curve",
        "reachable_share": "the same of who knows the true spread of the counts and takes the margin that just breaks "
        "the promise in one draw of twenty: the most that counts of errors can carry",
        "seed_certified": SEED,
        "simulated": ["the panels"],
    }
    return {**worst, **figures}, dict(GOALS), conditions


def of_panel(panel: Panel, splits: int, seed: int) -> dict[str, float]:
    """What certificates of one panel are worth: violations, share of the oracle's, share that could be reached."""
    rng = np.random.default_rng(seed)
    limit, best = panel.oracle(ALPHA)
    reached: list[float] = []
    broken = without = 0
    tried = thresholds(panel.traffic(rng, TRAFFIC), LABELS, ALPHA, 0.005)
    counted: list[Floats] = []
    for _ in range(splits):
        stated, wrong, clusters = panel.draw(rng)
        found = certify(Labels(stated, wrong, clusters.tolist()), panel.traffic(rng, TRAFFIC))
        if found.threshold is None:
            without += 1
            reached.append(0.0)
        else:
            broken += found.threshold < limit
            reached.append(float(panel.share_above(found.threshold)) / best)
        errors, counts = by_cluster(stated, wrong, clusters.tolist(), tried)
        counted.append(errors.sum(axis=0) / np.maximum(counts.sum(axis=0), 1))
    return {
        "violation_share": broken / splits,
        "oracle_share": float(np.mean(reached)),
        "reachable_share": reachable(np.array(counted), tried, panel),
        "oracle_rate": best,
        "uncertified_share": without / splits,
    }


def reachable(rates: Floats, tried: NDArray[np.float64], panel: Panel) -> float:
    """The share of the oracle's that nobody exceeds who counts errors: its margin is tuned with the truth."""
    limit, best = panel.oracle(ALPHA)
    shares = np.asarray(panel.share_above(tried)) / best
    spread = np.maximum(rates.std(axis=0), 1e-9)
    low, high = 0.0, 5.0
    taken = np.zeros(len(rates))
    for _ in range(30):
        margin = (low + high) / 2
        passes = (ALPHA - rates) / spread >= margin
        last = np.where(passes.any(axis=1), passes.shape[1] - 1 - passes[:, ::-1].argmax(axis=1), -1)
        taken = np.where(last >= 0, shares[last], 0.0)
        if np.mean((last >= 0) & (tried[last] < limit)) > 1 - 0.95:
            low = margin
        else:
            high = margin
    return float(taken.mean())
