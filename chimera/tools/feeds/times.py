"""Timestamps as feeds write them: ISO 8601, RFC 822, epoch seconds and milliseconds, and plain dates.

A time without a zone is read as UTC. What cannot be read is None, never a guess.
"""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)

_DIGITS = re.compile(r"\d{9,19}(?:\.\d{1,9})?")
_COMPACT_DATE = re.compile(r"(?:19|20)\d{6}")
_PARTS = re.compile(
    r"(\d{1,4})([/.])(\d{1,2})\2(\d{1,4})(?:[ T,]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?\s*([AaPp][Mm])?)?"
)
_MONTH = re.compile(
    r"\d.*(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s+\d",
    re.IGNORECASE,
)
"""A month beside a number: what texts that are not dates seldom hold, since trying all forms is slow."""
_PLACE = re.compile(r"\[[^\]]*\]$|\s+UTC$")
_WORD_FORMATS = ("%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Y", "%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y")


def parse_time(text: str, *, day_first: bool = False) -> datetime | None:
    """The moment that ``text`` names, aware, in UTC; None when it names none between 1970 and 2200.

    ``day_first`` decides dates such as 03/04/2026, which alone are ambiguous.
    """
    text = text.strip()
    if not 8 <= len(text) <= 64 and not (6 <= len(text) < 8 and _PARTS.fullmatch(text)):
        return None
    if not text.isascii():
        return None
    try:
        found = _numeric(text) if text.replace(".", "", 1).isdigit() else _written(text, day_first)
        if found is None:
            return None
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):  # what the parsers below raise on odd input
        return None
    return found if EARLIEST <= found < LATEST else None


def is_ambiguous(text: str) -> tuple[int, int] | None:
    """The two leading parts of a date such as 3/14/2026, when day and month are not told apart by its form."""
    match = _PARTS.match(text.strip())
    if match is None or len(match[1]) > 2:
        return None
    return int(match[1]), int(match[3])


def _numeric(text: str) -> datetime | None:
    if _COMPACT_DATE.fullmatch(text):
        return datetime.fromisoformat(text)
    if not _DIGITS.fullmatch(text):
        return None
    whole = text.partition(".")[0]
    scale = {9: 0, 10: 0, 12: 3, 13: 3, 15: 6, 16: 6, 18: 9, 19: 9}.get(len(whole))
    if scale is None:
        return None
    micros = int(whole) * 1_000_000 // 10**scale
    if scale == 0 and "." in text:
        micros += int(text.partition(".")[2][:6].ljust(6, "0"))
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)


def _written(text: str, day_first: bool) -> datetime | None:
    try:
        return datetime.fromisoformat(_PLACE.sub("", text))
    except ValueError:
        pass
    parts = _PARTS.fullmatch(text)
    if parts is not None:
        return _from_parts(parts, day_first)
    if not _MONTH.search(text):
        return None
    for form in _WORD_FORMATS:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007 - the caller sets the zone
        except ValueError:
            continue
    return parsedate_to_datetime(text)


def _from_parts(match: re.Match[str], day_first: bool) -> datetime | None:
    first, second, third = int(match[1]), int(match[3]), int(match[4])
    if len(match[1]) == 4:
        year, month, day = first, second, third
    elif len(match[1]) > 2 or len(match[4]) not in (2, 4):
        return None
    else:
        day, month = (first, second) if day_first else (second, first)
        year = third if len(match[4]) == 4 else third + (1900 if third >= 70 else 2000)
    hour, minute, seconds = int(match[5] or 0), int(match[6] or 0), int(match[7] or 0)
    if match[8]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match[8].lower() == "pm" else 0)
    return datetime(year, month, day, hour, minute, seconds)  # noqa: DTZ001 - the caller sets the zone
