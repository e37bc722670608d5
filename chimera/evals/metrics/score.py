"""What a metric says about a record."""

from collections.abc import Callable
from dataclasses import dataclass

from chimera.evals.record import Record


@dataclass(frozen=True)
class Score:
    """``value`` is 0 to 1. ``passed`` needs all of it, unless a metric says otherwise."""

    value: float
    passed: bool
    reason: str


Measure = Callable[[Record], Score | None]
"""Looks at a record; None when it has nothing to say about this case."""


@dataclass(frozen=True)
class Metric:
    """A deterministic metric: the same record always gets the same score."""

    name: str
    title: str
    measure: Measure


def yes(reason: str) -> Score:
    """All is as it should be."""
    return Score(1.0, True, reason)


def no(reason: str) -> Score:
    """It is not."""
    return Score(0.0, False, reason)


def share(wrong: list[str], of: int, right: str) -> Score:
    """The share of ``of`` statements that hold, with the first ones that do not."""
    if not wrong:
        return yes(right)
    return Score(max(0.0, 1 - len(wrong) / max(of, len(wrong))), False, "; ".join(wrong[:3]))
