"""The newest window of a feed and the stretch before it. "Now" is the feed's last time, never the wall clock."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from chimera.core.errors import InputError
from chimera.tools.feeds.model import Post

MAX_BASELINE = 28
"""Windows that are looked back at."""

_TIMEFRAME = re.compile(r"([1-9][0-9]{0,3})([mhdw])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_LADDER = ("7d", "24h", "6h", "1h", "10m")
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Windows:
    """The window is ``start < at <= end``; the baseline is ``baseline_start < at <= start``."""

    timeframe: str
    length: timedelta
    start: datetime
    end: datetime
    baseline_start: datetime
    baseline_windows: float
    """Length of the baseline in windows; 0 when there is nothing before the window."""
    notes: tuple[str, ...] = ()

    def index(self, at: datetime) -> int:
        """0 in the newest window, 1 in the one before it, and so on; -1 outside of what is compared."""
        if not self.baseline_start < at <= self.end:
            return -1
        return (self.end - at) // self.length


def parse_timeframe(text: str) -> timedelta:
    """The length that a timeframe such as ``90m``, ``24h``, ``7d`` or ``2w`` names.

    Raises:
        InputError: it names none.
    """
    match = _TIMEFRAME.fullmatch(text.strip())
    if match is None:
        raise InputError(
            f"not a timeframe: {text[:20]!r}", remedy="Write a number and m, h, d or w, such as 24h or 7d."
        )
    return int(match[1]) * _UNITS[match[2]]


def choose_windows(posts: list[Post], timeframe: str | None = None) -> Windows:
    """The window of the asked length, or of one that fits the span of the feed four times or more where possible.

    Raises:
        InputError: ``timeframe`` is not one.
    """
    times = [post.at for post in posts]
    first, end = min(times), max(times)
    notes: list[str] = []
    by_day = all(at.hour == at.minute == at.second == at.microsecond == 0 for at in times)
    # A time stands for what ended then: a date for its day, so a feed of dates begins a day before its first midnight.
    begin = first - (_DAY if by_day else _SECOND)
    chosen = timeframe.strip() if timeframe else _default(end - begin, by_day=by_day)
    length = parse_timeframe(chosen)
    if by_day and length < _DAY:
        chosen, length = "24h", _DAY
        notes.append("the feed gives days only, so the window is 24h")
    start = end - length
    before = max(start - begin, timedelta())
    if before < length:
        return Windows(chosen, length, start, end, min(begin, start), before / length, tuple(notes))
    count = min(before // length, MAX_BASELINE)
    return Windows(chosen, length, start, end, start - count * length, float(count), tuple(notes))


def _default(span: timedelta, *, by_day: bool) -> str:
    for step in _LADDER:
        if parse_timeframe(step) * 4 <= span:
            return step
    return "24h" if by_day else "1m"
