"""The filter beside other detectors, over the same texts and at the same share of false positives.

Every threshold is chosen out of fold: for the texts of a source it comes from the benign texts of the other sources.
What is compared is what is realised with it: a detector with a coarse score, or with a yes and a no, cannot be set to
any rate.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from chimera.core.environments import environment, place_of
from chimera.core.errors import ConfigError
from chimera.evals.injection.data import Row
from chimera.evals.injection.peer_scores import Scores, adapter_command, scores_of
from chimera.evals.injection.peers import Peer

RATES = np.concatenate(([0.0], np.geomspace(1e-4, 1.0, 200)))
"""The shares of other sources' benign texts that thresholds are tried at."""

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Labelled:
    """Per text: whether it is an attack, and its source."""

    attack: Flags
    source: NDArray[np.str_]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Labelled":
        """The labels of rows."""
        return cls(np.array([row.attack for row in rows]), np.array([row.source for row in rows]))

    def some(self, chosen: Flags) -> "Labelled":
        """The labels of some of the texts."""
        return Labelled(self.attack[chosen], self.source[chosen])

    def rates(self, flagged: Flags) -> tuple[float, float]:
        """(share of benign texts, share of attacks) that is flagged."""
        return float(flagged[~self.attack].mean()), float(flagged[self.attack].mean())


def thresholds(score: NDArray[np.float64], labelled: Labelled, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Per share and text: the score above which that share of the benign texts of the other sources lies."""
    limits = np.full((len(shares), len(score)), np.inf)
    for source in np.unique(labelled.source):
        here = labelled.source == source
        others = score[~here & ~labelled.attack]
        if len(others):
            limits[:, here] = np.quantile(others, 1.0 - shares)[:, None]
    return limits


def operating_points(score: NDArray[np.float64], labelled: Labelled) -> list[tuple[float, float]]:
    """(realised false positives, recall) of every way to choose the thresholds out of fold, in order.

    Beyond the highest score of a benign text of the other sources, a threshold lies above it by the same everywhere.
    """
    limits = thresholds(score, labelled, RATES)
    above = score - limits[0]
    beyond = np.unique(above[~labelled.attack & (above > 0)])
    flagged = [*(score > limit for limit in limits), *(above > step for step in beyond)]
    return sorted({labelled.rates(flags) for flags in flagged} | {(0.0, 0.0)})


def recall_at(points: Sequence[tuple[float, float]], rate: float, *, between: bool = False) -> float:
    """The best recall at ``rate`` false positives or fewer.

    ``between`` gives the benefit of the doubt: what tossing a coin between two reachable points would reach.
    """
    reached = max(recall for share, recall in points if share <= rate)
    if not between:
        return reached
    shares, recalls = np.array(points).T
    return max(reached, float(np.interp(rate, shares, np.maximum.accumulate(recalls))))


def detector_line(name: str, theirs: Scores, ours: NDArray[np.float64], labelled: Labelled) -> dict[str, Any]:
    """What one detector reaches, and what the filter reaches on the texts that it answered."""
    answered = theirs.answered
    some, score, mine = labelled.some(answered), theirs.score[answered], ours[answered]
    line: dict[str, Any] = {"detector": name, "texts": int(answered.sum()), "unanswered": int((~answered).sum())}
    if len(set(some.attack.tolist())) < 2 or len(set(some.source.tolist())) < 2:
        return line
    from sklearn.metrics import roc_auc_score

    own_fpr, own_recall = own = some.rates(theirs.flag[answered])
    line |= {"auc": float(cast("Any", roc_auc_score(some.attack, score))), "own_fpr": own_fpr, "own_recall": own_recall}
    line["ours_at_own_fpr"] = recall_at(operating_points(mine, some), own_fpr)
    # With one threshold for all sources, taken from the very texts that are measured: a ranking, at exactly that rate.
    line["ours_at_own_fpr_ranked"] = recall_at([some.rates(mine > limit) for limit in _limits(mine, some)], own_fpr)
    points = sorted([*operating_points(score, some), own, (1.0, 1.0)])
    for percent in (1, 5):
        fpr, recall = some.rates(mine > thresholds(mine, some, np.array([percent / 100]))[0])
        line[f"fpr_at_{percent}fpr"], line[f"ours_at_{percent}fpr"] = fpr, recall
        line[f"recall_at_{percent}fpr"] = recall_at(points, fpr, between=True)
    line |= {"ms": float(theirs.ms[answered].mean()), "ms_p95": float(np.quantile(theirs.ms[answered], 0.95))}
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in line.items()}


def _limits(score: NDArray[np.float64], labelled: Labelled) -> NDArray[np.float64]:
    """Every benign text's score, highest first, as far as a quarter of them: single thresholds."""
    benign = np.sort(score[~labelled.attack])[::-1]
    return benign[: len(benign) // 4 + 1]


def margin(lines: Sequence[Mapping[str, Any]], at: Sequence[str]) -> float | None:
    """By how much the filter is ahead in recall where it is least, at the rates named; None when nothing is compared.

    ``at``: ``own_fpr`` (of the other detector), ``1fpr`` and ``5fpr`` (what the filter realises at nominal 1% and 5%).
    """
    names = {rate: f"recall_at_{rate}" for rate in at} | ({"own_fpr": "own_recall"} if "own_fpr" in at else {})
    ahead = [line[f"ours_at_{rate}"] - line[name] for line in lines for rate, name in names.items() if name in line]
    return min(ahead) if ahead else None


def ask_peers(peers: Sequence[Peer], rows: Sequence[Row], folder: Path) -> tuple[dict[str, Scores], dict[str, str]]:
    """What each peer says about the rows, and why a peer could not be asked."""
    found: dict[str, Scores] = {}
    reasons: dict[str, str] = {}
    texts = [row.text for row in rows]
    for peer in (peer for peer in peers if not peer.union_of):
        files = folder / peer.files
        if peer.files and not files.is_dir():
            reasons[peer.name] = f"what it needs is in no package: lay it into {files}"
            continue
        try:
            found[peer.name] = asyncio.run(_ask(peer, texts, folder))
        except ConfigError as error:
            reasons[peer.name] = error.message
    for peer in (peer for peer in peers if peer.union_of):
        missing = [name for name in peer.union_of if name not in found]
        if missing:
            reasons[peer.name] = f"{missing[0]} was not asked"
        else:
            found[peer.name] = _union([found[name] for name in peer.union_of])
    return found, reasons


async def _ask(peer: Peer, texts: Sequence[str], folder: Path) -> Scores:
    python = await environment(place_of("\n".join(sorted(peer.packages)), folder), peer.packages)
    return await scores_of(adapter_command(python, peer.adapter, folder / peer.files), texts)


def _union(parts: Sequence[Scores]) -> Scores:
    answered = np.all([part.answered for part in parts], axis=0)
    count = np.sum([part.flag for part in parts], axis=0).astype(np.float64)
    return Scores(np.where(answered, count, np.nan), count > 0, np.sum([part.ms for part in parts], axis=0))
