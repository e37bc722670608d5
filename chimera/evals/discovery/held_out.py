"""The rankings that were learnt without one of the sets each, to score that set with."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from chimera.tools.discovery.ranking import Ranking, ranking_of

HELD_OUT = Path(__file__).with_name("held_out.npz")


@lru_cache(maxsize=1)
def held_out_rankings() -> dict[str, Ranking]:
    """By the digest of the set that each never saw."""
    with np.load(HELD_OUT, allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    digests = sorted({name.partition("_")[0] for name in arrays})
    return {digest: ranking_of(arrays, f"{digest}_") for digest in digests}
