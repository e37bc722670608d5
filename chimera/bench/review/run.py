"""``chimera bench review``: its parts, each alone or all one after the other, in one object."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from chimera.bench.review.certified import certified
from chimera.bench.review.hammer import hammer
from chimera.bench.review.page import page
from chimera.bench.review.resuming import resuming
from chimera.core.clock import SystemClock
from chimera.core.errors import InputError
from chimera.core.figures import Goal, Measured, machine, report

NAME = "review"
Part = Callable[[bool], Awaitable[tuple[dict[str, float], dict[str, Goal], dict[str, Any]]]]
"""Of whether it is the quick run: figures, goals and conditions."""
PARTS: Mapping[str, Part] = {"certified": certified, "hammer": hammer, "resuming": resuming, "page": page}
_VERSIONS = ("chimera-swarm", "numpy", "scipy", "scikit-learn", "psycopg")


def main_review(part: str = "", *, quick: bool, as_json: bool) -> int:
    """Measure one part, or all, and report; the exit code is 0 when every goal holds, else 1.

    Raises:
        InputError: there is no such part.
    """
    return report(asyncio.run(measure_review(part, quick=quick)), as_json=as_json)


async def measure_review(part: str, *, quick: bool) -> Measured:
    """Measure the parts one after the other.

    Raises:
        InputError: there is no such part.
    """
    if part and part not in PARTS:
        raise InputError(f"there is no part {part[:40]!r}", remedy=f"Parts are {', '.join(PARTS)}.")
    began, at = time.monotonic(), SystemClock().now().isoformat(timespec="seconds")
    figures: dict[str, float] = {}
    goals: dict[str, Goal] = {}
    conditions: dict[str, Any] = {}
    simulated: list[str] = []
    for name in [part] if part else PARTS:
        measured, wanted, told = await PARTS[name](quick)
        simulated += told.pop("simulated", [])
        figures, goals, conditions = {**figures, **measured}, {**goals, **wanted}, {**conditions, **told}
    ran: dict[str, Any] = {"at": at, "seconds": round(time.monotonic() - began, 1), "quick": quick}
    about = {**ran, **machine(_VERSIONS), "parts": [part] if part else list(PARTS), **conditions}
    return Measured(NAME, {**about, "simulated": simulated}, figures, goals)
