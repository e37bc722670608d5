"""Intake: the goal passes its guard and the mission goes on the record."""

from typing import Any, Literal

from langgraph.config import get_config
from langgraph.runtime import Runtime
from langgraph.types import Command
from pydantic import ValidationError

from chimera.core.contracts import Mission
from chimera.core.errors import GoalInvalid
from chimera.core.invalid import first_problem
from chimera.core.state import MissionState
from chimera.guards.request import Edge, GuardRequest
from chimera.nodes.context import Context

_ASKED = ("goal", "inputs", "constraints", "persona")
"""What of a mission is in its user's own words."""


def read_mission(data: Any) -> Mission:
    """A mission from plain data.

    Raises:
        GoalInvalid: it is none; the message names the field.
    """
    try:
        return Mission.model_validate(data)
    except ValidationError as error:
        raise GoalInvalid(first_problem(error, "mission")) from None


async def intake(state: MissionState, runtime: Runtime[Context]) -> Command[Literal["orchestrator", "finish"]]:
    """Check the goal at the edge. The mission's id is the id of its thread."""
    context = runtime.context
    mission = read_mission(state.get("mission"))
    mission_id = str(get_config().get("configurable", {})["thread_id"])
    await context.missions.create(mission_id, mission)
    decision = await context.gateway.validate_request(
        "user",
        GuardRequest(
            edge=Edge.INTAKE,
            payload={key: asked for key, asked in mission.plain().items() if key in _ASKED},
            mission_id=mission_id,
            mission=mission,
        ),
    )
    if decision.payload is not None:
        mission = read_mission({**mission.plain(), **decision.payload})
        await context.missions.amend(mission_id, mission)
    update: dict[str, Any] = {"mission_id": mission_id, "mission": mission.plain()}
    if not decision:
        return Command(update={**update, "refusal": decision.plain()}, goto="finish")
    await context.record(mission_id, mission, "mission.started", "user", goal=mission.goal[:200])
    return Command(update=update, goto="orchestrator")
