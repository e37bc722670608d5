"""``chimera demo``: the main job on a small feed that ships with Chimera."""

from importlib import resources

from chimera.cli.attending import Showing, attend, conclude
from chimera.cli.commands.run import read_mission
from chimera.cli.opening import open_swarm
from chimera.cli.options import Events, Json, Quiet, Reviewer, Reviewing
from chimera.cli.running import Stop, run
from chimera.cli.view.output import interactive, tell
from chimera.cli.view.text import short

GOAL = "Find what is rising and write a short briefing with sources"
LABEL = "Sample data: the feed was written for this demonstration; its names and numbers are invented."


def demo_command(reviewer: Reviewer = None, quiet: Quiet = False, events: Events = False, json: Json = False) -> None:
    """Show the main job on a sample feed: no key, no network, no server of your own.

    You are asked about the plan; without a terminal a scripted reviewer answers, and says that it is one.
    """
    stop = Stop()
    who = reviewer or (Reviewing.ASK if interactive() and not json else Reviewing.SCRIPTED)
    run(_demo(Showing(who, quiet, events, json, notes=(LABEL,)), stop), stop)


async def _demo(showing: Showing, stop: Stop) -> None:
    from chimera.core.settings import load_settings

    with resources.as_file(resources.files("chimera.cli") / "sample" / "trending_sample.jsonl") as sample:
        asked = read_mission(GOAL, [], str(sample))
        if not showing.json and not showing.events:
            tell(f"Goal: {asked.goal}")
            tell(LABEL)
        # Nothing but our own rules and servers, whatever is configured: a demonstration calls nobody and costs nothing.
        settings = load_settings(model="offline", models={}, model_fallbacks=[], servers=None)
        async with open_swarm(settings) as swarm:
            mission_id = swarm.app.context.new_id()
            result = await attend(
                swarm,
                mission_id,
                lambda who: swarm.run(asked, mission_id=mission_id, reviewer=who, approve_plan=True),
                showing,
                stop,
                goal=asked.goal,
            )
            try:
                await conclude(swarm, result, showing, sample=True)
            finally:
                if not showing.json:
                    _next(result.mission_id, [item.name for item in result.artifacts])


def _next(mission_id: str, artifacts: list[str]) -> None:
    """What to try now."""
    given = short(mission_id)
    tries = [
        (f"chimera show {given}", "its plan, decisions, verdicts, cost and trail"),
        *([(f"chimera artifact get {given} {artifacts[0]}", "the briefing as a file")] if artifacts else []),
        ("chimera audit verify", "check the record that nobody can change unseen"),
        ('chimera run "Find what is rising …" --feed YOUR_FILE_OR_URL', "the same on a feed of yours"),
        ("chimera doctor", "what is used, and what is wrong"),
    ]
    wide = max(len(command) for command, _ in tries)
    tell("\nTry next:")
    for command, why in tries:
        tell(f"  {command.ljust(wide)}   {why}")
