"""The words of all documents by number, and in how many documents each is."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer[Any]]
Places = NDArray[np.intp]
Flags = NDArray[np.bool_]
Floats = NDArray[np.floating[Any]]


class Terms:
    """Numbers for stems and pairs of stems. A number is never used for another one."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._texts: list[str] = []
        self._df = np.zeros(1024, dtype=np.int32)
        self._pair = np.zeros(1024, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._ids)

    def number(self, term: str) -> int | None:
        """The number of a term that some document has, or had."""
        return self._ids.get(term)

    def add(self, term: str) -> int:
        """The number of a term, a new one if need be."""
        found = self._ids.get(term)
        if found is None:
            found = self._ids[term] = len(self._ids)
            self._texts.append(term)
            if found >= len(self._df):
                self._df = np.concatenate([self._df, np.zeros_like(self._df)])
                self._pair = np.concatenate([self._pair, np.zeros_like(self._pair)])
            self._pair[found] = " " in term
        return found

    def text(self, number: int) -> str:
        """The term of a number."""
        return self._texts[number]

    def count(self, ids: Ints, step: int) -> None:
        """Tell that a document with these terms, each once, came (1) or went (-1)."""
        self._df[ids] += step

    def df(self) -> Ints:
        """In how many documents each term is, by number."""
        return self._df[: len(self._ids)]

    def is_pair(self) -> Flags:
        """Which terms are pairs of stems, by number."""
        return self._pair[: len(self._ids)]
