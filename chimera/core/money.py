"""Money is an integer number of atomic units with its asset; there is no float and no Decimal in storage."""

import re
from decimal import Decimal, InvalidOperation
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from chimera.core.errors import InputError

DECIMALS = {"USD": 6}
"""Atomic units per asset as a power of ten: model prices need a millionth of a dollar."""

_AMOUNT = re.compile(r"(?P<amount>\d{1,18}(?:\.\d+)?)\s*(?P<asset>[A-Z]{3,8})")


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
        try:
            units = Decimal(match["amount"]).scaleb(DECIMALS[asset])
        except InvalidOperation as error:
            raise InputError(f"not an amount: {text[:40]!r}") from error
        if units != units.to_integral_value():
            raise InputError(f"{asset} has {DECIMALS[asset]} decimals, {text!r} has more")
        return cls(units=int(units), asset=asset)

    def __add__(self, other: "Money") -> "Money":
        if self.asset != other.asset:
            raise InputError(f"cannot add {other.asset} to {self.asset}")
        return Money(units=self.units + other.units, asset=self.asset)

    def __str__(self) -> str:
        places = DECIMALS.get(self.asset, 0)
        whole, rest = divmod(self.units, 10**places)
        fraction = f"{rest:0{places}d}".rstrip("0").ljust(2, "0") if places else ""
        return f"{whole}.{fraction} {self.asset}" if places else f"{whole} {self.asset}"
