"""From what humans decided to a model and two certified bands, or to the reason why there is none.

The labels of some missions teach the model, and others test it: a model that was tested on what it learnt would be told
what it wants to hear. Where only one feature is known at all, the order of the items is that of the feature
whatever the model learns, so nothing has to be kept back.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chimera.review.calibration.bounds import Floats
from chimera.review.calibration.certify import ALPHA, Found, Labels, certify
from chimera.review.calibration.features import NAMES, Features
from chimera.review.calibration.model import Model, fit

TEACHING = 0.2
TEACHING_LEAST = 40
"""Labels that teach, at least."""


@dataclass(frozen=True)
class Labelled:
    """One judged result that a human decided about. ``propensity``: the chance that he was shown it."""

    id: str
    mission: str
    features: Features
    ok: bool
    propensity: float = 1.0


@dataclass(frozen=True)
class Learnt:
    """A model, what it says about the labels that test it, and both bands."""

    model: Model
    tested: list[Labelled]
    probabilities: Floats
    approve: Found
    reject: Found


def learn(labelled: Sequence[Labelled], alpha: float = ALPHA, alpha_reject: float | None = None) -> Learnt:
    """Teach and test. ``alpha_reject``: the share of what is sent back that may have been right; else ``alpha``."""
    fair = thinned(labelled)
    ordered = _one_feature(fair)
    teaching, tested = (fair, fair) if ordered else _split(fair)
    model = fit([one.features for one in teaching], np.array([one.ok for one in teaching], dtype=np.bool_))
    probable, traffic = (model.probabilities([one.features for one in some]) for some in (tested, teaching))
    ok = np.array([one.ok for one in tested], dtype=np.bool_)
    missions = [one.mission for one in tested]
    if ordered and len(fair) and model.weights[NAMES.index(ordered)] <= 0:
        none = Found(None, 0, 0, 1.0, 0.0, f"{ordered} says nothing, or the opposite of what humans say")
        return Learnt(model, tested, probable, none, none)
    approve = certify(Labels(probable, ~ok, missions), traffic, alpha)
    reject = certify(Labels(1 - probable, ok, missions), 1 - traffic, alpha_reject or alpha)
    return Learnt(model, tested, probable, approve, reject)


def thinned(labelled: Sequence[Labelled]) -> list[Labelled]:
    """As if every item had had the same chance to be seen: those that were surely seen are thinned by lot.

    Without this, what humans see only in samples would count for less than it is of the traffic.
    """
    rarest = min((one.propensity for one in labelled), default=1.0)
    return [one for one in labelled if lot(one.id, "thinned") < rarest / one.propensity]


def lot(*parts: str) -> float:
    """A number from 0 up to 1 that always belongs to these parts, and has nothing to do with what they are about."""
    return int.from_bytes(hashlib.sha256("\x1f".join(parts).encode()).digest()[:7], "big") / 2**56


def _one_feature(labelled: Sequence[Labelled]) -> str:
    """The one feature that is always known, if all others are always missing or always the same; else nothing."""
    columns = {name: {getattr(one.features, name) for one in labelled} for name in NAMES}
    moving = [name for name, values in columns.items() if len(values) > 1]
    return moving[0] if len(moving) == 1 and None not in columns[moving[0]] else ""


def _split(labelled: Sequence[Labelled]) -> tuple[list[Labelled], list[Labelled]]:
    """Whole missions to teach, and the others to test."""
    wanted = max(TEACHING_LEAST, round(TEACHING * len(labelled)))
    teaching: set[str] = set()
    count = 0
    sizes: dict[str, int] = {}
    for one in labelled:
        sizes[one.mission] = sizes.get(one.mission, 0) + 1
    for mission in sorted(sizes, key=lambda name: lot(name, "teaching")):
        if count >= wanted:
            break
        teaching.add(mission)
        count += sizes[mission]
    return (
        [one for one in labelled if one.mission in teaching],
        [one for one in labelled if one.mission not in teaching],
    )
