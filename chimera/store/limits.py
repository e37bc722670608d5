"""What a model provider still allows in this minute, kept in Redis for all processes together.

Two buckets per provider, one of requests and one of tokens, as the generic cell rate algorithm (ITU-T I.371): what is
kept of each is the time at which it is full again. The clock is that of Redis, so that nobody's own clock matters.
"""

import logging
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from chimera.store.values import as_stored

log = logging.getLogger(__name__)
_KEEP_MS = 600_000

# KEYS: requests, tokens, pause. ARGV: requests and tokens a minute (0: no limit), tokens wanted, burst in ms.
# Returns the milliseconds to wait; 0 has taken what was wanted.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local pause = tonumber(redis.call('GET', KEYS[3]) or '0')
if pause > now then return pause - now end
local wait, full = 0, {}
for place = 1, 2 do
  local rate = tonumber(ARGV[place])
  if rate > 0 then
    local wanted = place == 1 and 1 or tonumber(ARGV[3])
    local burst = tonumber(ARGV[4])
    local cost = wanted * 60000 / rate
    local tat = math.max(tonumber(redis.call('GET', KEYS[place]) or '0'), now)
    -- More than ever fits waits for an empty bucket and leaves it in debt: refusing it for ever would help nobody.
    wait = math.max(wait, tat + math.min(cost, burst) - burst - now)
    full[place] = tat + cost
  end
end
if wait > 0 then return math.ceil(wait) end
for place, at in pairs(full) do redis.call('SET', KEYS[place], string.format('%.3f', at), 'PX', ARGV[5]) end
return 0
"""
# KEYS: tokens. ARGV: tokens a minute, tokens too few (negative: too many).
_SETTLE = """
local tat = tonumber(redis.call('GET', KEYS[1]) or '0')
if tat > 0 then
  local at = math.max(0, tat + tonumber(ARGV[2]) * 60000 / tonumber(ARGV[1]))
  redis.call('SET', KEYS[1], string.format('%.3f', at), 'PX', ARGV[3])
end
return 0
"""
# KEYS: pause. ARGV: milliseconds. A pause is made longer and never shorter.
_PAUSE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local till = now + tonumber(ARGV[1])
if till > tonumber(redis.call('GET', KEYS[1]) or '0') then redis.call('SET', KEYS[1], till, 'PX', ARGV[1]) end
return 0
"""


class RedisBuckets:
    """The buckets of every provider. Without Redis it answers None, and each process keeps its own."""

    def __init__(self, redis: Redis, prefix: str = "chimera:limit") -> None:
        self._redis = redis
        self._prefix = prefix

    async def take(self, name: str, requests: int, tokens: int, wanted: int, burst_ms: int) -> float | None:
        """Take one request and ``wanted`` tokens; the seconds to wait before asking again, 0 when they were taken.

        ``requests`` and ``tokens``: the limits per minute, 0 for none. ``burst_ms``: how much of a minute may be used
        at once. None: Redis cannot be asked.
        """
        keys = [self._key(name, part) for part in ("requests", "tokens", "pause")]
        found = await self._run(_TAKE, keys, requests, tokens, wanted, burst_ms, max(_KEEP_MS, 2 * burst_ms))
        return None if found is None else found / 1_000

    async def settle(self, name: str, tokens: int, more: int) -> None:
        """Correct what was taken once it is known: ``more`` tokens, or fewer if it is negative."""
        await self._run(_SETTLE, [self._key(name, "tokens")], tokens, more, _KEEP_MS)

    async def pause(self, name: str, seconds: float) -> None:
        """Nobody asks this provider for so long: it has said so."""
        await self._run(_PAUSE, [self._key(name, "pause")], max(int(seconds * 1_000), 1))

    def _key(self, name: str, part: str) -> str:
        return f"{self._prefix}:{as_stored(name)}:{part}"

    async def _run(self, script: str, keys: list[str], *arguments: Any) -> int | None:
        try:
            return int(await self._redis.register_script(script)(keys=keys, args=list(arguments)))
        except (RedisError, OSError) as error:
            log.warning("the limits of model providers are not shared: %s", type(error).__name__)
            return None
