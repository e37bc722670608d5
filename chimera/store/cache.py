"""Texts that are kept for a while in Redis and may be lost at any time."""

import logging

from redis.asyncio import Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)


class RedisCache:
    """A cache of all processes that use this Redis. Without Redis nothing is kept."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        self._prefix = prefix

    async def get(self, key: str) -> str | None:
        """What is kept under a key."""
        try:
            found = await self._redis.get(f"{self._prefix}:{key}")
        except (RedisError, OSError) as error:
            log.debug("nothing is read from the cache: %s", type(error).__name__)
            return None
        return found.decode("utf-8", "replace") if isinstance(found, bytes) else found

    async def put(self, key: str, text: str, seconds: float) -> None:
        """Keep a text for so long."""
        try:
            await self._redis.set(f"{self._prefix}:{key}", text, px=max(1, int(seconds * 1_000)))
        except (RedisError, OSError) as error:
            log.debug("nothing is put in the cache: %s", type(error).__name__)
