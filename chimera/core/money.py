"""Money is an integer number of atomic units with its asset; there is no float and no Decimal in storage."""

import re
from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from chimera.core.errors import InputError

DECIMALS = {"USD": 6}
"""Atomic units per asset as a power of ten: model prices need a millionth of a dollar."""
MOST_DECIMALS = 27
"""Of any asset; 10 to the power of it is an amount that can still be written."""
UNITS_END = 10**30
"""No amount that is read has this many atomic units or more, whatever the asset."""

_DIGITS = re.compile(r"(?P<whole>[0-9]{1,18})(?:\.(?P<rest>[0-9]{1,60}))?")
_AMOUNT = re.compile(r"(?P<amount>[0-9.]{1,80})\s*(?P<asset>[A-Z]{3,8})")
_REMEDY = "Write it in plain digits as text, such as '0.25'."


class Money(BaseModel):
    """An amount of one asset, in atomic units (USD: 1,000,000 units are one dollar)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    units: int = Field(ge=0, le=10**30, strict=True, description="atomic units")
    asset: str = Field(default="USD", pattern="^[A-Z]{3,8}$")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an amount such as ``0.25 USD`` exactly.

        Raises:
            InputError: not an amount, an unknown asset, or more decimals than the asset has.
        """
        match = _AMOUNT.fullmatch(text.strip()) if text.isascii() else None
        if match is None:
            raise InputError(
                f"not an amount: {text[:40]!r}", remedy="Write an amount with its asset, such as '0.25 USD'."
            )
        asset = match["asset"]
        if asset not in DECIMALS:
            raise InputError(f"unknown asset {asset}", remedy=f"Known assets: {', '.join(DECIMALS)}.")
        return cls(units=read_units(match["amount"], DECIMALS[asset], asset), asset=asset)

    def __add__(self, other: "Money") -> "Money":
        if self.asset != other.asset:
            raise InputError(f"cannot add {other.asset} to {self.asset}")
        return Money(units=self.units + other.units, asset=self.asset)

    def __str__(self) -> str:
        return f"{write_units(self.units, DECIMALS.get(self.asset, 0))} {self.asset}"


def read_units(amount: object, decimals: int, asset: str, *, positive: bool = False) -> int:
    """The atomic units of an amount that is written as a decimal number in text, exactly; nothing is rounded.

    Numbers that are not text are refused: a float is not exact, and a whole number could mean coins or atomic units.

    Raises:
        InputError: it is no such text, has more decimals than the asset, is too large, or is zero where it may not be.
    """
    match = _DIGITS.fullmatch(amount.strip()) if isinstance(amount, str) and amount.isascii() else None
    if match is None:
        kind = "" if isinstance(amount, str) else f" ({type(amount).__name__})"
        raise InputError(f"not an amount of {asset}: {str(amount)[:40]!r}{kind}", remedy=_REMEDY)
    rest = (match["rest"] or "").rstrip("0")
    if len(rest) > decimals:
        raise InputError(
            f"{asset} has {decimals} decimals, {str(amount)[:40]!r} has more", remedy="Round it yourself, on purpose."
        )
    units = int(match["whole"]) * 10**decimals + int(rest.ljust(decimals, "0") or "0")
    return checked_units(units, asset, positive=positive)


def checked_units(units: object, asset: str, *, positive: bool = True) -> int:
    """A number of atomic units that can be one.

    Raises:
        InputError: it is no whole number, negative, zero where it may not be, or too large.
    """
    if not isinstance(units, int) or isinstance(units, bool):
        raise InputError(
            f"atomic units of {asset} are a whole number, not {str(units)[:40]!r} ({type(units).__name__})",
            remedy=_REMEDY,
        )
    if units < 0 or (positive and units == 0):
        raise InputError(f"an amount of {asset} is more than zero, not {units}", remedy="Give a positive amount.")
    if units >= UNITS_END:
        raise InputError(f"an amount of {asset} has less than 10^30 atomic units", remedy="Check the decimals.")
    return units


def write_units(units: int, decimals: int, least: int = 2) -> str:
    """Atomic units as a decimal number, exactly: no zeros at its end beyond ``least`` decimals."""
    sign, whole = ("-", -units) if units < 0 else ("", units)
    number, rest = divmod(whole, 10**decimals)
    fraction = f"{rest:0{decimals}d}".rstrip("0").ljust(min(least, decimals), "0") if decimals else ""
    return f"{sign}{number}.{fraction}" if fraction else f"{sign}{number}"


def split_units(units: int, weights: Sequence[int]) -> list[int]:
    """Whole atomic units in proportion to weights; their sum is exactly the whole. Largest remainders get what is left.

    Raises:
        InputError: the weights are negative or all zero, or the units negative.
    """
    total = sum(weights)
    if units < 0 or total <= 0 or min(weights) < 0:
        raise InputError("an amount is split by weights that are not negative, at least one of them above zero")
    parts = [units * weight // total for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda place: (-(units * weights[place] % total), place))
    for place in by_remainder[: units - sum(parts)]:
        parts[place] += 1
    return parts


def grouped(units: int, decimals: int) -> str:
    """An amount for people, exactly, with its thousands set apart: ``12,345.50``."""
    text = write_units(units, decimals)
    whole, point, rest = text.lstrip("-").partition(".")
    return f"{'-' if units < 0 else ''}{int(whole):,}{point}{rest}"
