"""The alarm: has a certified band begun to break its promise, by what humans say of what passed?

A bet against the promise. As long as errors are at most alpha of what passed, the fortune of who bets that there are
more is worth no more than it began with, and grows twentyfold at any time with a chance of at most one in twenty
(Ville 1939). So every audit can be looked at as it comes.
"""

from collections.abc import Iterable

ALARM = 20.0
_STAKES = (0.25, 0.5, 0.75, 0.9)
"""Shares of the most that can be staked; the fortune is spread over them, as nobody knows how bad it becomes."""


def wealth(errors: Iterable[bool], alpha: float) -> float:
    """The highest fortune so far of who began with 1 and bet on more errors than ``alpha``, in the order they came."""
    fortunes = [1.0] * len(_STAKES)
    highest = 1.0
    for wrong in errors:
        gain = (1.0 if wrong else 0.0) - alpha
        fortunes = [fortune * (1 + stake / alpha * gain) for fortune, stake in zip(fortunes, _STAKES, strict=True)]
        highest = max(highest, sum(fortunes) / len(fortunes))
    return highest


def drifted(errors: Iterable[bool], alpha: float) -> bool:
    """Whether the band has to close."""
    return wealth(errors, alpha) >= ALARM
