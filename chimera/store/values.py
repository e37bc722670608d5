"""Values in a form that Postgres can hold: its text has no NUL and no half of a character, its JSON no NaN."""

import math
import uuid
from typing import Any

from psycopg.types.json import Jsonb

_UNKNOWN = "\ufffd"


def as_stored(value: Any) -> Any:
    """Plain JSON data as it comes back from Postgres.

    What cannot be held becomes U+FFFD in texts, so that nothing that was there vanishes unseen, and null for numbers
    that are none. Models and tools give all of these: a text that was cut within an emoji is the usual one.
    """
    match value:
        case str():
            return _text(value)
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {as_stored(key): as_stored(item) for key, item in value.items()}
        case list() | tuple():
            return [as_stored(item) for item in value]
        case _:
            return value


def as_json(value: Any) -> Jsonb:
    """Plain JSON data as the value of a ``jsonb`` column."""
    return Jsonb(as_stored(value))


def is_uuid(text: str) -> bool:
    """Whether a ``uuid`` column can be compared with the text; what it cannot be compared with is in no row."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def reads_as_meant(url: str) -> bool:
    """Whether the host of a URL is the one that was meant: an @ or / of a password makes one of its rest."""
    authority, _, path = url.partition("://")[2].partition("/")
    return "\x00" not in url and authority.count("@") <= 1 and "@" not in path.partition("?")[0]


def _text(value: str) -> str:
    if not value.isascii():  # what can be coded has no halves left; halves that fit together become their character
        value = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return value.replace("\x00", _UNKNOWN)
