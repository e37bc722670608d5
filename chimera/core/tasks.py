"""Waiting for several things at once."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Found = TypeVar("Found")


async def together(work: Iterable[Coroutine[Any, Any, Found]]) -> list[Found]:
    """Run coroutines at the same time and return their results in order.

    The first failure cancels the rest and is raised itself, not inside a group, so that callers can catch it by kind.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
