"""A part of the index, compiled: the same counts by document, for a close look, and by term, for search."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chimera.tools.discovery.documents import ToolDocument
from chimera.tools.discovery.puffery import Screen
from chimera.tools.discovery.terms import Floats, Ints, Terms
from chimera.tools.discovery.words import pairs, stems

FIELDS = 4
FIELD_WEIGHTS = np.array([1.0, 2.0, 1.0, 0.5], dtype=np.float32)  # server, tool, description, parameters


@dataclass(frozen=True, slots=True)
class Entry:
    """A document as counts: for each of its terms, by rising number, which fields have it."""

    document: ToolDocument
    terms: Ints
    counts: NDArray[np.uint8]
    sizes: tuple[int, int, int, int]
    """Different stems in each field."""
    vector: Floats | None = None


def entry_of(document: ToolDocument, terms: Terms, vector: Floats | None = None, screen: Screen | None = None) -> Entry:
    """Read the words of a document, but for what ``screen`` finds suspicious."""
    found: dict[int, list[int]] = {}
    sizes: list[int] = []
    for field, text in enumerate(document.fields(screen)):
        words = stems(text)
        sizes.append(len(set(words)))
        for term in dict.fromkeys(
            words + pairs(words)
        ):  # once a field: saying it again gains nothing, and costs no quality
            found.setdefault(terms.add(term), [0] * FIELDS)[field] = 1
    ids = sorted(found)
    return Entry(
        document=document,
        terms=np.array(ids, dtype=np.int32),
        counts=np.array([found[term] for term in ids], dtype=np.uint8).reshape(-1, FIELDS),
        sizes=(sizes[0], sizes[1], sizes[2], sizes[3]),
        vector=vector,
    )


class Segment:
    """Entries compiled into arrays. What is dropped later stays in the arrays and is marked as gone."""

    def __init__(self, entries: Sequence[Entry], terms: Terms) -> None:
        self.entries = list(entries)
        count = len(self.entries)
        self.alive = np.ones(count, dtype=np.bool_)
        lengths = np.array([len(entry.terms) for entry in self.entries], dtype=np.int64)
        self.starts = np.concatenate([[0], np.cumsum(lengths)])
        self.terms = _joined([entry.terms for entry in self.entries], np.empty(0, dtype=np.int32))
        self.counts = _joined([entry.counts for entry in self.entries], np.empty((0, FIELDS), dtype=np.uint8))
        self.owners = np.repeat(np.arange(count, dtype=np.int32), lengths)
        self.weights = self.counts @ FIELD_WEIGHTS
        single = ~terms.is_pair()[self.terms]
        self.lengths = np.bincount(self.owners[single], self.weights[single], minlength=count).astype(np.float32)
        self.vectors = self._vectors()
        order = np.argsort(self.terms, kind="stable")
        self._present, self._at = np.unique(self.terms[order], return_index=True)
        self._at = np.append(self._at, len(order))
        self._slots, self._tf = self.owners[order], self.weights[order]

    def places(self) -> dict[int, tuple["Segment", int]]:
        """Where each entry is that is not gone, by the entry's identity."""
        return {id(entry): (self, at) for at, entry in enumerate(self.entries) if self.alive[at]}

    def postings(self, term: int) -> tuple[Ints, Floats]:
        """The documents that have a term, and its weighted count in each."""
        at = int(np.searchsorted(self._present, term))
        if at == len(self._present) or self._present[at] != term:
            return self._slots[:0], self._tf[:0]
        chosen = slice(int(self._at[at]), int(self._at[at + 1]))
        return self._slots[chosen], self._tf[chosen]

    def norms(self, idf: Floats) -> Floats:
        """The length of each document as a vector of its terms, each by its rarity."""
        squares = np.square(np.log1p(self.weights) * idf[self.terms])
        return np.sqrt(np.bincount(self.owners, squares, minlength=len(self.entries))).astype(np.float32)

    def _vectors(self) -> Floats | None:
        width = next((len(entry.vector) for entry in self.entries if entry.vector is not None), 0)
        if not width:
            return None
        none = np.zeros(width, dtype=np.float32)
        return np.stack([none if entry.vector is None else entry.vector for entry in self.entries])


def _joined(parts: list[NDArray[Any]], empty: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else empty
