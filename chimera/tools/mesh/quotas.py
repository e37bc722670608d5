"""How often a server may be called: by all together, by one agent, by one tenant. One budget of all processes."""

import asyncio

from chimera.core.contracts import Contract
from chimera.core.errors import ToolBusy
from chimera.models.limits import BURST_MS, Buckets, LocalBuckets
from chimera.tools.capability import Requester


class Quota(Contract):
    """Calls a minute; 0 is no limit."""

    per_minute: int = 0
    per_agent: int = 0
    per_tenant: int = 0


class Quotas:
    """Admits calls. Those that come too soon wait their time, up to their deadline."""

    def __init__(self, local: LocalBuckets, shared: Buckets | None = None) -> None:
        self._local = local
        self._shared = shared

    async def admit(self, server: str, quota: Quota, requester: Requester, until: float) -> None:
        """Wait for a turn, the narrowest limit first.

        Raises:
            ToolBusy: there is none before ``until``, in the event loop's time.
        """
        for rate, whose in (
            (quota.per_agent, f"agent:{requester.tenant}:{requester.agent}"),
            (quota.per_tenant, f"tenant:{requester.tenant}"),
            (quota.per_minute, "all"),
        ):
            if rate:
                await self._turn(f"{server}:{whose}", rate, until, f"{server} may be called {rate} times a minute")

    async def _turn(self, name: str, rate: int, until: float, limit: str) -> None:
        # A slow limit lets at least one call through at once; a fast one a burst.
        burst_ms = max(BURST_MS, 60_000 // rate)
        while (wait := await self._take(name, rate, burst_ms)) > 0:
            left = until - asyncio.get_running_loop().time()
            if wait >= left:
                raise ToolBusy(f"{limit}, and the next turn is in {wait:.0f} s", outcome="not done")
            await asyncio.sleep(wait)

    async def _take(self, name: str, rate: int, burst_ms: int) -> float:
        shared = await self._shared.take(name, rate, 0, 0, burst_ms) if self._shared is not None else None
        return await self._local.take(name, rate, 0, 0, burst_ms) or 0.0 if shared is None else shared
