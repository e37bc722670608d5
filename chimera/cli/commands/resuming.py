"""``chimera resume``, ``amend``, ``history``, ``replay`` and ``fork``: going on, and going back."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from chimera.cli.attending import Showing, attend, conclude
from chimera.cli.commands.run import tell_handed_over
from chimera.cli.opening import open_swarm
from chimera.cli.options import Constraints, Events, Json, Mission, Quiet, Reviewer
from chimera.cli.running import Stop, run
from chimera.cli.view.output import emit, show, tell
from chimera.cli.view.text import line, short
from chimera.core.errors import CheckpointNotFound, InputError

if TYPE_CHECKING:
    from chimera.swarm import ChimeraSwarm

Goal = Annotated[str | None, typer.Option(metavar="TEXT", help="Another goal.")]
Persona = Annotated[str | None, typer.Option(metavar="TEXT", help="Another persona.")]


def resume_command(
    mission: Mission,
    deadline: Annotated[float | None, typer.Option(min=0.1, metavar="SECONDS", help="Time from now to answer.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Hand it to the fleet's workers, and end.")] = False,
    reviewer: Reviewer = None,
    quiet: Quiet = False,
    events: Events = False,
    json: Json = False,
) -> None:
    """Go on with a mission from its last checkpoint; finished tasks are not done again."""
    stop = Stop()
    if detach:
        run(_hand_over(mission, deadline, json))
        return
    run(resume(mission, Showing(reviewer, quiet, events, json), stop, deadline), stop)


async def resume(mission: str, showing: Showing, stop: Stop, deadline: float | None = None) -> None:
    """Attend a mission that was left, and show how it ended."""
    async with open_swarm() as swarm:
        mission_id = await swarm.app.context.missions.find(mission)
        goal = str((await swarm.app.context.missions.get(mission_id))["goal"])
        result = await attend(
            swarm,
            mission_id,
            lambda who: swarm.resume(mission_id, reviewer=who, deadline_s=deadline),
            showing,
            stop,
            goal=goal,
        )
        await conclude(swarm, result, showing)


async def _hand_over(mission: str, deadline: float | None, json: bool) -> None:
    async with open_swarm() as swarm:
        mission_id = await swarm.resubmit(await swarm.app.context.missions.find(mission), deadline_s=deadline)
    tell_handed_over(mission_id, json)


def amend_command(
    mission: Mission, goal: Goal = None, persona: Persona = None, constraints: Constraints = None, json: Json = False
) -> None:
    """Change what a running or waiting mission asks. What was made from the old request is planned anew."""
    changes = _changes(goal, persona, constraints)
    if not changes:
        raise InputError("nothing to change", remedy="Give --goal, --persona or --constraint.")
    run(_amend(mission, changes, json))


async def _amend(mission: str, changes: dict[str, Any], json: bool) -> None:
    async with open_swarm() as swarm:
        missions = swarm.app.context.missions
        mission_id = await missions.find(mission)
        asked = _changed(await missions.context(mission_id), changes)
        await swarm.amend(mission_id, asked)
    if json:
        emit({"mission_id": mission_id, "context_version": asked.context_version})
    else:
        tell(f"Mission {short(mission_id)} is amended. Results made before are planned anew when they come up.")
        tell(f"If nobody runs it: chimera resume {short(mission_id)}")


def history_command(mission: Mission, json: Json = False) -> None:
    """List the checkpoints of a mission, oldest first."""
    run(_history(mission, json))


async def _history(mission: str, json: bool) -> None:
    async with open_swarm() as swarm:
        mission_id = await swarm.app.context.missions.find(mission)
        found = await swarm.history(mission_id)
    if json:
        emit({"mission_id": mission_id, "checkpoints": [vars(item) for item in found]})
        return
    from chimera.cli.view.tables import checkpoints_table

    show(checkpoints_table(found))
    tell(f"\nchimera replay {short(mission_id)} --from CHECKPOINT   runs it again from there")
    tell(
        f"chimera fork {short(mission_id)} --from CHECKPOINT     starts another mission with what was finished by then"
    )


def replay_command(
    mission: Mission,
    checkpoint: Annotated[str, typer.Option("--from", metavar="CHECKPOINT", help="Id of a checkpoint of the mission.")],
    reviewer: Reviewer = None,
    quiet: Quiet = False,
    events: Events = False,
    json: Json = False,
) -> None:
    """Run a mission again from one of its checkpoints. Agents that had finished are not run again."""
    stop = Stop()
    run(_replay(mission, checkpoint, Showing(reviewer, quiet, events, json), stop), stop)


async def _replay(mission: str, checkpoint: str, showing: Showing, stop: Stop) -> None:
    async with open_swarm() as swarm:
        mission_id = await swarm.app.context.missions.find(mission)
        chosen = await _checkpoint(swarm, mission_id, checkpoint)
        result = await attend(
            swarm, mission_id, lambda who: swarm.replay(mission_id, chosen, reviewer=who), showing, stop
        )
        await conclude(swarm, result, showing)


def fork_command(
    mission: Mission,
    checkpoint: Annotated[
        str | None, typer.Option("--from", metavar="CHECKPOINT", help="Keep what was finished by it; default: all.")
    ] = None,
    goal: Goal = None,
    persona: Persona = None,
    constraints: Constraints = None,
    reviewer: Reviewer = None,
    quiet: Quiet = False,
    events: Events = False,
    json: Json = False,
) -> None:
    """Start another mission with what this one had finished. The old one stays as it is."""
    stop = Stop()
    changes = _changes(goal, persona, constraints)
    run(_fork(mission, checkpoint, changes, Showing(reviewer, quiet, events, json), stop), stop)


async def _fork(mission: str, checkpoint: str | None, changes: dict[str, Any], showing: Showing, stop: Stop) -> None:
    from chimera.core.ids import random_ids

    ids = random_ids()
    new_id = ids()
    given = iter([new_id])  # the swarm names the fork with its first id: known here, so that its events can be shown
    async with open_swarm(new_id=lambda: next(given, None) or ids()) as swarm:
        missions = swarm.app.context.missions
        mission_id = await missions.find(mission)
        chosen = await _checkpoint(swarm, mission_id, checkpoint) if checkpoint else None
        asked = _changed(await missions.context(mission_id), changes) if changes else None
        result = await attend(
            swarm, new_id, lambda who: swarm.fork(mission_id, chosen, mission=asked, reviewer=who), showing, stop
        )
        await conclude(swarm, result, showing, forked_from=mission_id)


async def _checkpoint(swarm: "ChimeraSwarm", mission_id: str, prefix: str) -> str:
    """The full id of the checkpoint that starts with ``prefix``.

    Raises:
        CheckpointNotFound: none does, or several do.
    """
    wanted = prefix.strip().lower()
    found = sorted({item.id for item in await swarm.history(mission_id) if item.id.startswith(wanted)})
    if wanted in found:
        return wanted
    if len(found) != 1 or not wanted:
        raise CheckpointNotFound(
            f"{'several checkpoints start' if found else 'no checkpoint starts'} with {line(prefix, 40)}"
        )
    return found[0]


def _changes(goal: str | None, persona: str | None, constraints: list[str] | None) -> dict[str, Any]:
    given: dict[str, Any] = {"goal": goal, "persona": persona, "constraints": constraints}
    return {name: value for name, value in given.items() if value is not None}


def _changed(before: Any, changes: dict[str, Any]) -> Any:
    from chimera.nodes.intake import read_mission

    return read_mission({**before.plain(), **changes})
