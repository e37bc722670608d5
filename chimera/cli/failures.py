"""From any exception to an error of the tree that has a code and a remedy."""

import errno
import traceback
from pathlib import Path
from typing import cast

from chimera.core.errors import ChimeraError, StoreFull

_PACKAGE = Path(__file__).resolve().parent.parent


def as_chimera(error: BaseException) -> ChimeraError:
    """The error of our tree that an exception is, or holds when it is a group; else CH000 with the place it came from.

    The message of a foreign exception is not shown: it may quote prompts, rows or keys.
    """
    found = _first_known(error)
    if found is not None:
        return found
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull("there is no space left for the output", remedy="Free disk space, or write somewhere else.")
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return ChimeraError(
        f"unexpected {type(error).__name__}{_place(error)}",
        remedy="Repeat it with CHIMERA_DEBUG=1 for a traceback, and report that; `chimera doctor` checks the set-up.",
    )


def _first_known(error: BaseException) -> ChimeraError | None:
    if isinstance(error, ChimeraError):
        return error
    if isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return next((found for item in inner if (found := _first_known(item)) is not None), None)
    return None


def _place(error: BaseException) -> str:
    """The last line of ours that the exception came through."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(_PACKAGE):
            return f" at chimera/{path.relative_to(_PACKAGE)}:{frame.lineno}"
    return ""
