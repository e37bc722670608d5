"""The fleet: what pools, agents and workers do now. Every tenant's agents share it, so it is for who runs it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from chimera.server.pages.boards import INSTALLATION, WATCH, require_shown
from chimera.server.pages.shell import Section, Shell
from chimera.server.pages.visitors import Visitor
from chimera.store.load import fleet_load

SECTION = Section("Fleet", "/fleet", WATCH, INSTALLATION)
STATES = ("planning", "working", "judging", "waiting", "sleeping", "quarantined")


class FleetPage:
    """Pools, agents by state, waits, workers."""

    section: Section | None = SECTION

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def routes(self) -> Sequence[BaseRoute]:
        """What it answers."""
        read = self._shell.reading
        return [
            Route("/fleet", read(self._whole), methods=["GET"]),
            Route("/fleet/now", read(self._now), methods=["GET"]),
        ]

    async def _whole(self, request: Request, known: Visitor) -> Response:
        return self._shell.render(request, "fleet.html", known, **await self._load(known))

    async def _now(self, request: Request, known: Visitor) -> Response:
        return self._shell.render(request, "fleet_now.html", known, **await self._load(known))

    async def _load(self, known: Visitor) -> dict[str, Any]:
        require_shown(SECTION, known)
        load = await fleet_load(self._shell.app.pool)
        agents, runs = Counter[str](), Counter[str]()
        for pool in load["pools"]:
            agents.update(pool["agents"])
            runs.update({name: pool[name] for name in ("running", "queued", "delayed", "waiting", "dead")})
        states = [*STATES, *sorted(set(agents) - set(STATES))]
        return {**load, "agents": [(state, agents[state]) for state in states], "runs": runs}
