"""Running in a context of one's own, in the task that waits: ``within`` gives what a task of its own would give.

Proves FR-306: what a node sets in context variables stays its own, it is cancelled with its run, and its failures and
deadlines are its own.
"""

import asyncio
from contextvars import ContextVar, copy_context

import pytest

from chimera.core.contexts import within

_NAME: ContextVar[str] = ContextVar("name", default="nobody")


async def test_what_is_set_inside_stays_inside_over_waits() -> None:
    """The context is the given one before and after each wait, and the caller's own is untouched."""

    async def work() -> list[str]:
        seen = [_NAME.get()]
        _NAME.set("inside")
        await asyncio.sleep(0)
        seen.append(_NAME.get())
        return seen

    _NAME.set("outside")
    assert await within(copy_context(), work()) == ["outside", "inside"]
    assert _NAME.get() == "outside"


async def test_it_runs_in_the_task_that_waits() -> None:
    """No task is made for it."""

    async def work() -> object:
        await asyncio.sleep(0)
        return asyncio.current_task()

    assert await within(copy_context(), work()) is asyncio.current_task()


async def test_what_it_raises_is_raised_and_what_it_catches_is_caught() -> None:
    """An exception of something that it waits for reaches it first, and then whoever waits for it."""

    async def fails() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    async def work(caught: list[str]) -> None:
        try:
            await asyncio.create_task(fails())
        except KeyError:
            caught.append("inside")
            raise ValueError("from inside") from None

    caught: list[str] = []
    with pytest.raises(ValueError, match="from inside"):
        await within(copy_context(), work(caught))
    assert caught == ["inside"]


async def test_it_is_cancelled_with_its_task_and_cleans_up() -> None:
    """A cancellation is raised where it waits, and its clean-up may wait as well."""
    cleaned: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append("yes")

    async def outer() -> None:
        await within(copy_context(), work())

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == ["yes"]


async def test_a_deadline_inside_ends_what_is_inside_alone() -> None:
    """``asyncio.timeout`` inside is about the inside; the task goes on."""

    async def work() -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            return "late"
        return "never"

    assert await within(copy_context(), work()) == "late"
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
