"""LISTEN on a connection of its own: what others NOTIFY wakes whoever waits here.

A notification is a hint and may be lost, as it is while the connection is being made again; whoever waits for one looks
by itself now and then.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

import psycopg
from psycopg import sql

from chimera.core.errors import StoreError
from chimera.store.postgres import connect

log = logging.getLogger(__name__)
_PAUSE_S = 0.2
_PAUSE_MOST_S = 5.0
_CHECK_S = 30.0


class Listener:
    """Wakes those who wait for a notification of a channel with a text."""

    def __init__(self, url: str, channels: Sequence[str]) -> None:
        self._url = url
        self._channels = channels
        self._bells: dict[tuple[str, str], set[asyncio.Event]] = {}
        self._calls: dict[str, Callable[[str | None], None]] = {}

    @contextmanager
    def bell(self, channel: str, text: str = "") -> Generator[asyncio.Event]:
        """An event that is set by each notification that comes while the block lasts."""
        key, event = (channel, text), asyncio.Event()
        self._bells.setdefault(key, set()).add(event)
        try:
            yield event
        finally:
            self._bells[key].discard(event)
            if not self._bells[key]:
                del self._bells[key]

    @contextmanager
    def calls(self, channel: str, call: Callable[[str | None], None]) -> Generator[None]:
        """Call with the text of each notification while the block lasts; with None when some may have been lost."""
        self._calls[channel] = call
        try:
            yield
        finally:
            del self._calls[channel]

    async def listen(self) -> None:
        """Listen until cancelled, over one connection after the other."""
        pause = _PAUSE_S
        while True:
            try:
                await self._hear()
                pause = _PAUSE_S
            except (StoreError, psycopg.Error, OSError) as error:
                log.info("notifications are not heard for %.1f s: %s", pause, type(error).__name__)
            self._ring_all()  # something may have come in between
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSE_MOST_S)

    async def _hear(self) -> None:
        connection = await connect(self._url)
        try:
            for channel in self._channels:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            self._ring_all()
            while True:
                async for told in connection.notifies(timeout=_CHECK_S):
                    for event in self._bells.get((told.channel, told.payload), ()):
                        event.set()
                    if told.channel in self._calls:
                        self._calls[told.channel](told.payload)
                async with asyncio.timeout(_CHECK_S):
                    await connection.execute("SELECT 1")  # a connection that is gone is only noticed when it is used
        except TimeoutError as error:
            raise psycopg.OperationalError("the server does not answer") from error
        finally:
            with suppress(psycopg.Error):
                await connection.close()

    def _ring_all(self) -> None:
        for events in self._bells.values():
            for event in events:
                event.set()
        for call in self._calls.values():
            call(None)


@asynccontextmanager
async def open_listener(url: str, channels: Sequence[str]) -> AsyncGenerator[Listener]:
    """A listener that listens while the block lasts."""
    listener = Listener(url, channels)
    listening = asyncio.create_task(listener.listen())
    try:
        yield listener
    finally:
        listening.cancel()
        await asyncio.wait([listening])


async def heard(event: asyncio.Event, timeout_s: float) -> None:
    """Wait until the event is set, at most so long, and clear it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    event.clear()
