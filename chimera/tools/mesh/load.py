"""How busy a replica is: peak EWMA of its latency times the calls it has in hand, and the choice of the better of two.

Peak EWMA is Finagle's: a slow answer counts at once, a fast one little by little, and what was learnt fades, so that a
replica that was slow is tried again. Two random choices: Mitzenmacher, "The Power of Two Choices" (2001).
"""

import math
from collections.abc import Sequence
from random import Random
from typing import Protocol, TypeVar

from chimera.core.clock import Clock

FADE_S = 10.0
"""After so long without a call the known latency counts for 1/e of what it did."""


class Load:
    """The load of one replica."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._latency_s = 0.0
        self._at = clock.monotonic()
        self.in_hand = 0

    def took(self, seconds: float) -> None:
        """A call took so long."""
        kept = self._faded()
        self._set(seconds if seconds > kept else kept * 0.8 + seconds * 0.2)

    def took_more_than(self, seconds: float) -> None:
        """A call was given up after so long."""
        self._set(max(seconds, self._faded()))

    def cost(self) -> float:
        """What one more call would cost here, in seconds that mean something next to other replicas' only."""
        return self._faded() * (self.in_hand + 1)

    def _set(self, seconds: float) -> None:
        self._latency_s, self._at = seconds, self._clock.monotonic()

    def _faded(self) -> float:
        return self._latency_s * math.exp(-(self._clock.monotonic() - self._at) / FADE_S)


class Loaded(Protocol):
    """What can be chosen."""

    @property
    def load(self) -> Load:
        """Its load."""
        ...


LoadedT = TypeVar("LoadedT", bound=Loaded)


def less_busy(candidates: Sequence[LoadedT], pick: Random) -> LoadedT:
    """The less busy of two that are chosen at random. At least one candidate."""
    some = pick.sample(candidates, 2) if len(candidates) > 2 else list(candidates)
    pick.shuffle(some)  # equals, as all are at the start, share the calls
    return min(some, key=lambda one: (one.load.cost(), one.load.in_hand))
