"""How values are written on the pages."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any


def ago(at: datetime | None, now: datetime | None = None) -> str:
    """How long ago something was, or how soon it will be."""
    if at is None:
        return ""
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if abs(seconds) >= size:
            count = f"{abs(seconds) / size:.0f} {unit}"
            return f"{count} ago" if seconds > 0 else f"in {count}"
    return "now"


def moment(at: datetime | None) -> str:
    """A time in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if at is not None else ""


def as_json(value: object) -> str:
    """A value as JSON that people can read."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def short(text: object, most: int = 120) -> str:
    """A text in one line of at most so many characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def clock(at: str) -> str:
    """The time of day of a time that is written down."""
    return at[11:19]


def told(data: Mapping[str, Any], most: int = 160) -> str:
    """What an event says, in one line."""
    parts = (f"{name} {value if isinstance(value, str) else as_line(value)}" for name, value in data.items() if value)
    return short(" · ".join(parts), most)


def as_line(value: object) -> str:
    """A value as JSON in one line."""
    return json.dumps(value, ensure_ascii=False, default=str)


def percent(share: float) -> str:
    """A share as a percentage."""
    return f"{share * 100:.0f} %"


def seconds(value: float | None) -> str:
    """How long something takes."""
    if value is None:
        return ""
    return f"{value:.1f} s" if value >= 1 else f"{value * 1_000:.1f} ms"


FILTERS: Mapping[str, Callable[..., Any]] = {
    "ago": ago,
    "moment": moment,
    "clock": clock,
    "told": told,
    "pretty": as_json,
    "short": short,
    "percent": percent,
    "seconds": seconds,
}
