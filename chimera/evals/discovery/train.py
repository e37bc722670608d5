"""``python -m chimera.evals.discovery.train``: make the weights that ship, and those that never saw one of the sets.

Needs the extras ``evals`` and ``search``. Same data and same packages, same weights.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chimera.evals.discovery.data import load_sets
from chimera.evals.discovery.held_out import HELD_OUT
from chimera.evals.discovery.learning import encoded, learn
from chimera.tools.discovery.local_model import LocalEmbeddings
from chimera.tools.discovery.ranking import WEIGHTS

REQUESTS_MAX = 200
"""Of one set; so that a large one teaches no more than the others, in minutes."""


def main() -> None:
    """Learn from all sets, and from all but one, for each; write both files."""
    parser = argparse.ArgumentParser(prog="python -m chimera.evals.discovery.train", description=__doc__)
    parser.add_argument(
        "--data", type=Path, action="append", default=[], help="folder of a set; default: all there are"
    )
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--held-out", type=Path, default=HELD_OUT)
    given = parser.parse_args()
    sets = load_sets(given.data, quick=False, most=REQUESTS_MAX)
    encoder = LocalEmbeddings()
    vectors = [encoded(data, encoder) for data in sets]
    sys.stdout.write(f"{sum(len(data.queries) for data in sets)} requests of {len(sets)} sets read\n")
    _write(given.out, learn(sets, vectors).arrays())
    held_out: dict[str, Any] = {}
    for left_out in sets:
        others = [at for at, data in enumerate(sets) if data is not left_out]
        ranking = learn([sets[at] for at in others], [vectors[at] for at in others])
        held_out |= ranking.arrays(f"{left_out.digest}_")
        sys.stdout.write(f"learnt without {left_out.name}\n")
    _write(given.held_out, held_out)


def _write(file: Path, arrays: Mapping[str, Any]) -> None:
    np.savez_compressed(file, **arrays)
    sys.stdout.write(f"{file}: {file.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
