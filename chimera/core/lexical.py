"""Matching words without a model: tokens, stems and BM25.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009); Snowball stemmer.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import cast

import snowballstemmer

_WORD = re.compile(r"[^\W_]+", re.UNICODE)
POSSESSIVE = re.compile(r"(?<=\w)['’]s\b")
_HUMPS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# Function words only: which words carry meaning is the collection's business, by their rarity.
FUNCTION_WORDS = frozenset(
    """
    a an and are as at be been but by can could did do does for from had has have how i if in into is it its me my
    of on or our out please should so than that the their them then there these they this to up us was we were
    what when where which who will with would you your
    """.split()  # noqa: SIM905 - readable as prose, unreadable one a line
)
_stemmer = snowballstemmer.stemmer("english")


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """The stem of an English word in lower case."""
    return cast("str", _stemmer.stemWord(word))


def stems(text: str) -> list[str]:
    """The stems of the words that carry meaning, in order; ``snake_case`` and ``camelCase`` are taken apart."""
    words = (word.lower() for word in _WORD.findall(_HUMPS.sub(" ", POSSESSIVE.sub("", text))))
    return [stem(word) for word in words if word not in FUNCTION_WORDS]


class Bm25:
    """BM25 over documents given as weighted fields (BM25F with one length normalisation)."""

    def __init__(self, documents: Sequence[Iterable[tuple[str, float]]], *, k1: float = 1.2, b: float = 0.6) -> None:
        """``documents``: for each, its fields as (text, weight)."""
        self._k1, self._b = k1, b
        self._weights: list[dict[str, float]] = []
        for fields in documents:
            counts: Counter[str] = Counter()
            for text, weight in fields:
                for stem in stems(text):
                    counts[stem] += weight  # pyright: ignore[reportArgumentType] - Counter adds floats as well
            self._weights.append(dict(counts))
        self._lengths = [sum(weights.values()) for weights in self._weights]
        self._mean = sum(self._lengths) / len(self._lengths) if self._lengths else 1.0
        seen: Counter[str] = Counter(stem for weights in self._weights for stem in weights)
        total = len(self._weights)
        self._idf = {stem: math.log(1 + (total - n + 0.5) / (n + 0.5)) for stem, n in seen.items()}
        self._unseen = math.log(1 + (total + 0.5) / 0.5)

    def idf(self, stem: str) -> float:
        """How rare a stem is; one that no document has is the rarest."""
        return self._idf.get(stem, self._unseen)

    def score(self, query: Iterable[str], place: int) -> float:
        """How well document number ``place`` answers the stems of ``query``."""
        weights = self._weights[place]
        norm = self._k1 * (1 - self._b + self._b * self._lengths[place] / (self._mean or 1.0))
        return sum(
            self.idf(stem) * weights[stem] * (self._k1 + 1) / (weights[stem] + norm)
            for stem in dict.fromkeys(query)
            if stem in weights
        )

    def coverage(self, query: Iterable[str], place: int) -> float:
        """The share of the query's meaning, weighted by rarity, that document ``place`` mentions; 0 to 1."""
        wanted = dict.fromkeys(query)
        whole = sum(self.idf(stem) for stem in wanted)
        found = sum(self.idf(stem) for stem in wanted if stem in self._weights[place])
        return found / whole if whole else 0.0

    def shared(self, query: Iterable[str], place: int) -> int:
        """How many different stems of the query document number ``place`` mentions."""
        return sum(stem in self._weights[place] for stem in dict.fromkeys(query))

    def ranked(self, query: str) -> list[tuple[int, float]]:
        """All documents that share a stem with the query as (place, score), best first, ties by place."""
        wanted = stems(query)
        scored = ((place, self.score(wanted, place)) for place in range(len(self._weights)))
        return sorted((pair for pair in scored if pair[1] > 0), key=lambda pair: (-pair[1], pair[0]))
