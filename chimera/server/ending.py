"""How a mission ends that its graph did not end."""

from chimera.core.contracts import MissionResult, MissionStatus, TaskResult
from chimera.core.errors import ModelFailed
from chimera.nodes.context import Context
from chimera.swarm import FINAL


async def end(mission_id: str, status: MissionStatus, reason: str, context: Context) -> None:
    """Record that a mission ended before it had an answer; what its tasks had finished is its result."""
    if (await context.missions.get(mission_id))["status"] in FINAL:
        return
    mission = await context.missions.context(mission_id)
    trail = await context.record(mission_id, mission, "mission.finished", "server", status=status, reasons=[reason])
    rows = await context.missions.tasks(mission_id)
    done = [TaskResult.model_validate(row["result"]) for row in rows if row["state"] == "done"]
    result = MissionResult(
        mission_id=mission_id,
        status=status,
        answer="\n\n".join(found.answer for found in done if found.answer),
        artifacts=[artifact for found in done for artifact in found.artifacts],
        evidence=[item for found in done for item in found.evidence],
        reasons=[reason],
        usage=await context.usage.total(mission_id),
        trail=trail,
    )
    await context.missions.finish(result)


async def why_stopped(mission_id: str, context: Context) -> ModelFailed:
    """Why a mission stopped that neither ended nor asks: no model answered the planner of a team."""
    trail = await context.audit.of_mission(mission_id)
    stopped = [event["data"] for event in trail if event["kind"] == "team.stopped"]
    return ModelFailed(f"team {stopped[-1]['team']} has no plan: {stopped[-1]['message']}" if stopped else None)
