"""Waiting for several things at once, and for one to stop."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Found = TypeVar("Found")
STOP_AGAIN_S = 2.0


async def together(work: Iterable[Coroutine[Any, Any, Found]]) -> list[Found]:
    """Run coroutines at the same time and return their results in order.

    The first failure cancels the rest and is raised itself, not inside a group, so that callers can catch it by kind.
    """
    work = list(work)
    if len(work) == 1:
        return [await work[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def stop(task: "asyncio.Future[Any]") -> None:
    """Cancel something under way, and wait until it has ended; what it raises on its way is seen and dropped."""
    # More than once: before Python 3.12 a cancellation gets lost where asyncio.wait_for has its result in that moment.
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=STOP_AGAIN_S)
    if not task.cancelled():
        task.exception()
