"""nDCG at 10 and recall at 5 of a ranking, with relevance that is yes or no."""

import math
from collections.abc import Collection, Sequence

DEPTH = 10
RECALL_DEPTH = 5


def ndcg10(ranked: Sequence[int], relevant: Collection[int]) -> float:
    """The gain of the first ten, discounted by place, as a share of the best possible one."""
    gain = sum(1 / math.log2(place + 2) for place, found in enumerate(ranked[:DEPTH]) if found in relevant)
    return gain / sum(1 / math.log2(place + 2) for place in range(min(DEPTH, len(relevant))))


def recall5(ranked: Sequence[int], relevant: Collection[int]) -> float:
    """The share of what is relevant among the first five."""
    return len(set(ranked[:RECALL_DEPTH]) & set(relevant)) / len(relevant)
