"""The trained part: a linear model over hashed features, in windows, with int8 weights and numpy alone to run it."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chimera.guards.injection.features import CHAR_BITS, CHAR_SIZES, WORD_BITS, WORD_SIZES, Features, cue_count
from chimera.guards.injection.rules import load_rules

WINDOW = 384
STRIDE = 192
"""Characters. An injected sentence stands out in a short window and drowns in a long document."""

RULE_MOST, CUE_MOST = 2, 3
"""Repetitions that still count."""

_FILE = "weights.npz"
_GROUPS = (*(f"char{size}" for size in CHAR_SIZES), *(f"word{size}" for size in WORD_SIZES))


@dataclass(frozen=True)
class Weights:
    """A model: ``grams`` by group (int8 with a scale each), ``cues`` (int8 with a scale), ``rules`` (one per rule,
    never negative), ``bias``; ``slope`` and ``offset`` turn a logit into a calibrated risk; ``marks``: the risks at
    which 5%, 1% and 0.2% of benign texts of unseen sources are flagged.
    """

    grams: Mapping[str, NDArray[np.int8]]
    scales: Mapping[str, float]
    cues: NDArray[np.int8]
    rules: NDArray[np.float32]
    bias: float
    slope: float = 1.0
    offset: float = 0.0
    marks: tuple[float, float, float] = (0.5, 0.7, 0.9)

    def packed(self) -> bytes:
        """The file: the same weights give the same bytes."""
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {f"gram_{name}": table for name, table in self.grams.items()}
        numbers = [self.bias, self.slope, self.offset, *self.marks, *(self.scales[name] for name in (*_GROUPS, "cues"))]
        np.savez_compressed(
            buffer, **arrays, cues=self.cues, rules=self.rules, numbers=np.array(numbers, dtype=np.float64)
        )
        return buffer.getvalue()

    @classmethod
    def unpacked(cls, data: bytes) -> "Weights":
        """Read what :meth:`packed` wrote.

        Raises:
            ValueError: it does not fit the rules, cues and table sizes of this version.
        """
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            grams = {name: stored[f"gram_{name}"] for name in _GROUPS}
            cues, rules, numbers = stored["cues"], stored["rules"], [float(number) for number in stored["numbers"]]
        sizes = {name: 1 << (CHAR_BITS if name.startswith("char") else WORD_BITS) for name in _GROUPS}
        if {name: len(table) for name, table in grams.items()} != sizes or len(cues) != cue_count():
            raise ValueError("the weights are of another version; train them again")
        if len(rules) != len(load_rules()):
            raise ValueError("the weights are of another list of rules; train them again")
        return cls(
            grams=grams,
            scales=dict(zip((*_GROUPS, "cues"), numbers[6:], strict=True)),
            cues=cues,
            rules=rules,
            bias=numbers[0],
            slope=numbers[1],
            offset=numbers[2],
            marks=(numbers[3], numbers[4], numbers[5]),
        )

    def risks(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """The calibrated risk, 0..1, of each logit."""
        return 1.0 / (1.0 + np.exp(-np.clip(self.slope * logits + self.offset, -60.0, 60.0)))

    def risk(self, logit: float) -> float:
        """The calibrated risk, 0..1, of one logit."""
        return float(self.risks(np.array([logit]))[0])


@cache
def shipped_weights() -> Weights:
    """The weights in this package."""
    return Weights.unpacked((files(__package__ or __name__) / _FILE).read_bytes())


def windows(length: int) -> list[tuple[int, int]]:
    """The stretches that are scored, each overlapping the next by half; the last one ends where the text does."""
    if length <= WINDOW:
        return [(0, max(length, 1))]
    starts = list(range(0, length - WINDOW, STRIDE))
    return [(start, start + WINDOW) for start in starts] + [(length - WINDOW, length)]


def stretches(found: Features) -> list[tuple[int, int, int]]:
    """The windows of every text of a sheet: (number of the text, start, end), as places of the sheet."""
    return [
        (number, first + start, first + end)
        for number, (first, length) in enumerate(found.texts)
        for start, end in windows(length)
    ]


def logits(found: Features, weights: Weights, some: Sequence[tuple[int, int, int]] = ()) -> NDArray[np.float64]:
    """The logit of each of ``some`` stretches; of ``stretches(found)`` where none are given. Linear in the texts."""
    places = np.array(some or stretches(found), dtype=np.int64)[:, 1:]
    total = np.full(len(places), weights.bias, dtype=np.float64)
    for name, (index, place) in zip(_GROUPS, (*found.chars, *found.words), strict=True):
        if not len(index):
            continue
        sums = np.zeros(len(index) + 1, dtype=np.int32)
        weights.grams[name].take(index).cumsum(out=sums[1:], dtype=np.int32)
        low, high = _bounds(place, places)
        total += weights.scales[name] * (sums[high] - sums[low]) / np.sqrt(np.maximum(high - low, 1))
    total += weights.scales["cues"] * _counted(found.cues, places, weights.cues.astype(np.float64), CUE_MOST)
    return total + _counted(found.rules, places, weights.rules.astype(np.float64), RULE_MOST)


def _counted(
    found: tuple[NDArray[np.int64], NDArray[np.int64]],
    places: NDArray[np.int64],
    weights: NDArray[np.float64],
    most: int,
) -> NDArray[np.float64]:
    """The weighted sum in each window of the root of each count, at most ``most`` times each."""
    index, place = found
    if not len(index):
        return np.zeros(len(places), dtype=np.float64)
    low, high = _bounds(place, places)
    sizes = high - low
    # What stands in each window, one window after the other: it starts at ``low`` and goes up by one.
    window = np.arange(len(places)).repeat(sizes)
    member = np.arange(len(window)) + (low - (sizes.cumsum() - sizes)).repeat(sizes)
    pairs, counts = np.unique(window * len(weights) + index[member], return_counts=True)
    said = weights[pairs % len(weights)] * np.sqrt(np.minimum(counts, most))
    return np.bincount(pairs // len(weights), weights=said, minlength=len(places)).astype(np.float64)


def _bounds(place: NDArray[np.int64], places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return place.searchsorted(places[:, 0]), place.searchsorted(places[:, 1])
