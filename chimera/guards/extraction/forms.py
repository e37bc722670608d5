"""The closed types: what may come out of a text that nobody trusts. None of them is free text.

Each form reads what a model says (:meth:`Form.read`) and finds values by rules alone (:meth:`Form.find`). All but a
choice, a yes or no, and a count take only what literally stands in the text, so that nothing can be made up; and none
takes more than a bounded number of characters. A link or an address can still spell words: what may be done with it is
for the flow guard to say.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from stdnum import iban

from chimera.guards.extraction.source import CURRENCIES, Source
from chimera.guards.provenance.dates import Day
from chimera.guards.provenance.tokens import same, stands_in

Value = str | int | float | bool
OPTION_MAX, OPTIONS_MAX = 64, 50
LINK_MAX, ADDRESS_MAX = 300, 254
NUMBER_MAX = 1e15
_AMOUNT = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ([A-Z]{3})")
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:#~/-]{0,63}")
_MEASURED = re.compile(r"[\d.:/-]+(?:st|nd|rd|th)?")
_RUN = re.compile(r"[A-Za-z]{2,}")
_WORDS_IN_NAME = 4


class Form(Protocol):
    """One closed type."""

    @property
    def kind(self) -> str:
        """Its name, as a model and the record are told it."""
        ...

    def told(self) -> dict[str, Any]:
        """What a model is told of it."""
        ...

    def read(self, said: object, source: Source) -> Value | None:
        """The value that a model says; None if it is not of this form, or does not stand in the text."""
        ...

    def find(self, source: Source) -> Iterator[Value]:
        """The values that rules find by themselves."""
        ...


@dataclass(frozen=True)
class Choice:
    """One of the given options. Rules take it only if a single one of them stands in the text."""

    options: tuple[str, ...]
    kind = "choice"

    def told(self) -> dict[str, Any]:  # noqa: D102
        return {"kind": self.kind, "options": list(self.options)}

    def read(self, said: object, source: Source) -> Value | None:  # noqa: D102
        return said if isinstance(said, str) and said in self.options else None

    def find(self, source: Source) -> Iterator[Value]:  # noqa: D102
        named = [option for option in self.options if stands_in(same(option), source.comparable)]
        yield from named if len(named) == 1 else ()


@dataclass(frozen=True)
class YesNo:
    """True or false. Rules find none."""

    kind = "yes_no"

    def told(self) -> dict[str, Any]:  # noqa: D102
        return {"kind": self.kind, "value": "true or false"}

    def read(self, said: object, source: Source) -> Value | None:  # noqa: D102
        return said if isinstance(said, bool) else {"true": True, "false": False}.get(str(said))

    def find(self, source: Source) -> Iterator[Value]:  # noqa: D102
        yield from ()


@dataclass(frozen=True)
class Count:
    """How many there are of something, from 0 to ``most``. Rules find none."""

    most: int = 1_000
    kind = "count"

    def told(self) -> dict[str, Any]:  # noqa: D102
        return {"kind": self.kind, "most": self.most}

    def read(self, said: object, source: Source) -> Value | None:  # noqa: D102
        number = _number(said)
        fits = number is not None and number == int(number) and 0 <= number <= self.most
        return int(number) if number is not None and fits else None

    def find(self, source: Source) -> Iterator[Value]:  # noqa: D102
        yield from ()


@dataclass(frozen=True)
class Number:
    """A number of the text in a range; an integer if ``whole``."""

    least: float = -NUMBER_MAX
    most: float = NUMBER_MAX
    whole: bool = False
    kind = "number"

    def told(self) -> dict[str, Any]:  # noqa: D102
        return {"kind": self.kind, "least": self.least, "most": self.most, "whole": self.whole}

    def read(self, said: object, source: Source) -> Value | None:  # noqa: D102
        number = _number(said)
        return self._taken(number) if number is not None and number in source.numbers else None

    def find(self, source: Source) -> Iterator[Value]:  # noqa: D102
        yield from (value for number in source.numbers if (value := self._taken(number)) is not None)

    def _taken(self, number: Decimal) -> Value | None:
        if not self.least <= number <= self.most or (self.whole and number != int(number)):
            return None
        return int(number) if number == int(number) else float(number)


@dataclass(frozen=True)
class Date:
    """A day that the text names with its year, as ``2026-03-01``."""

    kind = "date"

    def told(self) -> dict[str, Any]:  # noqa: D102
        return {"kind": self.kind, "value": "YYYY-MM-DD"}

    def read(self, said: object, source: Source) -> Value | None:  # noqa: D102
        day = _day(said) if isinstance(said, str) else None
        return day.isoformat() if day and Day(day.year, day.month, day.day) in source.days else None

    def find(self, source: Source) -> Iterator[Value]:  # noqa: D102
        for one in sorted(source.days):
            if day := _day(f"{one.year:04}-{one.month:02}-{one.day:02}"):
                yield day.isoformat()


@dataclass(frozen=True)
class Moment:
    """A day and time of ISO 8601 that stands in the text like this."""

    kind = "moment"

    def told(self) -> dict[str, Any]:  # noqa: D102
        return {"kind": self.kind, "value": "YYYY-MM-DDTHH:MM:SS with its zone, as it is written"}

    def read(self, said: object, source: Source) -> Value | None:  # noqa: D102
        return said if isinstance(said, str) and said in source.moments else None

    def find(self, source: Source) -> Iterator[Value]:  # noqa: D102
        yield from source.moments


@dataclass(frozen=True)
class Amount:
    """An amount of the text with its currency, as ``120.50 EUR``."""

    kind = "amount"

    def told(self) -> dict[str, Any]:  # noqa: D102
        return {"kind": self.kind, "value": "such as 120.50 EUR"}

    def read(self, said: object, source: Source) -> Value | None:  # noqa: D102
        found = _AMOUNT.fullmatch(said) if isinstance(said, str) and said.isascii() else None
        if found is None or found[2] not in CURRENCIES or (Decimal(found[1]), found[2]) not in source.amounts:
            return None
        return found[0]

    def find(self, source: Source) -> Iterator[Value]:  # noqa: D102
        yield from (said for number, unit in source.amounts if _AMOUNT.fullmatch(said := f"{number:f} {unit}"))


@dataclass(frozen=True)
class Account:
    """An IBAN of the text whose check digits are right, without gaps."""

    kind = "account"

    def told(self) -> dict[str, Any]:  # noqa: D102
        return {"kind": self.kind, "value": "an IBAN"}

    def read(self, said: object, source: Source) -> Value | None:  # noqa: D102
        whole = said.replace(" ", "") if isinstance(said, str) and len(said) <= OPTION_MAX else ""
        return whole if whole in self.find(source) else None

    def find(self, source: Source) -> Iterator[Value]:  # noqa: D102
        yield from (value for value in source.referred("account") if value.isascii() and iban.is_valid(value))


@dataclass(frozen=True)
class Address:
    """An e-mail address of the text."""

    kind = "address"

    def told(self) -> dict[str, Any]:  # noqa: D102
        return {"kind": self.kind, "value": "an e-mail address"}

    def read(self, said: object, source: Source) -> Value | None:  # noqa: D102
        return said if isinstance(said, str) and said in self.find(source) else None

    def find(self, source: Source) -> Iterator[Value]:  # noqa: D102
        yield from (one for one in source.referred("address") if one.isascii() and len(one) <= ADDRESS_MAX)


@dataclass(frozen=True)
class Link:
    """A URL of the text, with http or https."""

    kind = "link"

    def told(self) -> dict[str, Any]:  # noqa: D102
        return {"kind": self.kind, "value": "a URL"}

    def read(self, said: object, source: Source) -> Value | None:  # noqa: D102
        return said if isinstance(said, str) and said in self.find(source) else None

    def find(self, source: Source) -> Iterator[Value]:  # noqa: D102
        for one in source.referred("link"):
            if one.startswith(("https://", "http://")) and len(one) <= LINK_MAX and one.isascii() and one.isprintable():
                yield one


@dataclass(frozen=True)
class Identifier:
    """The id of something, as it stands in the text: it has a digit, and reads like no sentence."""

    kind = "identifier"

    def told(self) -> dict[str, Any]:  # noqa: D102
        return {"kind": self.kind, "value": "an id, letter by letter"}

    def read(self, said: object, source: Source) -> Value | None:  # noqa: D102
        return said if isinstance(said, str) and is_identifier(said) and said in source.identifiers else None

    def find(self, source: Source) -> Iterator[Value]:  # noqa: D102
        yield from (one for one in source.identifiers if is_identifier(one) and not _MEASURED.fullmatch(one))


def is_identifier(text: str) -> bool:
    """Whether a text has the form of an id: up to 64 letters, digits and marks, and at most four words in it."""
    has_digit = any(char.isdigit() for char in text)
    return bool(_IDENTIFIER.fullmatch(text)) and has_digit and len(_RUN.findall(text)) <= _WORDS_IN_NAME


def plain_number(value: object) -> int | float | bool | None:
    """A number or truth value of plain data, if it is of a bounded size."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and -NUMBER_MAX <= value <= NUMBER_MAX:
        return value
    return None


def _number(said: object) -> Decimal | None:
    text = str(said).strip() if isinstance(said, str | int | float) and not isinstance(said, bool) else ""
    if not text or len(text) > 30 or not re.fullmatch(r"-?\d{1,15}(?:\.\d{1,9})?", text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _day(said: str) -> date | None:
    try:
        return date.fromisoformat(said) if re.fullmatch(r"\d{4}-\d\d-\d\d", said) else None
    except ValueError:
        return None
