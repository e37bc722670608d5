"""Numbers in texts: which ones a text says, and whether tool results hold them, exactly or rounded."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, cast

from chimera.core.contracts import Evidence

PLACES_MAX = 6
OWNERS_MAX = 20
# A day and a time of day are one thing each. A digit that follows a letter is part of a name (v2, GPT-4), and so is a
# number in front of a longer word; a unit (7d, 3x, 40%) is not.
_FIGURE = re.compile(
    r"(?<![A-Za-z_\d])(?<![A-Za-z_]-)(?<!\d[.,])"
    r"(?:(?P<stamp>\d{4}-\d\d-\d\d|\d{1,2}:\d\d(?::\d\d)?)(?![\d:])"
    r"|(?P<number>\d+(?:[.,]\d+)*(?:[eE][+-]?\d+)?)(?P<scale>(?:k|K|M|bn|B|\s(?:thousand|million|billion))(?![A-Za-z_\d]))?"
    r"(?=[A-Za-z%]{0,6}(?![A-Za-z_\d])))"
)
_STAMP_JOINT = re.compile(r"(?<=\d)T(?=\d\d:)")
_SCALES = {"k": 1e3, "K": 1e3, "thousand": 1e3, "M": 1e6, "million": 1e6, "bn": 1e9, "B": 1e9, "billion": 1e9}
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")


class Figure:
    """A number as a text says it."""

    def __init__(self, found: "re.Match[str]") -> None:
        self.said = found[0].strip()
        self.scale = _SCALES.get((found["scale"] or "").strip(), 1.0)
        self.number = found["number"] or ""

    def readings(self) -> Iterator[tuple[float, int]]:
        """What it may mean, with its decimal places: a comma groups thousands or, in some languages, is the point."""
        texts = [self.number] if "," not in self.number else []
        if _GROUPED.fullmatch(self.number):
            texts.append(self.number.replace(",", ""))
        if self.number.count(",") == 1 and "." not in self.number:
            texts.append(self.number.replace(",", "."))
        for text in texts:
            value = _finite(text)
            if value is not None:
                places = PLACES_MAX if "e" in text.lower() else len(text.partition(".")[2])
                yield value, min(places, PLACES_MAX)


def figures(text: str) -> Iterator[Figure]:
    """The numbers, days and times of day in a text, in order."""
    return map(Figure, _FIGURE.finditer(_STAMP_JOINT.sub(" ", text)))


class Known:
    """The numbers of some texts."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._values: set[float] = set()
        self._rounded: dict[tuple[float, int], set[float]] = {}

    def add(self, text: str) -> None:
        """Take in the numbers of a text."""
        for figure in figures(text):
            if figure.said not in self._said:
                self._said |= {figure.said, figure.said[:-3]} if figure.said.count(":") == 2 else {figure.said}
                self._values.update(value * figure.scale for value, _ in figure.readings())
        self._rounded.clear()

    def holds(self, figure: Figure) -> bool:
        """Whether a number is among these, as it is said or as one of them rounded."""
        return figure.said in self._said or any(
            value in self._at(figure.scale, places) for value, places in figure.readings()
        )

    def _at(self, scale: float, places: int) -> set[float]:
        if (scale, places) not in self._rounded:
            scaled = [value / scale for value in self._values]
            # Half up as people round, and half to even as programs do.
            up = {float(int(value * 10**places + 0.5)) / 10**places for value in scaled if value < 1e15}
            self._rounded[scale, places] = up | {round(value, places) for value in scaled}
        return self._rounded[scale, places]


class Holdings:
    """Which evidence holds which numbers.

    The text of a piece of evidence, and a record of a tool result that names its evidence, hold their numbers for
    claims that cite that evidence; whatever else the tools gave holds them for every claim.
    """

    def __init__(self, evidence: Iterable[Evidence], facts: Iterable[str]) -> None:
        self._common = Known()
        self._of: dict[str, Known] = defaultdict(Known)
        for item in evidence:
            self._of[item.id].add(item.text)
        for fact in facts:
            data = _json(fact)
            if data is None:
                self._common.add(fact)
            else:
                self._take(data, self._of.keys() | _pieces(data))

    def lacks(self, text: str, cites: Iterable[str]) -> Iterator[str]:
        """The numbers of a claim that neither its evidence nor anything common holds, as they are said."""
        holders = [self._common, *(self._of[cite] for cite in cites if cite in self._of)]
        return (figure.said for figure in figures(text) if not any(holder.holds(figure) for holder in holders))

    def _take(self, data: Any, ids: Set[str]) -> None:
        waiting: list[tuple[Any, Sequence[str]]] = [(data, ())]
        while waiting:
            part, owners = waiting.pop()
            if isinstance(part, Mapping):
                record = cast("Mapping[str, Any]", part)
                own = [cite for cite in _about(record) if cite in ids][:OWNERS_MAX] or owners
                waiting += [(value, own) for key, value in record.items() if key != "sha256"]
            elif isinstance(part, list):
                waiting += [(item, owners) for item in cast("list[Any]", part)]
            elif isinstance(part, str | int | float) and not isinstance(part, bool):
                for known in [self._of[owner] for owner in owners] or [self._common]:
                    known.add(str(part))


def _about(record: Mapping[str, Any]) -> list[str]:
    """The evidence that a record is about: what it names under ``evidence``, or itself when it is a piece of it."""
    named = record.get("evidence")
    if isinstance(named, list):
        return [cite for cite in cast("list[Any]", named) if isinstance(cite, str)]
    own = record.get("id")
    return [own] if isinstance(own, str) and isinstance(record.get("text"), str) else []


def _pieces(data: Any) -> set[str]:
    """The ids of the evidence that a tool result marks as such."""
    listed: Any = cast("Mapping[str, Any]", data).get("evidence") if isinstance(data, Mapping) else None
    items = cast("list[Any]", listed) if isinstance(listed, list) else []
    return {str(cast("Mapping[str, Any]", item).get("id")) for item in items if isinstance(item, Mapping)}


def _json(text: str) -> Any:
    try:
        found = json.loads(text) if text[:1] in "{[" else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except (ValueError, OverflowError):
        return None
    return value if value < 1e300 else None
