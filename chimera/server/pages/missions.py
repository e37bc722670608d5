"""Missions: those of the tenant, and one as a tree of teams and tasks that renews itself while it runs."""

import asyncio
import json
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from chimera.commerce.of_mission import payments_of
from chimera.core.contracts import MissionStatus
from chimera.core.errors import InputError
from chimera.core.ids import digest
from chimera.nodes.ending import FINAL
from chimera.server.api.cursors import cursor, place
from chimera.server.desk import Desk, Run
from chimera.server.pages.beginning import begun_by
from chimera.server.pages.shell import HEADERS, Section, Shell
from chimera.server.pages.visitors import Visitor

SHOWN, EVENTS = 50, 200
_FIELD_MAX = 200_000
_WAY = "page"


class MissionsPage:
    """The missions of the visitor's tenant."""

    section: Section | None = Section("Missions", "/missions")

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._context = shell.app.context
        self._desk = Desk(shell.app, shell.keeper)

    def routes(self) -> Sequence[BaseRoute]:
        """What it answers."""
        read, change = self._shell.reading, self._shell.changing
        return [
            Route("/missions", read(self._listed), methods=["GET"]),
            Route("/missions", change(self._begin), methods=["POST"]),
            Route("/missions/{mission}", read(self._one), methods=["GET"]),
            Route("/missions/{mission}/now", read(self._now), methods=["GET"]),
            Route("/missions/{mission}/cancel", change(self._cancel), methods=["POST"]),
        ]

    async def _listed(self, request: Request, known: Visitor) -> Response:
        status, before = request.query_params.get("status") or None, request.query_params.get("before") or None
        if status is not None and status not in list(MissionStatus):
            raise InputError(f"no mission is ever {status[:40]!r}")
        rows = await self._context.missions.listed(known.tenant, status=status, before=place(before), limit=SHOWN)
        further = cursor(rows[-1]["created_at"], rows[-1]["id"]) if len(rows) == SHOWN else None
        shown: dict[str, Any] = {"rows": rows, "chosen": status, "before": before, "further": further}
        return self._shell.render(request, "missions.html", known, statuses=list(MissionStatus), **shown)

    async def _begin(self, request: Request, known: Visitor) -> Response:
        form, about = await request.form(max_files=0, max_fields=20, max_part_size=_FIELD_MAX), dict[str, Any]()
        mission = begun_by({name: str(value) for name, value in form.items()}, known.tenant)
        run = Run(mission, 0.0, approve_plan=form.get("approve_plan") == "1")
        async with self._desk.recorded(known.caller, _WAY, "run_mission", about, reads=False):
            begun = await self._desk.run(known.caller, run, about)
        return RedirectResponse(f"/missions/{begun['mission_id']}", 303, HEADERS)

    async def _cancel(self, request: Request, known: Visitor) -> Response:
        mission = request.path_params["mission"]
        await self._desk.mission(known.caller, "mission.cancel", mission)
        async with self._desk.recorded(known.caller, _WAY, "cancel_mission", {"mission_id": mission}, reads=False):
            await self._desk.cancel(known.caller, mission)
        return RedirectResponse(f"/missions/{mission}", 303, HEADERS)

    async def _one(self, request: Request, known: Visitor) -> Response:
        shown, mission_id = await self._shown(request, known), str(request.path_params["mission"])
        events = await self._context.audit.of_mission(mission_id)
        return self._shell.render(request, "mission.html", known, events=events[: -EVENTS - 1 : -1], **shown)

    async def _now(self, request: Request, known: Visitor) -> Response:
        """What changes of a mission; nothing where the page shows it already, so that what is open on it stays so."""
        shown = await self._shown(request, known)
        if request.query_params.get("mark") == shown["mark"]:
            return Response(status_code=204, headers=HEADERS)
        return self._shell.render(request, "mission_now.html", known, **shown)

    async def _shown(self, request: Request, known: Visitor) -> dict[str, Any]:
        """A mission with its tasks, questions, payments and cost.

        Raises:
            MissionNotFound: the visitor's tenant has none. GuardRejected: he may not see it.
        """
        mission_id = str(request.path_params["mission"])
        row = await self._desk.mission(known.caller, "mission.read", mission_id)
        context = self._context
        tasks, asked, usage, paid = await asyncio.gather(
            context.missions.tasks(mission_id),
            context.reviews.of_mission(mission_id),
            context.usage.total(mission_id),
            payments_of(self._shell.app.pool, mission_id),
        )
        told = [row["status"], row["updated_at"], usage.plain(), paid]
        told += [[one["id"], one["team"], one["state"], one["attempt"], one["updated_at"]] for one in tasks]
        told += [[one["id"], one["state"]] for one in asked]
        return {
            "row": row,
            "mission_id": mission_id,
            "teams": [(team, list(found)) for team, found in groupby(tasks, key=lambda one: one["team"])],
            "done": sum(one["state"] == "done" for one in tasks),
            "planned": len(tasks),
            "asked": asked,
            "usage": usage,
            "payments": paid,
            "result": row["result"] if row["status"] in FINAL and row["result"] else None,
            "ended": row["status"] in FINAL,
            "mark": digest(json.dumps(told, default=str))[:16],
        }
