"""A text as values are looked for in it: what links, addresses, accounts, days, numbers and amounts it states."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property

from chimera.guards.provenance.dates import Day, days_in
from chimera.guards.provenance.tokens import references, same

CURRENCIES = frozenset(
    """
    AED ARS AUD BGN BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR ISK JPY KES KRW MAD MXN MYR NGN
    NOK NZD PEN PHP PKR PLN RON RSD RUB SAR SEK SGD THB TND TRY TWD UAH USD VND ZAR
    """.split()  # noqa: SIM905 - readable as prose, unreadable one a line
)
_SIGNS = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY"}
_NUMBER = r"(?:\d{1,3}(?:[,.'\u202f\u00a0]\d{3}){1,4}|\d{1,15})(?:[.,]\d{1,9})?"
_UNIT = rf"(?:[€$£¥]|\b(?:{'|'.join(sorted(CURRENCIES))})\b)"
_NUMBERS = re.compile(rf"(?<![\w.,/:-])-?{_NUMBER}(?![\w/:]|[.,-]\d)")
_AMOUNTS = re.compile(
    rf"(?P<before>{_UNIT})[ \u00a0]?(?P<first>{_NUMBER})(?!\w|[.,]\d)|"
    rf"(?<![\w.,])(?P<second>{_NUMBER})[ \u00a0]?(?P<after>{_UNIT})"
)
_IDENTIFIER = re.compile(r"(?<![\w.,@/-])[A-Za-z0-9][A-Za-z0-9._:#~/-]{0,63}(?![\w@])")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?")
_GROUPED = re.compile(r"\d{1,3}(?:[,.]\d{3})+")


@dataclass(frozen=True)
class Source:
    """One text. Everything is found once, in time that grows with the length and no faster."""

    text: str

    @cached_property
    def comparable(self) -> str:
        """The text in the form in which equal values are equal."""
        return same(self.text)

    @cached_property
    def days(self) -> frozenset[Day]:
        """The days that are named with their year."""
        return frozenset(day for day in days_in(self.text) if day.year)

    @cached_property
    def moments(self) -> tuple[str, ...]:
        """The days with their times in ISO 8601, in order, as they are written."""
        return tuple(found[0] for found in _MOMENT.finditer(self.text) if _is_moment(found[0]))

    @cached_property
    def amounts(self) -> tuple[tuple[Decimal, str], ...]:
        """The amounts with their currency, in order."""
        return tuple(_amounts(self.text))

    @cached_property
    def numbers(self) -> tuple[Decimal, ...]:
        """The numbers, in order; those inside of names, dates and times are none."""
        return tuple(as_number(found[0]) for found in _NUMBERS.finditer(self.text))

    @cached_property
    def identifiers(self) -> tuple[str, ...]:
        """The words that may be the id of something, in order, as they are written."""
        return tuple(found[0].rstrip(".:/-") for found in _IDENTIFIER.finditer(self.text))

    def referred(self, kind: str) -> tuple[str, ...]:
        """The links, addresses or accounts, in order, as they are written; an account without its gaps."""
        return tuple(value for known, value in self._references if known == kind)

    @cached_property
    def _references(self) -> tuple[tuple[str, str], ...]:
        return tuple((one.kind, one.value) for one in references(self.text))


def as_number(written: str) -> Decimal:
    """The number that is written with or without groups: ``1,234.50``, ``1.234,50``, ``1234.5``, ``-3``."""
    sign = -1 if written.startswith("-") else 1
    plain = re.sub(r"['\u202f\u00a0]", "", written.lstrip("-"))
    marks = [char for char in plain if char in ",."]
    if len(set(marks)) == 2:  # the last one parts the decimals
        plain = plain.replace(marks[0], "").replace(marks[-1], ".")
    elif len(marks) > 1 or (marks == [","] and _GROUPED.fullmatch(plain)):
        plain = plain.replace(marks[0], "")
    else:
        plain = plain.replace(",", ".")
    return sign * Decimal(plain)


def _is_moment(written: str) -> bool:
    try:
        datetime.fromisoformat(written)
    except ValueError:
        return False
    return True


def _amounts(text: str) -> Iterator[tuple[Decimal, str]]:
    for found in _AMOUNTS.finditer(text):
        unit = found["before"] or found["after"]
        yield as_number(found["first"] or found["second"]), _SIGNS.get(unit, unit)
