"""Amounts are read, written and split exactly, or refused with a remedy.

Proves TR-5 and FR-600: for assets of every number of decimals, without a float and without rounding.
"""

from decimal import Context, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.commerce.assets import Asset, check_asset, on_chain
from chimera.core.errors import InputError
from chimera.core.money import UNITS_END, Money, checked_units, read_units, split_units, write_units

DECIMALS = st.sampled_from([0, 2, 6, 8, 18, 27])


@pytest.mark.threat(14)
@given(DECIMALS, st.integers(0, UNITS_END - 1))
def test_what_is_written_is_read_as_the_same(decimals: int, units: int) -> None:
    """Threat 14. With 0, 6, 8, 18 and 27 decimals; beside Python's decimal numbers, which are exact here."""
    text = write_units(units, decimals)
    assert Decimal(text).scaleb(decimals, Context(prec=80)) == units
    if len(text.partition(".")[0]) <= 18:
        assert read_units(text, decimals, "X") == units
    else:
        with pytest.raises(InputError):
            read_units(text, decimals, "X")
    assert write_units(-units, decimals) == (f"-{text}" if units else text)


@pytest.mark.threat(14)
@given(st.integers(0, 999), DECIMALS, DECIMALS)
def test_the_same_number_is_another_amount_of_another_asset(whole: int, few: int, many: int) -> None:
    """Threat 14. Nothing but the asset says what an amount means."""
    one, other = (Asset("x", "X", decimals).units(str(whole), positive=False) for decimals in (few, many))
    assert one * 10 ** (many - few) == other if many >= few else one == other * 10 ** (few - many)


@pytest.mark.threat(30)
@given(st.integers(0, 10**40), st.lists(st.integers(0, 10**9), min_size=1, max_size=50).filter(any))
def test_the_parts_of_an_amount_add_up(units: int, weights: list[int]) -> None:
    """Threat 30. No unit is lost or made, no part is off by one or more, and equal weights differ by one at most."""
    parts = split_units(units, weights)
    assert sum(parts) == units
    total = sum(weights)
    assert all(-total < part * total - units * weight < total for part, weight in zip(parts, weights, strict=True))
    assert all(part == 0 for part, weight in zip(parts, weights, strict=True) if weight == 0)


@pytest.mark.parametrize(("units", "weights"), [(1, []), (1, [0]), (1, [-1, 2]), (-1, [1])])
def test_what_cannot_be_split_is_refused(units: int, weights: list[int]) -> None:
    with pytest.raises(InputError):
        split_units(units, weights)


NONE: list[Any] = [
    "NaN",
    "nan",
    "Infinity",
    "-inf",
    "1e400",
    "1E3",
    "0x10",
    "１００",
    "٣",
    "-1",
    "+1",
    "",
    " ",
    ".",
    "1.",
    ".5",
    "1.2.3",
    "1,000",
    "1_000",
    "1 000",
    "10" * 10,
    "1" + "0" * 30,
    "0.0000001",
    "0.1234567",
    "100 USD",
    True,
    False,
    100,
    1.5,
    float("nan"),
    float("inf"),
    Decimal("1"),
    None,
    ["1"],
    {"amount": 1},
    b"1",
]


@pytest.mark.threat(13)
@pytest.mark.parametrize("amount", NONE, ids=repr)
def test_what_is_no_amount_is_refused_with_a_remedy(amount: Any) -> None:
    """Threat 13. Text that is no plain number, other types, more decimals than the asset has, and 10 to the 30."""
    with pytest.raises(InputError) as refused:
        Asset("x", "USDC", 6).units(amount)
    assert refused.value.hint


def test_zero_is_an_amount_only_where_it_may_be() -> None:
    asset = Asset("x", "USDC", 6)
    for text in ("0", "0.000000", "0.00000000000000000"):
        assert asset.units(text, positive=False) == 0
        with pytest.raises(InputError, match="more than zero"):
            asset.units(text)
    assert asset.units("1.50000000") == 1_500_000, "zeros at the end are no decimals"


@pytest.mark.threat(13)
@pytest.mark.parametrize("units", [True, 1.0, "1", None, -1, 0, UNITS_END, Decimal(1)], ids=repr)
def test_atomic_units_are_a_whole_number_that_can_be(units: Any) -> None:
    """Threat 13."""
    with pytest.raises(InputError):
        checked_units(units, "X")
    assert checked_units(UNITS_END - 1, "X") == UNITS_END - 1


def test_money_is_read_in_the_same_way() -> None:
    assert Money.parse("0.25 USD") == Money(units=250_000)
    for text in ("0.0000001 USD", "1e3 USD", "1..2 USD", "１ USD", "-1 USD", "NaN USD", "9" * 19 + " USD", "1 EUR"):
        with pytest.raises(InputError):
            Money.parse(text)


@pytest.mark.parametrize(
    "fields",
    [
        {"symbol": "US DC"},
        {"symbol": "UЅDC"},
        {"symbol": ""},
        {"decimals": -1},
        {"decimals": 28},
        {"decimals": True},
        {"chain_id": 0},
        {"chain_id": 2**63},
        {"address": "0x12"},
        {"address": "0x" + "g" * 40},
        {"chain_id": None, "address": "0x" + "a" * 40},
    ],
    ids=repr,
)
def test_an_asset_that_cannot_be_is_refused(fields: dict[str, Any]) -> None:
    """A symbol that only looks like another one is none."""
    known: dict[str, Any] = {"id": "x", "symbol": "USDC", "decimals": 6, "chain_id": 1}
    with pytest.raises(InputError):
        check_asset(Asset(**{**known, **fields}))


def test_an_asset_is_named_by_chain_and_address() -> None:
    lower, upper = on_chain("USDC", 1, 6, "0x" + "ab" * 20), on_chain("USDC", 1, 6, "0x" + "AB" * 20)
    assert lower.id == upper.id == "eip155:1/erc20:0x" + "ab" * 20
    assert on_chain("ETH", 31337, 18).id == "eip155:31337/native"
    assert lower.shown(1_500_000) == "1.50 USDC"
