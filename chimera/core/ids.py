"""Ids: typed, injected, and derived where the same step must always get the same one."""

import hashlib
import random
import uuid
from collections.abc import Callable

from chimera.core.errors import InputError

NewId = Callable[[], str]


def random_ids() -> NewId:
    """A source of random UUID strings (RFC 9562 version 4)."""
    return lambda: str(uuid.uuid4())


def seeded_ids(seed: int) -> NewId:
    """A repeatable source of version 4 UUID strings, for tests and simulations."""
    source = random.Random(seed)  # noqa: S311 - repeatability is the point, not secrecy
    return lambda: str(uuid.UUID(int=source.getrandbits(128), version=4))


def canonical_id(text: str) -> str:
    """An id as it is stored and compared, however its UUID is written.

    Raises:
        InputError: it is no UUID.
    """
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise InputError(f"{text[:60]!r} is no UUID", remedy="Leave the id to Chimera, or give a UUID.") from None


def derived_id(*parts: object) -> str:
    """The UUID that always belongs to these parts (RFC 9562 version 5).

    Nodes run again after a crash; what they create is keyed by this, so it is created once.
    """
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "\x1f".join(str(part) for part in parts)))


def digest(text: str | bytes) -> str:
    """SHA-256 of a text, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text).hexdigest()
