"""Live events: to listeners in this process at once, and through Redis to whoever watches from elsewhere.

Events may be lost, and nothing depends on them: what must last is in Postgres.
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


class EventBus:
    """Publishes the events of missions. A dead Redis costs the watchers elsewhere their view, and nothing else."""

    def __init__(self, redis: "Redis", clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._listeners: dict[str, set[asyncio.Queue[Event]]] = {}
        self._retry_at = 0.0

    async def publish(self, mission_id: str, kind: str, **data: Any) -> None:
        """Tell everybody who watches the mission."""
        event = Event(mission_id=mission_id, kind=kind, at=self._clock.now().isoformat(), data=as_stored(data))
        for queue in self._listeners.get(mission_id, ()):
            if not queue.full():  # a listener that does not read loses events, the mission loses no time
                queue.put_nowait(event)
        if self._clock.monotonic() < self._retry_at:
            return  # a Redis that hangs must not slow every step of every mission
        try:
            pipe = self._redis.pipeline(transaction=False)
            pipe.xadd(_key(mission_id), {"event": event.model_dump_json()}, maxlen=KEEP_EVENTS, approximate=True)
            pipe.expire(_key(mission_id), KEEP_S)
            await pipe.execute()
        except (RedisError, OSError) as error:
            log.warning("live events do not reach Redis: %s", type(error).__name__)
            self._retry_at = self._clock.monotonic() + PAUSE_S

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
