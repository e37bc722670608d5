"""Running a coroutine in a context of its own, in the task that waits for it."""

from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from types import coroutine
from typing import Any, TypeVar

Found = TypeVar("Found")


@coroutine
def within(context: Context, work: Coroutine[Any, Any, Found]) -> Generator[Any, Any, Found]:
    """What ``await asyncio.create_task(work, context=context)`` gives, without a task: it costs two rounds of the loop.

    What ``work`` sets in context variables stays in ``context``. It is cancelled with the task that waits for it, and
    what it asks of its task, such as :func:`asyncio.timeout`, it asks of that one.

    Raises:
        Exception: what ``work`` raises.
    """
    resume: Callable[[Any], Any] = work.send
    given: Any = None
    try:
        while True:
            try:
                awaited = context.run(resume, given)
            except StopIteration as end:
                return end.value
            try:
                resume, given = work.send, (yield awaited)
            except BaseException as error:  # noqa: BLE001 - it is for the one who waits inside
                resume, given = work.throw, error
    finally:
        work.close()
