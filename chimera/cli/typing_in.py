"""Lines that a person types, read without blocking the loop and without reading ahead of what is asked."""

import asyncio
import os
import sys


class TypedLines:
    """Reads stdin line by line. One object per process part that asks, as it keeps what came in too early."""

    def __init__(self) -> None:
        self._early = b""
        self._ended = False

    async def next(self) -> str | None:
        """The next line without its break; None at the end of the input."""
        try:
            descriptor = sys.stdin.fileno()
        except (OSError, ValueError):  # stdin is an object without a file behind it
            return sys.stdin.readline().rstrip("\n") or None
        while b"\n" not in self._early and not self._ended:
            await _readable(descriptor)
            chunk = os.read(descriptor, 4096)
            self._early += chunk
            self._ended = not chunk
        if not self._early:
            return None
        found, _, self._early = self._early.partition(b"\n")
        return found.decode("utf-8", "replace").rstrip("\r")


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except OSError:  # a regular file: it is always ready
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
