"""How a mission ends that its graph did not end."""

from chimera.core.contracts import MissionResult, MissionStatus, TaskResult
from chimera.core.errors import ChimeraError, ModelFailed, catalogue
from chimera.nodes.context import Context
from chimera.nodes.evidence import one_list

ANSWERED = (MissionStatus.DONE, MissionStatus.PARTIAL, MissionStatus.REJECTED)
FINAL = (*ANSWERED, MissionStatus.FAILED, MissionStatus.CANCELLED)


async def end(mission_id: str, status: MissionStatus, reason: str, context: Context, by: str) -> MissionResult:
    """End a mission from outside its graph, unless it has just ended; what its tasks had finished is its result.

    ``by`` names who ends it, for the audit log.
    """
    row = await context.missions.get(mission_id)
    if row["status"] in FINAL:
        return MissionResult.model_validate(row["result"])
    mission = await context.missions.context(mission_id)
    trail = await context.record(mission_id, mission, "mission.finished", by, status=status, reasons=[reason])
    rows = await context.missions.tasks(mission_id)
    done = [TaskResult.model_validate(row["result"]) for row in rows if row["state"] == "done"]
    answers, evidence = one_list([(found.answer, found.evidence) for found in done])
    result = MissionResult(
        mission_id=mission_id,
        status=status,
        answer="\n\n".join(filter(None, answers)),
        artifacts=[artifact for found in done for artifact in found.artifacts],
        evidence=evidence,
        reasons=[reason],
        usage=await context.usage.total(mission_id),
        trail=trail,
    )
    await context.missions.finish(result)
    return result


async def why_stopped(mission_id: str, context: Context) -> ChimeraError:
    """Why a mission stopped that neither ended nor asks: no model answered the planner of a team."""
    trail = await context.audit.of_mission(mission_id)
    stopped = [event["data"] for event in trail if event["kind"] == "team.stopped"]
    if not stopped:
        return ModelFailed()
    data = stopped[-1]
    kind = next((known for known in catalogue() if known.code == data["code"]), ModelFailed)
    return kind(f"team {data['team']}: {data['message']}", remedy=data["remedy"])
