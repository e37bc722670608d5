"""How long the parts of agents' steps take: histograms whose buckets have a fixed, logarithmic width.

A run that is measured carries a :class:`Watch` in its context. The places where its time goes say so with
:class:`spent`, the runners say where a step ends, and what is left of the step is the framework's. It costs a
microsecond a part; a run that nobody measures pays for one look at a context variable.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Literal

Part = Literal["queue", "framework", "guard", "model", "tool"]
PARTS: tuple[Part, ...] = ("queue", "framework", "guard", "model", "tool")
LEAST_S = 1e-6
PER_DOUBLING = 16
"""Buckets from a time to twice that time; so a figure is wrong by 2.2 % at most."""
_MOST = 40 * PER_DOUBLING - 1
WINDOW_S = 300.0
_SLICES = 5
Counts = dict[int, int]
"""How many times fell into each bucket that any fell into."""


def bucket(seconds: float) -> int:
    """The bucket of a time; what is shorter than a microsecond is in the first one."""
    return 0 if seconds <= LEAST_S else min(int(math.log2(seconds / LEAST_S) * PER_DOUBLING), _MOST)


def percentile(counts: Mapping[int, int], share: float) -> float | None:
    """The time, in seconds, that ``share`` of all counted ones do not exceed; None where none was counted."""
    left = math.ceil(sum(counts.values()) * share)
    for place in sorted(counts):
        left -= counts[place]
        if left <= 0:
            return LEAST_S * 2 ** ((place + 0.5) / PER_DOUBLING)
    return None


class Latencies:
    """What one process has measured within the last five minutes, by pool and part. ``now`` gives seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._slices: deque[tuple[float, dict[tuple[str, Part], Counts]]] = deque([(now(), {})], _SLICES)

    def add(self, pool: str, part: Part, seconds: float) -> None:
        """Count one time."""
        counts = self._slices[-1][1].setdefault((pool, part), {})
        place = bucket(seconds)
        counts[place] = counts.get(place, 0) + 1

    def gathered(self) -> dict[tuple[str, Part], Counts]:
        """All counts of the last five minutes, or a little less."""
        found: dict[tuple[str, Part], Counts] = {}
        now = self.now()
        while self._slices and now - self._slices[0][0] >= WINDOW_S:
            self._slices.popleft()
        for _, counted in self._slices:
            for key, counts in counted.items():
                total = found.setdefault(key, {})
                for place, number in counts.items():
                    total[place] = total.get(place, 0) + number
        if not self._slices or now - self._slices[-1][0] >= WINDOW_S / _SLICES:
            self._slices.append((now, {}))
        return found


class Watch:
    """Measures one run: its parts, and what is left of each step."""

    __slots__ = ("_began", "_inside_s", "_latencies", "_open", "_pool", "_since", "now")

    def __init__(self, latencies: Latencies, pool: str) -> None:
        self.now = latencies.now
        self._latencies = latencies
        self._pool = pool
        self._began = self._since = self.now()
        self._inside_s = 0.0
        self._open = 0

    def enter(self, at: float) -> None:
        """A part begins; others may be under way beside it."""
        if not self._open:
            self._since = at
        self._open += 1

    def leave(self, part: Part, began: float, at: float) -> None:
        """A part ends."""
        self._open -= 1
        if not self._open:
            self._inside_s += at - self._since
        self._latencies.add(self._pool, part, at - began)

    def step_ended(self) -> None:
        """A step ends, with what it saved on disk; what was in none of its parts was the framework's."""
        at = self.now()
        if self._open:  # a part that goes on into the next step
            self._inside_s += at - self._since
            self._since = at
        self._latencies.add(self._pool, "framework", max(at - self._began - self._inside_s, 0.0))
        self._began, self._inside_s = at, 0.0


_current: ContextVar[Watch | None] = ContextVar("chimera_watch", default=None)


def watch() -> Watch | None:
    """The watch of the run that this is part of, if it is measured."""
    return _current.get()


def carry(running: Watch | None) -> None:
    """Have the watch run in this context, as in one that was made empty."""
    _current.set(running)


@contextmanager
def watched(latencies: Latencies | None, pool: str) -> Generator[None]:
    """Measure what runs in the block, where there is something to measure it with."""
    token = _current.set(None if latencies is None else Watch(latencies, pool))
    try:
        yield
    finally:
        _current.reset(token)


def step_ended() -> None:
    """Say that a step of the run ends."""
    running = _current.get()
    if running is not None:
        running.step_ended()


class spent:  # noqa: N801 - used as `with spent("tool"):`
    """Says that the time in the block goes to one part of the run's step."""

    __slots__ = ("_at", "_part", "_watch")

    def __init__(self, part: Part) -> None:
        self._part: Part = part
        self._watch = _current.get()
        self._at = 0.0

    def __enter__(self) -> None:
        if self._watch is not None:
            self._at = self._watch.now()
            self._watch.enter(self._at)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.leave(self._part, self._at, self._watch.now())
