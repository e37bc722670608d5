"""Tools: the servers of the mesh as this process finds them, those that are registered, and what of them is pinned."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from chimera.core.errors import InputError
from chimera.server.pages.boards import INSTALLATION, WATCH, require_shown
from chimera.server.pages.shell import Section, Shell
from chimera.server.pages.visitors import Visitor
from chimera.store.pins import PinStore
from chimera.tools.registry.registry import Registry

SECTION = Section("Tools", "/tools", WATCH, INSTALLATION)
LAST = 20


class ToolsPage:
    """Tool servers. Whatever they say of themselves is shown as text, and as theirs."""

    section: Section | None = SECTION

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        app = shell.app
        self._registry = Registry(app.pool, app.context.audit, app.context.clock)
        self._pins = PinStore(app.pool)

    def routes(self) -> Sequence[BaseRoute]:
        """What it answers."""
        read = self._shell.reading
        return [
            Route("/tools", read(self._listed), methods=["GET"]),
            Route("/tools/{server}", read(self._one), methods=["GET"]),
        ]

    async def _listed(self, request: Request, known: Visitor) -> Response:
        require_shown(SECTION, known)
        changes = [one for one in await self._pins.changes() if one["state"] == "proposed"]
        return self._shell.render(
            request,
            "tools.html",
            known,
            servers=self._shell.app.mesh.status(),
            registered=await self._registry.all(),
            changes=changes,
        )

    async def _one(self, request: Request, known: Visitor) -> Response:
        require_shown(SECTION, known)
        named = str(request.path_params["server"])
        found = next((one for one in await self._registry.all() if one.name == named), None)
        if found is None:
            raise InputError("no such server is registered", remedy="The page of tools lists them.")
        pins = {row["tool"]: row for row in await self._pins.rows(found.identity) if row["version"] == found.current}
        return self._shell.render(
            request,
            "tool_server.html",
            known,
            server=found,
            entry=found.entries[found.current],
            offered=await self._registry.store.capabilities(found.name, found.current),
            pins=pins,
            changes=(await self._pins.changes(found.identity))[:LAST],
        )
