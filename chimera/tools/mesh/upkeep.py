"""What the mesh does beside calls, once a second: ends unused sessions, shares failing endpoints, notes health."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from chimera.core.clock import Clock
from chimera.core.ids import digest
from chimera.core.settings import Settings
from chimera.tools.mesh.replicas import Replica, Replicas

TICK_S = 1.0
LATE_S = 10.0
"""After so long without one, the housekeeping counts as stopped."""
log = logging.getLogger(__name__)


class Circuits(Protocol):
    """What all processes know of failing endpoints."""

    async def share(self, opened: Mapping[str, float]) -> dict[str, float]:
        """Tell what opened here, by endpoint with the seconds; learn what is open anywhere."""
        ...


class HealthBook(Protocol):
    """Where it is written down which endpoints are well, for other processes and for people."""

    async def note(self, server: str, number: int, unhealthy: str) -> None:
        """An endpoint of a server, by its number, was found well (``unhealthy`` is empty) or not."""
        ...


class Upkeep:
    """The housekeeping of one mesh."""

    def __init__(
        self,
        servers: Sequence[Replicas],
        settings: Settings,
        clock: Clock,
        circuits: Circuits | None,
        health: HealthBook | None = None,
    ) -> None:
        self._health = health
        self._noted: dict[tuple[str, int], str] = {}
        self._ran_at = clock.monotonic()
        self._failing = ""
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

    @property
    def problem(self) -> str:
        """Why the housekeeping is not done; empty when it is."""
        late_s = self._clock.monotonic() - self._ran_at
        return self._failing or (f"it has not run for {late_s:.0f} s" if late_s > LATE_S else "")

    async def run(self) -> None:
        """Go on until cancelled, whatever goes wrong."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                self.end_idle()
                await self.share()
                await self.note()
            except Exception as error:  # the calls go on without it, but not unseen
                if not self._failing:
                    log.exception("the housekeeping of the tool servers fails, and goes on")
                self._failing = f"{type(error).__name__}: {error}"[:300]
            else:
                if self._failing:
                    log.warning("the housekeeping of the tool servers works again")
                self._failing = ""
                self._ran_at = self._clock.monotonic()

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

    async def note(self) -> None:
        """Write down which endpoints are no longer well, or are again, since this was last looked at."""
        if self._health is None:
            return
        for server in self._servers:
            for replica in server.replicas:
                status, which = replica.status(), (server.spec.name, replica.place)
                if status.state in ("up", "down") and self._noted.get(which) != status.unhealthy:
                    await self._health.note(*which, status.unhealthy)
                    self._noted[which] = status.unhealthy
