"""Whether a replica may be called: its circuit opens when it fails in a row, and it is set aside when it fails often.

Circuit breaker: Nygard, "Release It!". Setting aside is Envoy's outlier ejection, and so is five in a row.
"""

import math
from collections import deque
from random import Random

from chimera.core.clock import Clock

IN_A_ROW = 5
REST_S = 1.0
REST_MOST_S = 30.0
OFTEN = 0.2
"""Share of failures above which a replica is set aside."""
_REMEMBERED = 20
_ENOUGH = 10
_FORGIVEN_S = 60.0


class Breaker:
    """The circuit of one replica. Closed: calls pass. Open: none does. After a rest one probe passes, and decides.

    A replica that is set aside could be called, and is while there is no better one.
    """

    def __init__(self, clock: Clock, pick: Random) -> None:
        self._clock = clock
        self._pick = pick
        self._row = self._rests = 0
        self._last = deque[bool](maxlen=_REMEMBERED)
        self._open_until: float | None = None
        self._aside_until = 0.0
        self._fell_at = self._rested_at = -math.inf
        self._probing = False
        self._news: float | None = None

    @property
    def is_open(self) -> bool:
        """No call passes now."""
        return self._open_until is not None and (self._probing or self._clock.monotonic() < self._open_until)

    @property
    def wants_probe(self) -> bool:
        """It has rested: the next call decides whether it is well."""
        return self._open_until is not None and not self.is_open

    @property
    def is_aside(self) -> bool:
        """Others are to be preferred now."""
        return self._clock.monotonic() < self._aside_until

    def left_s(self) -> float:
        """Seconds until a probe may pass."""
        return max(0.0, (self._open_until or 0.0) - self._clock.monotonic())

    def enter(self) -> None:
        """A call goes out; when the circuit was open, it is the probe."""
        self._probing = self._open_until is not None

    def leave(self) -> None:
        """The call ended without telling anything about the replica: nobody waited for it any more."""
        self._probing = False

    def success(self) -> None:
        """The replica answered."""
        if self._open_until is not None:
            self._last.clear()
        self._row, self._open_until, self._probing = 0, None, False
        self._last.append(True)

    def failure(self, begun: float | None = None) -> None:
        """The replica gave no answer, or one against its protocol.

        ``begun``: the clock's time at which a call began that failed with all that were under way, because the replica
        died or hung. They count as one.
        """
        if self.is_open and not self._probing:
            return  # known; this call began before
        if begun is not None:
            if begun <= self._fell_at:
                return
            self._fell_at = self._clock.monotonic()
        probe, self._probing = self._probing, False
        self._row += 1
        self._last.append(False)
        if probe or self._row >= IN_A_ROW:
            self._news = self._rest()
            self._open_until = self._clock.monotonic() + self._news
            return
        if len(self._last) >= _ENOUGH and self._last.count(False) > OFTEN * len(self._last):
            self._aside_until = self._clock.monotonic() + self._rest()
            self._last.clear()

    def news(self) -> float | None:
        """Seconds for which the circuit was opened here, once for each time."""
        told, self._news = self._news, None
        return told

    def open_for(self, seconds: float) -> None:
        """Another process found that the replica fails. A probe that is under way here may still tell otherwise."""
        if not self._probing:
            self._open_until = max(self._open_until or 0.0, self._clock.monotonic() + seconds)

    def _rest(self) -> float:
        """How long to leave it alone: twice as long each time, until it was good for a while."""
        now = self._clock.monotonic()
        if now - self._rested_at > _FORGIVEN_S:
            self._rests = 0
        seconds = min(REST_S * 2**self._rests, REST_MOST_S) * self._pick.uniform(0.8, 1.2)
        self._rests += 1
        self._rested_at = now + seconds
        return seconds
