"""What a worker measures of its runs, and puts where `chimera top` finds it: at each heartbeat, a row for each part."""

from collections.abc import Callable, Sequence

from chimera.core.timing import Latencies
from chimera.store.checkpoints.group import Lease
from chimera.store.latencies import LatencyStore
from chimera.store.postgres import Pool
from chimera.store.runs import Claim


class Measuring:
    """The figures of one worker. ``now`` gives seconds."""

    def __init__(self, pool: Pool, now: Callable[[], float]) -> None:
        self.latencies = Latencies(now)
        self._store = LatencyStore(pool)
        self._told = False

    def claimed(self, claims: Sequence[Claim]) -> None:
        """Count how long runs waited until they were claimed first."""
        for claim in claims:
            if claim.attempts == 1:
                self.latencies.add(claim.pool, "queue", claim.waited_s)

    async def tell(self, lease: Lease) -> None:
        """Record what was measured; nothing where nothing was.

        Raises:
            StoreError: Postgres is away.
        """
        found = self.latencies.gathered()
        if found or self._told:
            await self._store.put(lease, found)
            self._told = bool(found)
