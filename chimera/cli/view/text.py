"""Text from anywhere, made safe and short for a terminal.

Goals, feed rows, tool results and answers may be hostile: what would move the cursor, change colours, set the title or
reverse the reading direction is taken out before anything is shown.
"""

import re
from datetime import datetime

# CSI, OSC, DCS/SOS/PM/APC strings and two-byte escapes (ECMA-48), whole, so that no digits of them stay behind.
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]"
)
# Controls but tab and newline; bidirectional marks and overrides; zero-width characters but the joiners that scripts
# need; tag characters. Source: Unicode Technical Report 36 and CVE-2021-42574.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_BREAKS = re.compile("\r\n?|[\u0085\u2028\u2029\x0b\x0c]")

SHORT_ID = 8


def clean(text: object) -> str:
    """The text without anything that a terminal acts on; tabs and line breaks stay."""
    whole = _BREAKS.sub("\n", _ESCAPE.sub("", str(text)))
    return _SURROGATE.sub("\ufffd", _UNSEEN.sub("", whole))


def line(text: object, limit: int = 200) -> str:
    """The text on one line, clean, of at most ``limit`` characters."""
    flat = " ".join(clean(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def short(full_id: object) -> str:
    """The part of an id that people type; commands take any unique prefix."""
    return str(full_id)[:SHORT_ID]


def size(count: int) -> str:
    """A number of bytes for people."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def elapsed(seconds: float) -> str:
    """A length of time for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def moment(value: object) -> str:
    """A point in time in the local zone, to the second."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return line(value, 30)
    return value.astimezone().strftime("%Y-%m-%d %H:%M:%S") if isinstance(value, datetime) else ""


def count(number: int, noun: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
