"""Who may ask a model provider next: its requests and tokens a minute are one budget of the whole fleet.

Whoever waits is served by priority; among equals the tenant that had the least so far is next. What a provider says
with 429 and ``Retry-After`` stops all processes for that long.
"""

import asyncio
import heapq
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from chimera.core.clock import Clock
from chimera.core.errors import ModelTimeout

BURST_MS = 5_000
"""How much of a minute's allowance may be used at once."""
PAUSE_S = 0.5
"""After a 429 that does not say for how long; twice as long after each that follows without an answer between."""
PAUSE_MOST_S = 300.0


class Buckets(Protocol):
    """What is left of each provider's allowance, shared by all processes."""

    async def take(self, name: str, requests: int, tokens: int, wanted: int, burst_ms: int) -> float | None:
        """Take one request and ``wanted`` tokens; seconds to wait, 0 when taken, None when nobody knows."""
        ...

    async def settle(self, name: str, tokens: int, more: int) -> None:
        """Correct what was taken."""
        ...

    async def pause(self, name: str, seconds: float) -> None:
        """Let nobody take anything for so long."""
        ...


class LocalBuckets:
    """The same for one process: without Redis, and where it does not answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full: dict[tuple[str, str], float] = {}
        self._paused: dict[str, float] = {}

    async def take(self, name: str, requests: int, tokens: int, wanted: int, burst_ms: int) -> float | None:
        """Take one request and ``wanted`` tokens, or say how long to wait."""
        now, burst = self._clock.monotonic(), burst_ms / 1_000
        wait = self._paused.get(name, 0.0) - now
        full: dict[tuple[str, str], float] = {}
        for part, rate, amount in (("requests", requests, 1), ("tokens", tokens, wanted)):
            if rate:
                cost, at = amount * 60 / rate, max(self._full.get((name, part), 0.0), now)
                wait = max(wait, at + min(cost, burst) - burst - now)
                full[name, part] = at + cost
        if wait > 0:
            return wait
        self._full.update(full)
        return 0.0

    async def settle(self, name: str, tokens: int, more: int) -> None:
        """Correct what was taken."""
        if (name, "tokens") in self._full:
            self._full[name, "tokens"] += more * 60 / tokens

    def paused(self, name: str) -> bool:
        """Whether nobody may take anything now."""
        return self._paused.get(name, 0.0) > self._clock.monotonic()

    async def pause(self, name: str, seconds: float) -> None:
        """Let nobody take anything for so long."""
        self._paused[name] = max(self._paused.get(name, 0.0), self._clock.monotonic() + seconds)


@dataclass(order=True)
class _Waiting:
    rank: tuple[int, float, int]
    tokens: int = field(compare=False)
    turn: "asyncio.Future[None]" = field(compare=False)


class ProviderLimits:
    """Admits the calls of one process, under limits that hold for all of them."""

    def __init__(self, limits: Mapping[str, tuple[int, int]], clock: Clock, shared: Buckets | None = None) -> None:
        """``limits``: requests and tokens a minute by the name of a model, or of its provider; 0 is no limit.

        Only what is named here is shared with other processes, and so is what a provider says of it.
        """
        self._limits = dict(limits)
        self._local = LocalBuckets(clock)
        self._shared = shared
        self._queues: dict[str, list[_Waiting]] = {}
        self._pumps: dict[str, asyncio.Task[None]] = {}
        self._had: dict[tuple[str, str], float] = {}
        self._served: dict[str, float] = {}
        self._refusals: dict[str, int] = {}
        self._number = itertools.count()

    async def admit(self, model: str, tokens: int, *, tenant: str, priority: int, within_s: float) -> None:
        """Return when the model may be asked with so many tokens.

        Raises:
            ModelTimeout: it was nobody's turn within ``within_s`` seconds.
        """
        name = self.limited_by(model)
        if name not in self._limits and name not in self._pumps and not self._local.paused(name):
            return
        queue = self._queues.setdefault(name, [])
        mine = _Waiting((-priority, self._share(name, tenant, tokens), next(self._number)), tokens, _future())
        heapq.heappush(queue, mine)
        if name not in self._pumps:
            self._pumps[name] = asyncio.create_task(self._pump(name))
        try:
            async with asyncio.timeout(within_s):
                await mine.turn
        except TimeoutError:
            raise ModelTimeout(f"{model}: no turn under its provider's limits within {within_s:g} s") from None

    async def settle(self, model: str, expected: int, actual: int) -> None:
        """Correct the tokens of a call that was admitted with ``expected`` ones, and answered."""
        name = self.limited_by(model)
        self._refusals.pop(name, None)
        tokens = self._limits.get(name, (0, 0))[1]
        if tokens and actual != expected:
            await self._local.settle(name, tokens, actual - expected)
            if self._shared is not None:
                await self._shared.settle(name, tokens, actual - expected)

    async def refused(self, model: str, error: BaseException) -> float:
        """The provider has said that it was too much: nobody asks for so many seconds, which are returned."""
        name = self.limited_by(model)
        before = self._refusals.get(name, 0)
        self._refusals[name] = before + 1
        seconds = min(retry_after(error, PAUSE_S * 2 ** min(before, 16)), PAUSE_MOST_S)
        await self._local.pause(name, seconds)
        if self._shared is not None and name in self._limits:
            await self._shared.pause(name, seconds)
        return seconds

    def limited_by(self, model: str) -> str:
        """The name whose limits hold for a model: its provider's, if only that has any, else its own."""
        provider = model.partition(":")[0]
        return provider if model not in self._limits and provider in self._limits else model

    def _share(self, name: str, tenant: str, tokens: int) -> float:
        """The tenant's place among equals, by start-time fair queueing (Goyal, Vin, Cheng 1996).

        It comes after what it has had, and not before who is being served: having asked for nothing earns nothing.
        """
        place = max(self._had.get((name, tenant), 0.0), self._served.get(name, 0.0))
        self._had[name, tenant] = place + max(tokens, 1)
        return place

    async def _pump(self, name: str) -> None:
        """Give turns, one after the other, as long as somebody waits."""
        queue, (requests, tokens) = self._queues[name], self._limits.get(name, (0, 0))
        try:
            while queue:
                if queue[0].turn.done():  # has given up
                    heapq.heappop(queue)
                    continue
                wait = await self._take(name, requests, tokens, queue[0].tokens)
                if wait > 0:
                    await asyncio.sleep(min(wait, 1.0))  # somebody more urgent may come meanwhile
                    continue
                first = heapq.heappop(queue)
                self._served[name] = max(self._served.get(name, 0.0), first.rank[1])
                if not first.turn.done():
                    first.turn.set_result(None)
        finally:
            del self._pumps[name]
            self._served.pop(name, None)  # nobody waits: the next ones are equals again
            self._had = {key: had for key, had in self._had.items() if key[0] != name}

    async def _take(self, name: str, requests: int, tokens: int, wanted: int) -> float:
        if self._shared is not None and name in self._limits:
            wait = await self._shared.take(name, requests, tokens, wanted, BURST_MS)
            if wait is not None:
                return wait
        return await self._local.take(name, requests, tokens, wanted, BURST_MS) or 0.0


def is_too_much(error: BaseException) -> bool:
    """Whether a provider said that it was asked too often."""
    return getattr(error, "status_code", None) == 429


def retry_after(error: BaseException, otherwise: float) -> float:
    """The seconds that a provider's error asks to wait (RFC 9110, section 10.2.3; ``retry-after-ms`` of some)."""
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        if headers.get("retry-after-ms"):
            return max(float(headers["retry-after-ms"]) / 1_000, 0.0)
        given = str(headers.get("retry-after") or "")
        if not given:
            return otherwise
        if given.strip().isdigit():
            return float(given)
        sent = parsedate_to_datetime(str(headers.get("date") or given))
        return max((parsedate_to_datetime(given) - sent).total_seconds(), otherwise)
    except (ValueError, TypeError, OverflowError, AttributeError):
        return otherwise


def _future() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()
