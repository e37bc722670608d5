"""The features of a corpus as one sparse matrix: a row for each window, a column for each feature."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from chimera.evals.injection.data import Corpus
from chimera.guards.injection.classifier import CUE_MOST, RULE_MOST, stretches
from chimera.guards.injection.features import CHAR_BITS, CHAR_SIZES, WORD_BITS, WORD_SIZES, Features, cue_count
from chimera.guards.injection.rules import load_rules

MOST_WINDOWS = 14
"""Windows of one view that training looks at, spread over it; scoring looks at all."""

CUE_SCALE = 0.3
"""Cues are many and seldom: small values keep each of them from saying much."""


@dataclass(frozen=True)
class Block:
    """The columns of one group of features."""

    name: str
    first: int
    size: int


@dataclass(frozen=True)
class Windows:
    """The matrix (scipy CSR), the document of each of its rows, and the groups of its columns, rules first."""

    matrix: Any
    document: NDArray[np.int64]
    blocks: Sequence[Block]


def make_windows(corpus: Corpus) -> Windows:
    """Every window of every text, in all its views."""
    pieces = [(at, piece) for at, found in enumerate(corpus.features) for piece in found]
    places = [_spread([(start, end) for _, start, end in stretches(piece)]) for _, piece in pieces]
    document = np.concatenate([np.full(len(some), at) for (at, _), some in zip(pieces, places, strict=True)])
    rule_weights = np.array([rule.weight for rule in load_rules()])
    groups: list[tuple[str, int, Callable[[Features], Any], Callable[[Any, Any, int], Any]]] = [
        ("rules", len(rule_weights), lambda f: f.rules, lambda u, c, _: rule_weights[u] * _root(c, RULE_MOST)),
        ("cues", cue_count(), lambda f: f.cues, lambda _, c, __: CUE_SCALE * _root(c, CUE_MOST)),
    ]
    for at, size in enumerate(CHAR_SIZES):
        groups.append((f"char{size}", 1 << CHAR_BITS, lambda f, at=at: f.chars[at], _share))
    for at, size in enumerate(WORD_SIZES):
        groups.append((f"word{size}", 1 << WORD_BITS, lambda f, at=at: f.words[at], _share))
    matrices: list[Any] = []
    blocks: list[Block] = []
    first = 0
    for name, size, get, value in groups:
        matrices.append(_group(pieces, places, size, get, value))
        blocks.append(Block(name, first, size))
        first += size
    return Windows(sparse.hstack(matrices).tocsr(), document, blocks)


def _spread(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    if len(places) <= MOST_WINDOWS:
        return places
    return [places[round(at)] for at in np.linspace(0, len(places) - 1, MOST_WINDOWS)]


def _root(counts: Any, most: int) -> Any:
    return np.sqrt(np.minimum(counts, most))


def _share(_: Any, counts: Any, total: int) -> Any:
    return counts / np.sqrt(total)


def _group(
    pieces: Sequence[tuple[int, Features]],
    places: Sequence[Sequence[tuple[int, int]]],
    size: int,
    get: Callable[[Features], Any],
    value: Callable[[Any, Any, int], Any],
) -> Any:
    ends, columns, values = [0], [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for (_, piece), some in zip(pieces, places, strict=True):
        index, place = get(piece)
        low, high = (np.searchsorted(place, np.array(some)[:, side]) for side in (0, 1))
        for start, end in zip(low, high, strict=True):
            kinds, counts = np.unique(index[start:end], return_counts=True)
            columns.append(kinds)
            values.append(value(kinds, counts, int(end - start)))
            ends.append(ends[-1] + len(kinds))
    data = (np.concatenate(values).astype(np.float32), np.concatenate(columns), np.array(ends))
    return sparse.csr_matrix(data, shape=(len(ends) - 1, size))
