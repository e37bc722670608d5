"""Which question is answered first: risk times value times age times deadline, and that in words.

The product is kept as its logarithm, so that the queue is an index in Postgres. Age and deadline are powers of two: all
items grow at the same speed, so none overtakes another while nothing happens to either, and what waits long enough
comes before everything newer, however small it is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from chimera.core.contracts import ReviewItem, Threat
from chimera.review.answers import kind_of

AGE_DOUBLES_S = 28_800.0
"""Seconds of waiting that double the priority. The same numbers stand in ``020_review_work.sql``."""
DUE_HALVES_S = 14_400.0
STEP_DOUBLES = 2
AMOUNT_MAX = 2**63 - 1
_DOLLAR = 1_000_000
_THREATS = {Threat.NONE: 1.0, Threat.LOW: 1.5, Threat.MEDIUM: 2.0, Threat.HIGH: 4.0, Threat.CRITICAL: 8.0}
_KINDS = {"incident": 4.0, "payment": 2.0, "call": 2.0, "policy": 2.0, "changed_tools": 2.0}
_UNSURE = 3.0


@dataclass(frozen=True)
class Factor:
    """One part of a priority: its number, and why it is that one."""

    name: str
    times: float
    why: str


@dataclass(frozen=True)
class Priority:
    """How much a question asks for at a moment, and the factors that make it."""

    score: float
    factors: list[Factor]

    def words(self) -> str:
        """The factors in one line."""
        return ", ".join(f"{one.why} (x{one.times:.2g})" for one in self.factors)


def read_threat(given: object) -> Threat:
    """A threat level; what is none counts as the worst."""
    return Threat(given) if given in list(Threat) else Threat.CRITICAL


def read_units(given: object) -> int:
    """Atomic units of an amount of money: nought when there is none, the most when it is unclear."""
    if given is None:
        return 0
    units = cast("Mapping[str, object]", given).get("units") if isinstance(given, Mapping) else given
    return min(units, AMOUNT_MAX) if type(units) is int and units >= 0 else AMOUNT_MAX


def threat_of(item: ReviewItem) -> Threat:
    """How dangerous what a question is about looks."""
    return read_threat(item.payload.get("threat", Threat.NONE))


def amount_of(item: ReviewItem) -> int:
    """Atomic units of the money that a question is about."""
    return read_units(item.payload.get("amount"))


def standing(item: ReviewItem) -> list[Factor]:
    """The factors that do not change while a question waits: risk and value."""
    kind, threat, amount = kind_of(item), threat_of(item), amount_of(item)
    money = f"{amount:,} units of money" if amount else "no money"
    waits = item.payload.get("blocking", True) is not False
    unsure = 1 + _UNSURE * (1 - item.confidence)
    factors = [
        Factor("confidence", unsure, f"confidence {item.confidence:.2f}"),
        Factor("threat", _THREATS[threat], f"threat {threat.value}"),
        Factor("kind", _KINDS.get(kind, 1.0), f"about a {kind.replace('_', ' ')}" if kind else "a question"),
        Factor("value", 1 + math.log2(1 + amount / _DOLLAR), money),
    ]
    return factors if waits else [*factors, Factor("waits", 0.5, "no work waits for it")]


def weight_of(item: ReviewItem) -> float:
    """The binary logarithm of risk times value."""
    return math.log2(math.prod(factor.times for factor in standing(item)))


def priority_of(item: ReviewItem, created: datetime, due: datetime, step: int, now: datetime) -> Priority:
    """The priority of a question at a moment. ``step``: how often it was handed up."""
    waited, left = (now - created).total_seconds(), (due - now).total_seconds()
    age, deadline = waited / AGE_DOUBLES_S, -left / DUE_HALVES_S
    when = f"due in {_told(left)}" if left >= 0 else f"{_told(-left)} late"
    factors = [
        *standing(item),
        Factor("age", 2.0**age, f"waits for {_told(max(0.0, waited))}"),
        Factor("deadline", 2.0**deadline, when),
    ]
    if step:
        factors.append(Factor("escalated", 2.0 ** (STEP_DOUBLES * step), f"handed up {step} times"))
    return Priority(math.prod(factor.times for factor in factors), factors)


def _told(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
