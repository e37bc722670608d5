"""Missions: begin, list, see, stop, and read what came of them."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response

from chimera.core.contracts import MissionResult
from chimera.core.errors import ConflictError
from chimera.guards.permissions.values import Entity, Uid
from chimera.guards.settling import ALIKE
from chimera.nodes.ending import FINAL
from chimera.server.api.cursors import cursor, place
from chimera.server.api.forms import (
    MissionAsked,
    MissionLine,
    MissionPage,
    MissionTold,
    Stored,
    TaskList,
    TaskTold,
)
from chimera.server.api.office import Here, Office, Who
from chimera.server.api.problems import responses
from chimera.server.callers import Caller
from chimera.server.desk import Run

WAIT_MAX_S = 20.0
_WAY = "rest"
_LOCATION = {"Location": {"description": "where the mission can be seen", "schema": {"type": "string"}}}
router = APIRouter(prefix="/missions", tags=["missions"])
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="the same request with the same key runs once, and gets the same mission",
    ),
]


@router.post("", status_code=202, responses={**responses(409), 202: {"headers": _LOCATION}})
async def begin_mission(
    asked: MissionAsked, office: Here, caller: Who, answer: Response, idempotency_key: Key = None
) -> MissionTold:
    """Begin a mission, and answer how far it is."""
    about: dict[str, Any] = {}
    run = Run(asked.mission(caller.tenant), 0.0, idempotency_key or "", asked.approve_plan, asked.dry_run)
    async with office.desk.recorded(caller, _WAY, "run_mission", about, reads=False):
        begun = await office.desk.run(caller, run, about)
    answer.headers["Location"] = f"/api/v1/missions/{begun['mission_id']}"
    return await _told(office, await office.app.context.missions.get(begun["mission_id"]))


@router.get("", responses=responses())
async def list_missions(
    office: Here,
    caller: Who,
    status: Stored | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(max_length=200, pattern=r"^[\x20-\x7e]+$", alias="cursor")] = None,
) -> MissionPage:
    """The missions of the tenant, newest first; a foreign agent's own."""
    own = caller.name if caller.kind == "peer" else None
    asker = {"asker": Uid("Peer", caller.name)} if own is not None else {}
    await office.desk.may(caller, "mission.read", Entity(Uid("Mission", ALIKE), {"tenant": caller.tenant, **asker}))
    rows = await office.app.context.missions.listed(
        caller.tenant, status=status, asked_by=own, before=place(after), limit=limit
    )
    more = cursor(rows[-1]["created_at"], rows[-1]["id"]) if len(rows) == limit else None
    return MissionPage(items=[MissionLine.model_validate(_line(row)) for row in rows], next=more)


@router.get("/{mission_id}", responses=responses())
async def show_mission(
    mission_id: UUID,
    office: Here,
    caller: Who,
    wait_s: Annotated[
        float, Query(ge=0, le=WAIT_MAX_S, description="answer when it has ended, or after so many seconds")
    ] = 0.0,
) -> MissionTold:
    """A mission as it stands; once it has ended, with its result."""
    await office.desk.mission(caller, "mission.read", str(mission_id))
    await office.keeper.wait(str(mission_id), wait_s)
    return await _told(office, await office.app.context.missions.get(str(mission_id)))


@router.get("/{mission_id}/tasks", responses=responses())
async def list_tasks(mission_id: UUID, office: Here, caller: Who) -> TaskList:
    """The tasks of a mission, by team, plan round and id."""
    await office.desk.mission(caller, "mission.read", str(mission_id))
    rows = await office.app.context.missions.tasks(str(mission_id))
    titles = await _titles(office, caller, str(mission_id), [str(row["title"]) for row in rows])
    return TaskList(items=[_task(row, title) for row, title in zip(rows, titles, strict=True)])


@router.get("/{mission_id}/result", responses=responses(409))
async def show_result(mission_id: UUID, office: Here, caller: Who) -> MissionResult:
    """What came of a mission that has ended; 409 while it has not."""
    row = await office.desk.mission(caller, "mission.read", str(mission_id))
    if row["status"] not in FINAL or not row["result"]:
        raise ConflictError(f"mission {mission_id} has not ended", remedy="Ask again later, or stop it.")
    return MissionResult.model_validate(row["result"])


@router.post("/{mission_id}/cancel", responses=responses(409))
async def cancel_mission(mission_id: UUID, office: Here, caller: Who) -> MissionTold:
    """Stop a mission; what its tasks had finished is its result."""
    about = {"mission_id": str(mission_id)}
    await office.desk.mission(caller, "mission.cancel", str(mission_id))
    async with office.desk.recorded(caller, _WAY, "cancel_mission", about, reads=False):
        await office.desk.cancel(caller, str(mission_id))
    return await _told(office, await office.app.context.missions.get(str(mission_id)))


async def _told(office: Office, row: dict[str, Any]) -> MissionTold:
    found = await office.desk.told(str(row["id"]))
    ended = row["status"] in FINAL and bool(row["result"])
    tasks = await office.app.context.missions.tasks(str(row["id"])) if ended else []
    count = {"planned": len(tasks), "done": sum(task["state"] == "done" for task in tasks)}
    return MissionTold.model_validate(
        {
            **_line(row),
            "status": found["status"],
            "tasks": found.get("tasks", count),
            "open_reviews": found["open_reviews"],
            "result": MissionResult.model_validate(row["result"]) if ended else None,
        }
    )


def _line(row: dict[str, Any]) -> dict[str, Any]:
    times = {name: row[name].isoformat() for name in ("created_at", "updated_at", "deadline_at")}
    return {"id": str(row["id"]), **{name: row[name] for name in ("goal", "status", "asked_by")}, **times}


def _task(row: dict[str, Any], title: str) -> TaskTold:
    verdict: dict[str, Any] = row["verdict"] or {}
    return TaskTold(
        team=row["team"],
        plan_round=row["plan_round"],
        id=row["id"],
        title=title,
        state=row["state"],
        attempt=row["attempt"],
        depends_on=[str(one) for one in row["plan"].get("depends_on", [])],
        confidence=verdict.get("confidence"),
        updated_at=row["updated_at"].isoformat(),
    )


async def _titles(office: Office, caller: Caller, mission_id: str, titles: list[str]) -> list[str]:
    """What agents called the tasks: to people as it is, to programs past the guards, or empty."""
    if caller.kind == "human" or not titles:
        return titles
    mission = await office.app.context.missions.context(mission_id)
    passed, _ = await office.desk.passed(caller, {"titles": titles}, mission_id, mission)
    found = list(passed["titles"]) if passed else []
    return [str(one) for one in found] if len(found) == len(titles) else [""] * len(titles)
