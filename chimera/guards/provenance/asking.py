"""The user's request as the guard reads it: what it names, in whole tokens, and nothing that a tool said."""

import re
from functools import cached_property

from chimera.core.lexical import stems
from chimera.guards.provenance.dates import Day, days_in, leaves_days_open
from chimera.guards.provenance.tokens import Reference, references, same, stands_in, unhidden

_NUMBER = re.compile(r"(?<![\w.])\d{1,15}(?:,\d{3}){0,5}(?:\.\d{1,10})?(?![\w])")
_NAME = re.compile(r"(?<![\w'’.@/-])[A-Z][\w'’-]{1,60}")
_ALL = frozenset({"all", "every", "each", "everyone", "everybody", "both", "any", "several", "multiple"})
_MOST = {
    "largest": 1, "biggest": 1, "highest": 1, "most": 1, "longest": 1, "latest": 2, "newest": 2, "last": 2, "recent": 2,
    "smallest": -1, "lowest": -1, "least": -1, "fewest": -1, "cheapest": -1, "shortest": -1, "earliest": -2,
    "first": -2, "oldest": -2, "next": -2,
}  # fmt: skip
LENGTH_MAX = 20_000
_GLUED = re.compile(r"(?<=[a-z0-9)])\.(?=[A-Z][a-z]+[\s,])")


def readable(text: str) -> str:
    """A request as both the planner and the guard read it: bounded, nothing hidden, sentences apart."""
    return _GLUED.sub(". ", unhidden(text[:LENGTH_MAX]))


class Asking:
    """One request. Only its first 20,000 characters count; the rest names nothing."""

    def __init__(self, text: str) -> None:
        self.text = readable(text)
        self._plain = same(self.text)

    def names(self, value: object) -> bool:
        """Whether a value stands in the request as a whole token; numbers by their amount."""
        if isinstance(value, bool) or value is None:
            return False
        if isinstance(value, int | float):
            return float(value) in self.numbers
        form = same(value)
        if not form:
            return False
        return stands_in(form, self._plain) or (_number(form) in self.numbers if form[0].isdigit() else False)

    @cached_property
    def words(self) -> frozenset[str]:
        """The stems of everything said."""
        return frozenset(stems(self.text))

    @cached_property
    def plain_words(self) -> frozenset[str]:
        """Everything said, in lower case, as it was said."""
        return frozenset(re.findall(r"[^\W_]+", self.text.lower()))

    @cached_property
    def numbers(self) -> frozenset[float]:
        """The amounts named."""
        return frozenset(float(found.replace(",", "")) for found in _NUMBER.findall(self.text))

    @cached_property
    def days(self) -> frozenset[Day]:
        """The days named in full."""
        return frozenset(days_in(self.text))

    @cached_property
    def leaves_days_open(self) -> bool:
        """Whether some day has to be worked out."""
        return leaves_days_open(self.text)

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        """Links, e-mail addresses and accounts that the user wrote himself."""
        return tuple(references(self.text))

    def gives(self, kind: str) -> bool:
        """Whether the user wrote a link, an address or an account himself."""
        return any(found.kind == kind for found in self.references)

    @cached_property
    def proper_names(self) -> tuple[str, ...]:
        """Capitalised words that do not open a sentence."""
        found: list[str] = []
        for match in _NAME.finditer(self.text):
            before = self.text[: match.start()].rstrip(" \"'(")
            if before and before[-1] not in ".!?:\n" and match.group() not in ("I", "I'm", "I've", "I'd"):
                found.append(match.group())
        return tuple(dict.fromkeys(found))

    @cached_property
    def means_many(self) -> bool:
        """Whether everything of a kind is meant."""
        return not _ALL.isdisjoint(self.plain_words)

    @cached_property
    def extremes(self) -> frozenset[int]:
        """Which ends of an order are meant: 1 and -1 the largest and smallest amount, 2 and -2 the last and first."""
        return frozenset(_MOST[word] for word in self.plain_words & _MOST.keys())


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None
