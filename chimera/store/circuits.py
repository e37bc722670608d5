"""Which endpoints of tool servers fail, as all processes together know it. Kept in Redis by the clock of Redis."""

import logging
from collections.abc import Mapping
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

# KEYS: a sorted set of endpoints by the time at which they may be tried again. ARGV: endpoint, milliseconds, ...
# Returns endpoint, milliseconds left, ... of all that rest now. A rest is made longer and never shorter.
_SHARE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for place = 1, #ARGV, 2 do redis.call('ZADD', KEYS[1], 'GT', now + tonumber(ARGV[place + 1]), ARGV[place]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local found = redis.call('ZRANGE', KEYS[1], 0, 999, 'WITHSCORES')
for place = 2, #found, 2 do found[place] = tonumber(found[place]) - now end
return found
"""


class RedisCircuits:
    """The open circuits of every process that uses this Redis."""

    def __init__(self, redis: Redis, key: str = "chimera:circuits") -> None:
        self._redis = redis
        self._key = key

    async def share(self, opened: Mapping[str, float]) -> dict[str, float]:
        """Tell which endpoints were found to fail, each with the seconds it rests; learn which rest now, and how long.

        Without Redis each process knows what it found itself: nothing more is learnt.
        """
        told: list[Any] = [part for name, seconds in opened.items() for part in (name, max(1, int(seconds * 1_000)))]
        try:
            found = await self._redis.register_script(_SHARE)(keys=[self._key], args=told)
        except (RedisError, OSError) as error:
            log.debug("the circuits of tool servers are not shared: %s", type(error).__name__)
            return {}
        each = iter(cast("list[bytes | int]", found))
        return {_text(name): int(left) / 1_000 for name, left in zip(each, each, strict=True)}


def _text(name: bytes | int) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
