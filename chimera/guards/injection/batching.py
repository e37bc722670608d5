"""Texts of many agents scored together: what waits at the same moment is looked at as one sheet."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

from chimera.guards.injection.detector import Finding, InjectionDetector

BATCH_CHARS = 32_768
"""So much is scored at once, a few milliseconds' work; then other agents have their turn. A thread would cost more than
that: most of the work holds the interpreter. Only a longer text, of which nobody knows how long, goes to a thread."""

_Waiting = list[tuple[str, "asyncio.Future[Finding]"]]


class BatchedDetector:
    """A detector for coroutines. A text that was seen before is answered at once; new ones wait for each other.

    They wait until every coroutine that can run now has run, and no longer: alone, a text is scored right away.
    """

    def __init__(self, detector: InjectionDetector) -> None:
        self.detector = detector
        self._thread = ThreadPoolExecutor(1, "injection")  # one: two would only fight over the interpreter
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, _Waiting] = WeakKeyDictionary()

    async def score(self, text: str) -> Finding:
        """The finding on one text; never raises on any text."""
        known = self.detector.known(text)
        if known is not None:
            return known
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Finding] = loop.create_future()
        waiting = self._waiting.setdefault(loop, [])
        waiting.append((text, future))
        if len(waiting) == 1:
            loop.call_soon(self._start, loop)
        return await future

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        task = loop.create_task(self._answer_all(self._waiting.pop(loop)))
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)

    async def _answer_all(self, waiting: _Waiting) -> None:
        for batch in _batches(waiting):
            await self._answer(batch)
            await asyncio.sleep(0)

    async def _answer(self, batch: _Waiting) -> None:
        texts = [text for text, _ in batch]
        try:
            if sum(map(len, texts)) > BATCH_CHARS:
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(self._thread, self.detector.score_many, texts)
            else:
                found = self.detector.score_many(texts)
        except Exception as error:  # noqa: BLE001 - it goes to those who asked, whose guards then reject
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), finding in zip(batch, found, strict=True):
            if not future.done():  # else whoever asked has given up
                future.set_result(finding)


def _batches(waiting: _Waiting) -> Sequence[_Waiting]:
    batches: list[_Waiting] = [[]]
    size = 0
    for text, future in waiting:
        if batches[-1] and size + len(text) > BATCH_CHARS:
            batches.append([])
            size = 0
        batches[-1].append((text, future))
        size += len(text)
    return batches
