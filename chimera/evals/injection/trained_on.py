"""Which texts the shipped weights were trained on: the first bytes of their digests, and nothing else of them."""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path

_BYTES = 5
_FILE = "trained_on.bin"

PATH = Path(__file__).with_name(_FILE)
"""Where the training command writes them."""


def was_trained_on(digest: str) -> bool:
    """Whether the text with this digest (hexadecimal) was in the training data."""
    return digest[: 2 * _BYTES] in _known()


def marks_of(digests: Iterable[str]) -> bytes:
    """The file for a training set: sorted, so that the same texts give the same bytes."""
    return b"".join(sorted(bytes.fromhex(digest[: 2 * _BYTES]) for digest in digests))


@cache
def _known() -> frozenset[str]:
    data = (files(__package__ or __name__) / _FILE).read_bytes()
    return frozenset(data[at : at + _BYTES].hex() for at in range(0, len(data), _BYTES))
