"""Text to the stems and pairs of stems that the index holds."""

import re
from itertools import pairwise

from chimera.core.lexical import FUNCTION_WORDS, POSSESSIVE, stem

WORD_MAX = 40  # longer runs of letters are identifiers and encodings, which nobody asks for
_WORD = re.compile(r"[^\W_]+")
_JOINTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])")
# Scripts without spaces between words: their words are pairs of characters.
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


def spaced(name: str) -> str:
    """An identifier as words: ``getHTTPPage_v2`` becomes ``get HTTP Page v 2``."""
    return " ".join(_WORD.findall(_JOINTS.sub(" ", name)))


def stems(text: str) -> list[str]:
    """The stems of the words that carry meaning, in order; ``snake_case`` and ``camelCase`` are taken apart."""
    found: list[str] = []
    for word in _WORD.findall(_JOINTS.sub(" ", POSSESSIVE.sub("", text))):
        word = word.lower()
        if not word.isascii() and _UNSPACED.search(word):
            for run in _UNSPACED.findall(word):
                found += [run[at : at + 2] for at in range(max(1, len(run) - 1))]
            word = _UNSPACED.sub("", word)
        if word and word not in FUNCTION_WORDS and len(word) <= WORD_MAX:
            found.append(stem(word))
    return found


def pairs(words: list[str]) -> list[str]:
    """Neighbouring stems, joined: ``["stock", "price"]`` becomes ``["stock price"]``.

    Of each two, one has to be said for the first time: who only repeats words makes no new pairs.
    """
    said = set(words[:1])
    found: list[str] = []
    for left, right in pairwise(words):
        if right not in said:
            found.append(f"{left} {right}")
        said.add(right)
    return found
