"""When a call is late, and how it is made a second time without waiting for the first to fail.

Late is what TCP calls late (RFC 6298): four deviations above the smoothed time of such calls. At most one call in ten
is made twice (Dean and Barroso, "The Tail at Scale", 2013), so that a slow service is not asked to do double work.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from chimera.core.errors import ToolFailed
from chimera.tools.capability import ToolResult

LEAST_S = 0.05
UNKNOWN_S = 1.0
SHARE = 0.1
_SAVED_MOST = 10.0
_DEAR = 4


class Patience:
    """How long to wait for one tool before it is asked a second time."""

    def __init__(self) -> None:
        self._mean_s = self._deviation_s = 0.0
        self._saved = _SAVED_MOST

    def seconds(self) -> float:
        """After so long an answer is late; longer once more calls than their share were made twice."""
        if self._mean_s == 0.0:
            return UNKNOWN_S
        late_s = max(LEAST_S, self._mean_s + 4 * self._deviation_s)
        return late_s if self._saved >= 1 else max(UNKNOWN_S, _DEAR * late_s)

    def took(self, seconds: float) -> None:
        """An answer took so long."""
        if self._mean_s == 0.0:
            self._mean_s, self._deviation_s = seconds, seconds / 2
        else:
            self._deviation_s += (abs(seconds - self._mean_s) - self._deviation_s) / 4
            self._mean_s += (seconds - self._mean_s) / 8
        self._saved = min(_SAVED_MOST, self._saved + SHARE)

    def lost(self) -> None:
        """A call was made a second time."""
        self._saved = max(0.0, self._saved - 1)


async def first_answer(
    first: Coroutine[Any, Any, ToolResult],
    late_s: float,
    second: Callable[[], Coroutine[Any, Any, ToolResult] | None],
    overtaken: Callable[[], None],
) -> ToolResult:
    """The answer of ``first``, or of ``second`` when the first is late and the second faster.

    ``second`` begins it; None: there is nobody else to ask. ``overtaken`` is told when it won. An answer is also a
    :class:`ToolFailed`; without any, the failure of the first is raised. What is not needed any more is cancelled.
    """
    begun = [asyncio.ensure_future(first)]
    try:
        await asyncio.wait(begun, timeout=late_s)
        if not begun[0].done() and (another := second()) is not None:
            begun.append(asyncio.ensure_future(another))
            waiting = set(begun)
            while waiting and not any(_answered(one) for one in begun):
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if _answered(begun[1]) and not _answered(begun[0]):
                if not begun[0].done():
                    overtaken()
                return begun[1].result()
        return await begun[0]
    finally:
        for one in begun:
            one.cancel()
        await asyncio.gather(*begun, return_exceptions=True)


def _answered(call: asyncio.Future[ToolResult]) -> bool:
    return call.done() and not call.cancelled() and isinstance(call.exception(), ToolFailed | None)
