"""What changes while somebody looks: one event a tenth of a second at most, over server-sent events.

An event says that something is new, not what: the page asks again for what it shows, by the permissions of that moment.
So nothing is lost when a connection is, and the first event of a new connection makes up for what was missed.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from chimera.store.listening import open_listener

QUEUE = "chimera_queue"
APART_S = 0.1
AGAIN_MS = 1_000
"""After how long a browser connects again."""


class Live:
    """Tells all pages of this process that the queue of questions has changed."""

    def __init__(self) -> None:
        self._bells: set[asyncio.Event] = set()

    @asynccontextmanager
    async def open(self, url: str) -> AsyncGenerator[None]:
        """Listen to the database while the server runs."""
        async with open_listener(url, [QUEUE]) as listener:
            with listener.calls(QUEUE, self._ring):
                yield

    @contextmanager
    def bell(self) -> Generator[asyncio.Event]:
        """An event that is set whenever something may have changed."""
        event = asyncio.Event()
        self._bells.add(event)
        try:
            yield event
        finally:
            self._bells.discard(event)

    async def changes(self) -> AsyncGenerator[dict[str, str | int]]:
        """The events of one page."""
        number = 0
        with self.bell() as bell:
            while True:
                number += 1
                yield {"event": "queue", "id": str(number), "data": str(number), "retry": AGAIN_MS}
                await asyncio.sleep(APART_S)
                await bell.wait()
                bell.clear()

    def _ring(self, _told: str | None) -> None:
        for bell in self._bells:
            bell.set()
