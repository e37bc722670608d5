"""What the mesh does beside calls, once a second: sessions that nobody uses are ended, and failing endpoints shared."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from chimera.core.clock import Clock
from chimera.core.ids import digest
from chimera.core.settings import Settings
from chimera.tools.mesh.replicas import Replica, Replicas

TICK_S = 1.0


class Circuits(Protocol):
    """What all processes know of failing endpoints."""

    async def share(self, opened: Mapping[str, float]) -> dict[str, float]:
        """Tell what opened here, by endpoint with the seconds; learn what is open anywhere."""
        ...


class Upkeep:
    """The housekeeping of one mesh."""

    def __init__(
        self, servers: Sequence[Replicas], settings: Settings, clock: Clock, circuits: Circuits | None
    ) -> None:
        self._servers = servers
        self._settings = settings
        self._clock = clock
        self._circuits = circuits
        # Processes of stdio servers are our own: nobody else has to know of them.
        self._remote = {
            digest(one.url): server.replicas[place]
            for server in servers
            if server.spec.transport != "stdio"
            for place, one in enumerate(server.spec.endpoints())
        }

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self.end_idle()
            await self.share()

    def end_idle(self) -> None:
        """End the sessions that were not used for long, and the longest unused of too many."""
        now = self._clock.monotonic()
        idle: list[tuple[float, Replica]] = []
        up = 0
        for replica in (one for server in self._servers for one in server.replicas):
            up += replica.keeper.status().state in ("up", "starting")
            if (since := replica.keeper.idle_since) is not None:
                idle.append((since, replica))
        idle.sort(key=lambda one: one[0])
        for place, (since, replica) in enumerate(idle):
            if now - since >= self._settings.tool_idle_s or place < up - self._settings.tool_sessions_max:
                replica.keeper.rest()

    async def share(self) -> None:
        """Tell which circuits opened here, and open those that others opened."""
        if self._circuits is None or not self._remote:
            return
        opened = {name: seconds for name, one in self._remote.items() if (seconds := one.breaker.news()) is not None}
        for name, seconds in (await self._circuits.share(opened)).items():
            if (replica := self._remote.get(name)) is not None and name not in opened:
                replica.breaker.open_for(seconds)
