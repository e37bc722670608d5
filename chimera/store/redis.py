"""The client of Redis or Valkey, and its errors in the words of our error tree."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from redis import exceptions as failures
from redis.asyncio import Redis

from chimera.core.errors import StoreUnavailable
from chimera.store.values import reads_as_meant

log = logging.getLogger(__name__)
ANSWER_TIMEOUT_S = 5.0
_REFUSALS = (failures.AuthenticationError, failures.AuthorizationError)


def redis_client(url: str) -> Redis:
    """A client that has not connected yet.

    Raises:
        StoreUnavailable: ``url`` is no URL of a Redis.
    """
    client = None
    if url.startswith("unix:///") or reads_as_meant(url):  # a path alone holds no password, and may hold an @
        with suppress(ValueError, TypeError):
            client = Redis.from_url(url, socket_timeout=ANSWER_TIMEOUT_S, socket_connect_timeout=ANSWER_TIMEOUT_S)
    if client is None:
        # Raised where nothing is being handled: the parser quotes the URL with its password, and a cause would show it.
        raise StoreUnavailable(
            "the Redis URL cannot be read",
            remedy="Write CHIMERA_REDIS_URL as redis://USER:PASSWORD@HOST:PORT/NUMBER, and special characters of the "
            "password in percent-encoding (@ is %40, / is %2F).",
        )
    return client


@asynccontextmanager
async def open_redis(url: str) -> AsyncGenerator[Redis]:
    """A client of Redis or Valkey. That nothing answers is a warning: it holds only what may be lost.

    Raises:
        StoreUnavailable: ``url`` is no URL of a Redis, or what answers refuses us or is none.
    """
    client = redis_client(url)
    try:
        await _try(client)
        yield client
    finally:
        await client.aclose()


async def _try(client: Redis) -> None:
    try:
        await client.ping()
    except (failures.ConnectionError, failures.TimeoutError, OSError) as error:
        if any(isinstance(found, _REFUSALS) for found in (error, error.__cause__)):
            raise StoreUnavailable("Redis refuses the name or the password in its URL") from error
        log.warning("Redis cannot be reached (%s): live events are seen in this process only", type(error).__name__)
    except UnicodeError as error:
        raise StoreUnavailable("the host in the Redis URL is no host name") from error
    except failures.RedisError as error:
        raise StoreUnavailable(f"what answers at the Redis URL is no Redis: {type(error).__name__}") from error
