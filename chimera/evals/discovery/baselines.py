"""What discovery is compared with: BM25 over weighted fields with stems, and its mix with a small dense model.

Both as measured elsewhere: the name counts twice, k1 = 1.5, b = 0.75; the mix is .4 BM25 + .6 cosine, each scaled to
0..1 by the request's own least and best. Parameters count half: better than whole on the sets at hand.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from chimera.tools.discovery.documents import ToolDocument
from chimera.tools.discovery.terms import Floats
from chimera.tools.discovery.words import stems

K1, B = 1.5, 0.75
WEIGHTS = (1.0, 2.0, 1.0, 0.5)
LEXICAL_SHARE = 0.4


class FieldedBm25:
    """BM25 over the fields server, name, description and parameters."""

    def __init__(self, documents: Sequence[ToolDocument]) -> None:
        self._size = len(documents)
        found: dict[str, dict[int, float]] = {}
        lengths = np.zeros(len(documents))
        for place, document in enumerate(documents):
            server = "" if document.server == document.tool else document.server
            fields = (server, document.tool, document.description, document.parameters)
            for text, weight in zip(fields, WEIGHTS, strict=True):
                for stem, count in Counter(stems(text)).items():
                    counts = found.setdefault(stem, {})
                    counts[place] = counts.get(place, 0.0) + weight * count
                    lengths[place] += weight * count
        self._norm = K1 * (1 - B + B * lengths / max(float(lengths.mean()), 1e-9))
        self._postings = {
            stem: (np.array(list(counts)), np.array(list(counts.values()))) for stem, counts in found.items()
        }

    def scores(self, query: str) -> Floats:
        """The score of every document."""
        scores = np.zeros(self._size, dtype=np.float32)
        for stem in dict.fromkeys(stems(query)):
            if (found := self._postings.get(stem)) is not None:
                places, tf = found
                idf = np.log1p((self._size - len(places) + 0.5) / (len(places) + 0.5))
                scores[places] += idf * tf * (K1 + 1) / (tf + self._norm[places])
        return scores


def mixed(lexical: Floats, dense: Floats) -> Floats:
    """The convex mix of two kinds of scores for one request."""
    return LEXICAL_SHARE * _scaled(lexical) + (1 - LEXICAL_SHARE) * _scaled(dense)


def _scaled(scores: Floats) -> Floats:
    low, high = float(scores.min()), float(scores.max())
    return (scores - low) / max(high - low, 1e-9)
