"""``chimera run``: the main job."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chimera.cli.attending import Showing, attend, conclude
from chimera.cli.opening import open_swarm
from chimera.cli.options import Constraints, Events, Json, Quiet, Reviewer, Tenant
from chimera.cli.running import Stop, run
from chimera.cli.view.output import emit, tell
from chimera.cli.view.text import line, short
from chimera.core.errors import FeedUnreadable, GoalInvalid, InputError

if TYPE_CHECKING:
    from chimera.core.contracts import Mission
    from chimera.core.settings import Settings
    from chimera.swarm import ChimeraSwarm

GOAL_READ_MAX = 1_000_000


def run_command(
    goal: Annotated[str, typer.Argument(metavar="GOAL", help="What is wanted, in plain words; - reads it from stdin.")],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", "-i", metavar="NAME=VALUE", help="Named material: a path, a URL or a value; repeatable."
        ),
    ] = None,
    feed: Annotated[
        str | None, typer.Option(metavar="FILE|URL", help="RSS, Atom, JSON, JSONL or CSV: the input named feed.")
    ] = None,
    persona: Annotated[str, typer.Option(metavar="TEXT", help="Who the agents speak as.")] = "",
    constraints: Constraints = None,
    budget: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help="The most it may cost, such as '0.50 USD'.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=0, metavar="N", help="The most tokens it may use.")] = None,
    deadline: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Time from start to answer; default 900.")
    ] = None,
    tenant: Tenant = "default",
    approve_plan: Annotated[bool, typer.Option("--approve-plan", help="Ask a human about the plan first.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Plan only: tasks, tools, cost. Nothing is executed.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Hand it to the fleet's workers, and end.")] = False,
    reviewer: Reviewer = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="offline, or PROVIDER:MODEL; default: the settings' model.")
    ] = None,
    quiet: Quiet = False,
    events: Events = False,
    json: Json = False,
) -> None:
    """Run a mission: plan it, work it with guarded tools, judge it, answer it.

    The answer comes on stdout, progress on stderr. A mission that is interrupted, or waits for a human, goes on later
    with `chimera resume`.
    """
    asked = read_mission(
        goal,
        inputs or [],
        feed,
        persona=persona,
        constraints=constraints or [],
        budget=_budget(budget, max_tokens),
        tenant=tenant,
        **({} if deadline is None else {"deadline_s": deadline}),
    )
    showing = Showing(reviewer, quiet, events, json)
    stop = Stop()
    if detach:
        run(_hand_over(asked, settings_for(model), json, approve_plan=approve_plan, dry_run=dry_run))
        return
    run(start(asked, settings_for(model), showing, stop, approve_plan=approve_plan, dry_run=dry_run), stop)


async def start(
    asked: "Mission", settings: "Settings", showing: Showing, stop: Stop, *, approve_plan: bool, dry_run: bool = False
) -> None:
    """Run a mission from its beginning and show how it ended."""
    check_models(settings)
    async with open_swarm(settings) as swarm:
        mission_id = swarm.app.context.new_id()
        result = await attend(
            swarm,
            mission_id,
            lambda reviewer: swarm.run(
                asked, mission_id=mission_id, reviewer=reviewer, approve_plan=approve_plan, dry_run=dry_run
            ),
            showing,
            stop,
            goal=asked.goal,
        )
        more = await show_estimate(swarm, mission_id, showing) if dry_run else {}
        await conclude(swarm, result, showing, **more)


async def _hand_over(asked: "Mission", settings: "Settings", json: bool, *, approve_plan: bool, dry_run: bool) -> None:
    async with open_swarm(settings) as swarm:
        mission_id = await swarm.submit(asked, approve_plan=approve_plan, dry_run=dry_run)
    tell_handed_over(mission_id, json)


def tell_handed_over(mission_id: str, json: bool) -> None:
    """Say that the fleet has a mission."""
    if json:
        emit({"mission_id": mission_id, "status": "running"})
    else:
        tell(f"The fleet has mission {short(mission_id)}; `chimera show {short(mission_id)}` tells how it goes.")


def read_mission(goal: str, pairs: list[str], feed: str | None = None, **fields: Any) -> "Mission":
    """The mission that the arguments describe, checked before anything is opened.

    Raises:
        GoalInvalid, FeedUnreadable, InputError: an argument cannot be used.
    """
    from pydantic import ValidationError

    from chimera.core.contracts import Mission

    inputs = dict(map(_pair, pairs))
    if feed is not None:
        inputs["feed"] = check_feed(feed)
    text = sys.stdin.read(GOAL_READ_MAX) if goal == "-" else goal
    if not text.strip():
        raise GoalInvalid("the goal is empty")
    try:
        return Mission.model_validate({"goal": text.strip(), "inputs": inputs, **fields})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "mission"
        kind = GoalInvalid if field == "goal" else InputError
        raise kind(f"{'.'.join(line(part, 80) for part in first['loc'])}: {first['msg']}") from None


def check_feed(feed: str) -> str:
    """The feed as the tools take it: a URL as it is, a file by its absolute path.

    Raises:
        FeedUnreadable: the file is not there or cannot be read.
    """
    if feed.startswith(("http://", "https://")):
        return feed
    try:
        path = Path(feed).expanduser().absolute()
        with path.open("rb") as reading:
            reading.read(1)
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or "not a path"
        raise FeedUnreadable(f"{line(feed, 200)}: {why}") from None
    return str(path)


def settings_for(model: str | None) -> "Settings":
    """The settings, with another model for all roles if one is named."""
    from chimera.core.settings import load_settings

    return load_settings() if model is None else load_settings(model=model, models={})


def check_models(settings: "Settings") -> None:
    """Set up every model once, so that a wrong name leaves no mission behind.

    Raises:
        ModelUnknown: a name means nothing, its package is missing, or its key is.
    """
    from chimera.core.settings import ROLES
    from chimera.models.choose import OFFLINE, choose_model

    for name in {settings.model_for(role) for role in ROLES} - {OFFLINE}:
        choose_model(name, settings)


async def show_estimate(swarm: "ChimeraSwarm", mission_id: str, showing: Showing) -> dict[str, Any]:
    """Show the plan of a dry run with its estimated cost; return it as it goes into the document."""
    from chimera.cli.view.estimate import expected, plans, show_plans

    found = plans((await swarm.describe(mission_id))["tasks"])
    estimate = expected(found, swarm.app.settings)
    if not showing.json:
        show_plans(found, estimate)
    return {"plans": {team: plan.plain() for team, plan in found.items()}, "estimate": estimate}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InputError(f"--input {line(text, 60)}: no name and value", remedy="Write --input NAME=VALUE.")
    return name, value


def _budget(amount: str | None, tokens: int | None) -> dict[str, Any]:
    if amount is None:
        return {"tokens": tokens}
    from chimera.core.money import Money

    return {"money": Money.parse(amount).model_dump(), "tokens": tokens}
