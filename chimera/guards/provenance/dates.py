"""Days that a text names, and whether it leaves a day to be worked out."""

import re
from dataclasses import dataclass

from chimera.guards.provenance.wordset import wordset

_MONTHS = {
    name: number
    for number, names in enumerate(
        [
            "january jan",
            "february feb",
            "march mar",
            "april apr",
            "may",
            "june jun",
            "july jul",
            "august aug",
            "september sep sept",
            "october oct",
            "november nov",
            "december dec",
        ],
        1,
    )
    for name in names.split()
}
_ISO = re.compile(r"(?<!\d)(\d{4})-(\d{1,2})-(\d{1,2})(?!\d)")
_WORD = re.compile(r"[^\W_]+")
_ORDINAL = re.compile(r"(\d{1,2})(?:st|nd|rd|th)?")
_RELATIVE = wordset(
    "today tonight tomorrow yesterday weekend week weeks month months day days now monday tuesday wednesday thursday "
    "friday saturday sunday later next soon"
)


@dataclass(frozen=True, order=True)
class Day:
    """A day; the year is 0 where none was said."""

    year: int
    month: int
    day: int

    def fits(self, other: "Day") -> bool:
        """Whether both may be the same day."""
        same_day = (self.month, self.day) == (other.month, other.day)
        return same_day and (not self.year or not other.year or self.year == other.year)


def days_in(text: str) -> set[Day]:
    """The days named in full: ``2024-05-15``, ``May 15th``, ``15 May 2024``."""
    found = {Day(int(one[1]), int(one[2]), int(one[3])) for one in _ISO.finditer(text)}
    words = [word.lower() for word in _WORD.findall(text)]
    for place, word in enumerate(words):
        month = _MONTHS.get(word)
        if month is None:
            continue
        around = [words[place - 1] if place else "", *words[place + 1 : place + 3]]
        if around[0] == "of" and place > 1:
            around[0] = words[place - 2]
        for near in (0, 1):
            number = _ORDINAL.fullmatch(around[near]) if near < len(around) else None
            if number and 1 <= int(number[1]) <= 31:
                found.add(Day(_year(words, place), month, int(number[1])))
    return found


def leaves_days_open(text: str) -> bool:
    """Whether a day is said in relation to another, so that it has to be worked out."""
    return any(word.lower() in _RELATIVE for word in _WORD.findall(text))


def _year(words: list[str], place: int) -> int:
    for word in words[place + 1 : place + 3]:
        if len(word) == 4 and word.isdigit():
            return int(word)
    return 0
