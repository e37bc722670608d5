"""``chimera ls``, ``show``, ``watch`` and ``cancel``: what there is, what it did, what it does, and its end."""

from typing import Annotated, Any

import typer

from chimera.cli.opening import open_records, open_swarm
from chimera.cli.options import Events, Json, Mission, Tenant
from chimera.cli.running import run
from chimera.cli.view.output import emit, show, tell
from chimera.cli.view.text import short


def ls_command(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000, help="How many.")] = 20,
    tenant: Tenant = "default",
    json: Json = False,
) -> None:
    """List the missions, newest first."""
    run(_ls(limit, tenant, json))


async def _ls(limit: int, tenant: str, json: bool) -> None:
    async with open_records() as records:
        rows = await records.missions.newest(tenant, limit)
    if json:
        emit({"missions": [{**row, "id": str(row["id"])} for row in rows]})
        return
    if not rows:
        tell("No missions yet. `chimera demo` runs one.")
        return
    from chimera.cli.view.tables import missions_table
    from chimera.cli.view.tree import status_of

    show(missions_table(rows))
    stopped = next((short(row["id"]) for row in rows if status_of(row) == "stopped"), None)
    if stopped:
        tell(f"Nobody runs a stopped mission: `chimera resume {stopped}` goes on with it.")


def show_command(mission: Mission, json: Json = False) -> None:
    """Show a mission: plan tree, guard decisions, verdicts, reviews, artifacts, cost and trail."""
    run(_show(mission, json))


async def _show(mission: str, json: bool) -> None:
    async with open_swarm() as swarm:
        mission_id = await swarm.app.context.missions.find(mission)
        found = await swarm.describe(mission_id)
        if json:
            emit(found)
            return
        from chimera.cli.view.mission import mission_view

        show(*mission_view(found, swarm.app.settings.home.absolute() / "artifacts"))


def cancel_command(mission: Mission, json: Json = False) -> None:
    """Stop a mission, wherever it runs. Its finished tasks stay, and `chimera resume` goes on with it."""
    run(_cancel(mission, json))


async def _cancel(mission: str, json: bool) -> None:
    async with open_swarm() as swarm:
        missions = swarm.app.context.missions
        mission_id = await missions.find(mission)
        stopped = await swarm.cancel(mission_id)
        status = str((await missions.get(mission_id))["status"])
    if json:
        emit({"mission_id": mission_id, "cancelled": stopped, "status": status})
    elif not stopped:
        tell(f"Mission {short(mission_id)} had ended before: {status}.")
    else:
        tell(f"Mission {short(mission_id)} is {'cancelled' if status == 'cancelled' else 'being cancelled'}.")


def watch_command(mission: Mission, events: Events = False) -> None:
    """Watch a mission that runs in another process, live, until it ends."""
    run(_watch(mission, events))


async def _watch(mission: str, events: bool) -> None:
    async with open_swarm() as swarm:
        from chimera.cli.attending import made_by
        from chimera.cli.view.follow import choose_view
        from chimera.cli.view.watching import watch

        mission_id = await swarm.app.context.missions.find(mission)
        row: dict[str, Any] = await swarm.app.context.missions.get(mission_id)
        view = choose_view(mission_id, made_by(swarm.app.settings), quiet=False, events=events, goal=row["goal"])
        status = await watch(swarm, mission_id, view)
    tell(f"mission {short(mission_id)}: {status}")
