"""Live events: to listeners in this process at once, and through Redis to whoever watches from elsewhere.

Events may be lost, and nothing depends on them: what must last is in Postgres. So nobody waits for Redis: what comes
while one batch is on its way goes with the next.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from chimera.core.clock import Clock
from chimera.core.contracts import Event
from chimera.core.errors import StoreUnavailable
from chimera.store.values import as_stored

log = logging.getLogger(__name__)
KEEP_EVENTS = 1_000
KEEP_S = 86_400
QUEUE_SIZE = 10_000
PAUSE_S = 10.0
_ADD = """
for place = 3, #ARGV do redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'event', ARGV[place]) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
"""
"""One command for the events of a mission, as each command costs this process more than the server."""


class EventBus:
    """Publishes the events of missions. A dead Redis costs the watchers elsewhere their view, and nothing else."""

    def __init__(self, redis: "Redis", clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._listeners: dict[str, set[asyncio.Queue[Event]]] = {}
        self._waiting: list[Event] = []
        self._sending: asyncio.Task[None] | None = None
        self._retry_at = 0.0

    async def publish(self, mission_id: str, kind: str, **data: Any) -> None:
        """Tell everybody who watches the mission: those in this process now, the others soon."""
        event = Event(mission_id=mission_id, kind=kind, at=self._clock.now().isoformat(), data=as_stored(data))
        for queue in self._listeners.get(mission_id, ()):
            if not queue.full():  # a listener that does not read loses events, the mission loses no time
                queue.put_nowait(event)
        if self._clock.monotonic() < self._retry_at or len(self._waiting) >= QUEUE_SIZE:
            return  # a Redis that hangs must not slow or fill a process
        self._waiting.append(event)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_all())

    async def ping(self) -> None:
        """Return when Redis answers.

        Raises:
            StoreUnavailable: it does not.
        """
        try:
            await cast("Any", self._redis).ping()
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis cannot be reached: {type(error).__name__}") from error

    async def flush(self) -> None:
        """Return when everything published so far has reached Redis, or was given up."""
        while self._sending is not None:
            await asyncio.wait([self._sending])

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._send(batch)
        finally:
            self._sending = None

    async def _send(self, batch: list[Event]) -> None:
        written: dict[str, list[str]] = {}
        for event in batch:
            written.setdefault(event.mission_id, []).append(event.model_dump_json())
        pipe = self._redis.pipeline(transaction=False)
        for mission_id, events in written.items():
            pipe.eval(_ADD, 1, _key(mission_id), KEEP_EVENTS, KEEP_S, *events)
        try:
            await pipe.execute()
        except (RedisError, OSError) as error:
            log.warning("live events do not reach Redis: %s", type(error).__name__)
            self._retry_at = self._clock.monotonic() + PAUSE_S
            self._waiting.clear()

    @asynccontextmanager
    async def listen(self, mission_id: str) -> AsyncGenerator[asyncio.Queue[Event]]:
        """Receive the events of a mission that runs in this process, from now on."""
        queue: asyncio.Queue[Event] = asyncio.Queue(QUEUE_SIZE)
        self._listeners.setdefault(mission_id, set()).add(queue)
        try:
            yield queue
        finally:
            self._listeners[mission_id].discard(queue)
            if not self._listeners[mission_id]:
                del self._listeners[mission_id]

    async def watch(self, mission_id: str) -> AsyncGenerator[Event]:
        """Receive the events of a mission that runs anywhere: those kept, then new ones, without end.

        Raises:
            StoreUnavailable: Redis failed.
        """
        last = "0"
        while True:
            try:
                found: Any = await self._redis.xread({_key(mission_id): last}, block=1_000, count=100)
            except (RedisError, OSError) as error:
                raise StoreUnavailable(f"Redis cannot be reached: {type(error).__name__}") from error
            for _, entries in cast("list[tuple[bytes, list[tuple[str, dict[bytes, bytes]]]]]", found or []):
                for place, fields in entries:
                    last = place
                    yield Event.model_validate(json.loads(fields[b"event"]))


def _key(mission_id: str) -> str:
    return f"chimera:events:{mission_id}"
