"""``python -m chimera.evals.injection.train --data DIR``: make the weights that ship. Same data, same bytes."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chimera.evals.injection.data import Row, load_corpus, load_rows
from chimera.evals.injection.fit import train
from chimera.evals.injection.loso import calibrated, labels_of, leave_one_source_out
from chimera.evals.injection.matrix import make_windows
from chimera.evals.injection.trained_on import PATH, marks_of
from chimera.guards.injection import classifier
from chimera.guards.injection.classifier import Weights


def train_weights(rows: Sequence[Row]) -> Weights:
    """The model of all rows, calibrated by leave-one-source-out on the same rows.

    Raises:
        InputError: there are not two sources, or one label is missing.
    """
    corpus = load_corpus(rows)
    found = leave_one_source_out(corpus)
    everything = np.ones(len(corpus.rows), dtype=bool)
    weights = train(make_windows(corpus), labels_of(corpus, sorted(found.models)), everything)
    return calibrated(weights, found)


def main() -> None:
    """Train and write the file."""
    parser = argparse.ArgumentParser(prog="python -m chimera.evals.injection.train", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with dev.jsonl")
    parser.add_argument("--out", type=Path, default=Path(classifier.__file__).with_name("weights.npz"))
    parser.add_argument("--marks", type=Path, default=PATH, help="file that tells which texts were trained on")
    given = parser.parse_args()
    rows = load_rows(given.data)
    packed = train_weights(rows).packed()
    given.out.write_bytes(packed)
    given.marks.write_bytes(marks_of(row.digest for row in rows))
    sys.stdout.write(f"{given.out}: {len(packed)} bytes\n")


if __name__ == "__main__":
    main()
