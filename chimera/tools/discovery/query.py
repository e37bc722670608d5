"""A request as the index reads it: its terms by number, and which of its clauses has which."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chimera.tools.discovery.clauses import clauses
from chimera.tools.discovery.terms import Floats, Ints, Terms
from chimera.tools.discovery.words import pairs, stems

QUERY_MAX = 4_000
TERMS_MAX = 160


@dataclass(frozen=True, slots=True)
class Query:
    """``parts``: the whole request first, then its clauses if it has several. Rows of ``within`` follow ``parts``."""

    text: str
    parts: list[str]
    ids: Ints
    """Numbers of its terms; -1 for what no document has."""
    single: NDArray[np.bool_]
    repeated: Floats
    """1 + log of how often the request says it."""
    telling: Floats
    """How much a term says about what is wanted, 0 to 1: little for what every request says."""
    within: NDArray[np.bool_]


def read_query(text: str, terms: Terms, common: Mapping[str, float]) -> Query:
    """Read a request; at most ``QUERY_MAX`` characters and ``TERMS_MAX`` terms of it count.

    ``common`` are the stems that requests say whatever they ask for, with what is left of their weight.
    """
    parts = parts_of(text)
    said = [_terms(part) for part in parts]
    order = list(said[0])[:TERMS_MAX]
    numbers = [terms.number(term) for term in order]
    return Query(
        text=parts[0],
        parts=parts,
        ids=np.array([-1 if number is None else number for number in numbers], dtype=np.int32),
        single=np.array([" " not in term for term in order], dtype=np.bool_),
        repeated=np.array([1 + math.log(said[0][term]) for term in order], dtype=np.float32),
        telling=np.array([min(common.get(word, 1.0) for word in term.split(" ")) for term in order], dtype=np.float32),
        within=np.array([[term in counts for term in order] for counts in said], dtype=np.bool_).reshape(len(said), -1),
    )


def parts_of(text: str) -> list[str]:
    """The whole request and, where it has several, its clauses: what a dense model has to see."""
    text = text[:QUERY_MAX]
    cut = clauses(text)
    return [text, *cut] if len(cut) > 1 else [text]


def _terms(text: str) -> Counter[str]:
    words = stems(text)
    return Counter(words + pairs(words))
