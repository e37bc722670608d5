"""Where a listing goes on: the place of the last thing shown, so that what comes in meanwhile moves nothing."""

from datetime import datetime
from uuid import UUID

from chimera.core.errors import InputError


def cursor(at: datetime, item_id: str) -> str:
    """The place of a thing in a listing by time."""
    return f"{at.isoformat()}_{item_id}"


def place(given: str | None) -> tuple[datetime, str] | None:
    """The time and the id of a cursor.

    Raises:
        InputError: it is none.
    """
    if given is None:
        return None
    at, _, item_id = given.partition("_")
    try:
        found = datetime.fromisoformat(at.replace(" ", "+"))  # a plus that was not escaped comes as a blank
        whole = str(UUID(item_id))
    except ValueError:
        raise _none() from None
    if found.tzinfo is None:
        raise _none()
    return found, whole


def _none() -> InputError:
    return InputError("that is no cursor of this listing", remedy="Begin without one.")
