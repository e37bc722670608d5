"""Runs one asynchronous command, and ends it cleanly when it is interrupted.

The first Ctrl-C or SIGTERM cancels the command, so that servers are left and nothing stays behind; the next one, or a
clean-up that takes too long, ends the process at once. A mission goes on later from its last checkpoint either way.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

from chimera.cli.view.output import tell
from chimera.cli.view.text import short

CLEAN_UP_S = 20.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)
Answer = TypeVar("Answer")


class Interrupted(BaseException):
    """A signal ended the command. No ``except Exception`` may take it for a failure."""

    def __init__(self, number: int, mission_id: str | None = None) -> None:
        self.number = number
        self.mission_id = mission_id
        super().__init__(signal.Signals(number).name)

    @property
    def exit_code(self) -> int:
        """What shells expect of a process that a signal ended."""
        return 128 + self.number

    @property
    def remedy(self) -> str:
        """How to go on."""
        if self.mission_id is None:
            return "Run the command again."
        return f"`chimera resume {short(self.mission_id)}` goes on from the last checkpoint."


@dataclass
class Stop:
    """Whether a signal came, and which mission was attended then."""

    number: int = 0
    mission_id: str | None = None


def run(work: Coroutine[Any, Any, Answer], stop: Stop | None = None) -> Answer:
    """Run a command to its end.

    Raises:
        Interrupted: a signal ended it, after everything was closed.
    """
    stop = stop or Stop()
    try:
        return asyncio.run(_cancellable(work, stop))
    except BaseException:
        if stop.number:  # whatever came up while it was being stopped is a consequence of that
            raise Interrupted(stop.number, stop.mission_id) from None
        raise


async def _cancellable(work: Coroutine[Any, Any, Answer], stop: Stop) -> Answer:
    running = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.number:
            _leave_at_once(128 + number)
        stop.number = number
        loop.call_soon_threadsafe(begin_to_stop)

    def begin_to_stop() -> None:
        tell(f"stopping … {Interrupted(stop.number, stop.mission_id).remedy if stop.mission_id else ''}".rstrip())
        loop.call_later(CLEAN_UP_S, _leave_at_once, 128 + stop.number)
        running.cancel()

    with _handled(on_signal):
        return await running


def _leave_at_once(code: int) -> None:
    """End without any clean-up, but give the terminal its cursor back, which a live view hides."""
    if sys.stderr.isatty():
        sys.stderr.write("\x1b[?25h\n")
        sys.stderr.flush()
    os._exit(code)


@contextmanager
def _handled(handler: Any) -> Generator[None]:
    """Have the signals handled for the length of the block; only the main thread of a program can."""
    before: dict[signal.Signals, Any] = {}
    with suppress(ValueError):
        before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
