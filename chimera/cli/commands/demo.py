"""``chimera demo``: the main job on a small feed that ships with Chimera."""

from importlib import resources
from typing import TYPE_CHECKING

from chimera.cli.attending import Showing, attend, conclude
from chimera.cli.commands.run import read_mission
from chimera.cli.opening import open_swarm
from chimera.cli.options import Events, Json, Quiet, Reviewer, Reviewing
from chimera.cli.running import Stop, run
from chimera.cli.view.output import interactive, tell
from chimera.cli.view.text import short

if TYPE_CHECKING:
    from chimera.swarm import ChimeraSwarm

GOAL = "Find what is rising and write a short briefing with sources"
BUYING = "Find what is rising and buy the report {url} and write a short briefing with sources"
REPORT = "/reports/teams"
LABEL = "Sample data: the feed was written for this demonstration; its names and numbers are invented."
MONEY = "Sample money: what is bought is paid for on a chain of this machine's own, in a token that is worth nothing."
NO_MONEY = "Nothing is bought: the local chain needs the extra 'commerce' (pip install 'chimera-swarm[commerce]')."


def demo_command(reviewer: Reviewer = None, quiet: Quiet = False, events: Events = False, json: Json = False) -> None:
    """Show the main job on a sample feed: no key, no network, no server of your own.

    It buys a report for the briefing, on a chain of this machine's own. You are asked about the plan and the payment;
    without a terminal a scripted reviewer answers, and says that it is one.
    """
    stop = Stop()
    who = reviewer or (Reviewing.ASK if interactive() and not json else Reviewing.SCRIPTED)
    pays = can_pay()
    run(_demo(Showing(who, quiet, events, json, notes=(LABEL, MONEY if pays else NO_MONEY)), stop, pays), stop)


def can_pay() -> bool:
    """Whether the packages of the local chain are installed."""
    from importlib.util import find_spec

    return all(find_spec(name) is not None for name in ("web3", "eth_tester", "eth_account", "x402"))


async def _demo(showing: Showing, stop: Stop, pays: bool) -> None:
    from chimera.core.settings import load_settings

    with resources.as_file(resources.files("chimera.cli") / "sample" / "trending_sample.jsonl") as sample:
        # Nothing but our own rules and servers, whatever is configured: a demonstration calls nobody and costs nothing.
        own = {"model": "offline", "models": {}, "model_fallbacks": [], "servers": None}
        settings = load_settings(**own, payments="local" if pays else "")
        if pays and not showing.json and not showing.events:
            tell("Opening a chain, a wallet and a shop on this machine …")
        async with open_swarm(settings) as swarm:
            asked = read_mission(_goal(swarm), [], str(sample))
            if not showing.json and not showing.events:
                tell(f"Goal: {asked.goal}")
                for note in showing.notes:
                    tell(note)
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


def _goal(swarm: "ChimeraSwarm") -> str:
    payments = swarm.app.context.payments
    sellers = payments.spending.sellers if payments is not None and payments.spending is not None else ()
    return BUYING.format(url=sellers[0] + REPORT) if sellers else GOAL


def _next(mission_id: str, artifacts: list[str]) -> None:
    """What to try now."""
    given = short(mission_id)
    tries = [
        (f"chimera show {given}", "its plan, decisions, verdicts, cost and trail"),
        *([(f"chimera artifact get {given} {artifacts[0]}", "the briefing as a file")] if artifacts else []),
        ("chimera ledger statement", "what was reserved, paid and given back"),
        ("chimera audit verify", "check the record that nobody can change unseen"),
        ('chimera run "Find what is rising …" --feed YOUR_FILE_OR_URL', "the same on a feed of yours"),
        ("chimera doctor", "what is used, and what is wrong"),
    ]
    wide = max(len(command) for command, _ in tries)
    tell("\nTry next:")
    for command, why in tries:
        tell(f"  {command.ljust(wide)}   {why}")
