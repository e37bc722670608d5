"""The super-orchestrator: divides a mission over teams."""

from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from chimera.core.contracts import Decision, Split
from chimera.core.errors import GuardRejected
from chimera.core.spotlight import Marks
from chimera.core.state import MissionState, Plain
from chimera.nodes.context import Context
from chimera.nodes.prompts import prompt

SHARED = ("mission_id", "mission", "approve_plan", "dry_run", "finished")


def shared(state: MissionState) -> Plain:
    """What every team gets of the mission's channels; its plans are numbered on from those of earlier teams."""
    rounds = [int(found["plan_round"]) for found in state.get("reports", list[Plain]())]
    return {**{key: value for key, value in state.items() if key in SHARED}, "plan_round": max(rounds, default=0)}


async def orchestrator(state: MissionState, runtime: Runtime[Context]) -> Command[str]:
    """Ask the orchestrator's model for the division and start every team; or end, when it may not be asked."""
    context, mission = runtime.context, state["mission"]
    request = {key: mission[key] for key in ("goal", "inputs", "persona", "constraints")}
    caller = context.caller(state["mission_id"], "orchestrator", mission, agent=f"orchestrator:{state['mission_id']}")
    messages = Marks.made(context.new_id).request(prompt("orchestrator"), request, {})
    try:
        split = await context.models.structured(caller, messages, Split)
    except GuardRejected as error:  # the mission ends as if its goal had been refused
        return Command(update={"refusal": Decision(action="reject", reasons=[str(error)]).plain()}, goto="finish")
    # Names are keys of threads and rows, so two teams must not share one.
    names = {brief.name for brief in split.teams}
    teams = [
        {"name": brief.name if len(names) == len(split.teams) else f"team-{place}", "goal": brief.goal}
        for place, brief in enumerate(split.teams, 1)
    ]
    await context.record(state["mission_id"], mission, "teams", "orchestrator", teams=[team["name"] for team in teams])
    return Command(update={"teams": teams}, goto=[Send("team", {**shared(state), "team": team}) for team in teams])
