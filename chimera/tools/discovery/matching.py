"""How well every document answers a request: BM25, and a comparison as vectors of rare words and pairs of words.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009).
"""

from dataclasses import dataclass

import numpy as np

from chimera.tools.discovery.query import Query
from chimera.tools.discovery.segment import Segment
from chimera.tools.discovery.shelf import Shelf
from chimera.tools.discovery.terms import Flags, Floats

K1 = 1.5
B = 0.75
LENGTH_POWER = 0.8
"""How much a long document is marked down in the comparison as vectors; 1 would be the cosine."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of all documents of all segments; rows are the parts of the request, the whole of it first."""

    bm25: Floats
    telling: Floats
    """BM25 in which what every request says counts little."""
    vector: Floats
    alive: Flags


def match(shelf: Shelf, query: Query) -> Scores:
    """Score every document."""
    segments = shelf.segments()
    found = [_match(shelf, segment, norms, query) for segment, norms in zip(segments, shelf.norms(), strict=True)]
    bm25, telling, vector = (np.concatenate([one[at] for one in found], axis=1) for at in range(3))
    alive = np.concatenate([segment.alive for segment in segments])
    return Scores(bm25=bm25 * alive, telling=telling * alive, vector=vector * alive, alive=alive)


def _match(shelf: Shelf, segment: Segment, norms: Floats, query: Query) -> tuple[Floats, Floats, Floats]:
    probabilistic, spatial = shelf.idf()
    size = len(segment.entries)
    bm25, telling, vector = (np.zeros((len(query.parts), size), dtype=np.float32) for _ in range(3))
    saturation = K1 * (1 - B + B * segment.lengths / shelf.mean_length())
    for at, term in enumerate(query.ids):
        if term < 0:
            continue
        slots, tf = segment.postings(term)
        if not len(slots):
            continue
        rows = np.flatnonzero(query.within[:, at])
        spread = np.log1p(tf) * (spatial[term] ** 2 * query.repeated[at])
        gain = tf * (K1 + 1) / (tf + saturation[slots]) * probabilistic[term] if query.single[at] else None
        for row in rows:
            vector[row, slots] += spread
            if gain is not None:
                bm25[row, slots] += gain
                telling[row, slots] += gain * query.telling[at]
    return bm25, telling, vector / norms**LENGTH_POWER
