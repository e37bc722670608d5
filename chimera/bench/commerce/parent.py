"""A process of the benchmark ends with the one that started it, however that ended."""

import asyncio
import os

_LOOK_S = 1.0


async def end_with_parent() -> None:
    """Wait until the parent is gone, and end this process at once."""
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(_LOOK_S)
    os._exit(1)
