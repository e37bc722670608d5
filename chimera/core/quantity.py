"""How often something is asked for: the words that give a number, and those that mean everything of a kind."""

from collections.abc import Iterable

from chimera.core.contracts import LIMIT_MAX

MANY = LIMIT_MAX
"""How often where everything of a kind is meant."""
SEVERAL = 5
"""How often where the plural is used."""
_NUMBERS = {
    word: number
    for number, word in enumerate(["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"], 2)
}
_QUANTIFIERS = frozenset(
    ["all", "every", "each", "everyone", "everybody", "any", "several", "multiple", "respectively"]
)


def how_often(words: Iterable[str]) -> int:
    """What words (in lower case) say of how often: a number, everything of a kind, else once.

    Figures do not count: they are amounts, days and ids more often than numbers of times.
    """
    said = list(words)
    if not _QUANTIFIERS.isdisjoint(said):
        return MANY
    return next((_NUMBERS[word] for word in said if word in _NUMBERS), 1)
