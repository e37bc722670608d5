"""Regroup: when the teams are back, whether what they made is still what the mission asks."""

from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from chimera.core.state import MissionState, Plain
from chimera.nodes.context import Context
from chimera.nodes.orchestrator import shared


async def regroup(state: MissionState, runtime: Runtime[Context]) -> Command[Literal["finish", "orchestrator", "team"]]:
    """Let the mission finish, unless it was changed after a team was done: then that team goes on.

    A team follows a change by itself while it works. When the goal changed that was divided over several teams, it is
    divided anew.
    """
    mission, teams = await runtime.context.missions.context(state["mission_id"]), state.get("teams", list[Plain]())
    reports = newest(state)
    stale = [team for team in teams if _version(reports, team) != mission.context_version]
    if len(teams) > 1 and mission.goal != state["mission"]["goal"]:
        return Command(update={"mission": mission.plain()}, goto="orchestrator")
    if stale:
        return Command(goto=[Send("team", {**shared(state), "team": team}) for team in stale])
    return Command(update={"made_from": mission.context_version}, goto="finish")


def newest(state: MissionState) -> list[Plain]:
    """The last report of each team, in the order of the teams."""
    reports = {found["team"]: found for found in state.get("reports", list[Plain]())}
    names = [team["name"] for team in state.get("teams", list[Plain]())] or list(reports)
    return [reports[name] for name in names if name in reports]


def _version(reports: list[Plain], team: Plain) -> str:
    return next((str(found["context_version"]) for found in reports if found["team"] == team["name"]), "")
