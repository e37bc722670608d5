"""From a mission that ended to a record of it: the result, the artifacts, the audit log, the tables."""

import asyncio
from pathlib import Path
from typing import Any

from chimera.core.contracts import MissionResult
from chimera.core.errors import ArtifactNotFound, AuditBroken
from chimera.core.settings import ROLES, Settings
from chimera.evals.cases import Case
from chimera.evals.desk import sent
from chimera.evals.record import ANSWER, Record
from chimera.models.choose import OFFLINE
from chimera.store.postgres import fetch
from chimera.swarm import ChimeraSwarm


async def observe(
    swarm: ChimeraSwarm, case: Case, mission_id: str, result: MissionResult | None, place: Path
) -> Record:
    """Collect what a mission left behind. Time, waiting and errors are added by whoever ran it."""
    context = swarm.app.context
    return Record(
        case=case,
        folder=place,
        mission_id=mission_id,
        status=str(result.status) if result else "error",
        result=result,
        documents=await _documents(swarm, mission_id, result),
        observations=await _observations(swarm, mission_id),
        events=await context.audit.of_mission(mission_id),
        model_calls=await _model_calls(swarm, mission_id),
        notices=await asyncio.to_thread(sent, place / "outbox.jsonl", mission_id),
        chain=await _broken_chain(swarm, tenant_of(case)),
        offline=plays_offline(swarm.app.settings),
    )


def tenant_of(case: Case) -> str:
    """Every case is a tenant of its own, with its own audit chain."""
    return f"eval-{case.id}"


def plays_offline(settings: Settings) -> bool:
    """Whether the offline rules plan and work; a role that a case scripts does not count."""
    return {settings.model_for("planner"), settings.model_for("worker")} == {OFFLINE}


def roles_played(settings: Settings) -> str:
    """The models in play, one name if all roles have the same: what a baseline is the baseline of."""
    names = {role: settings.model_for(role) for role in ROLES}
    if len(set(names.values())) == 1:
        return next(iter(names.values()))
    return ", ".join(f"{role}={name}" for role, name in names.items())


async def _documents(swarm: ChimeraSwarm, mission_id: str, result: MissionResult | None) -> dict[str, str]:
    found = {ANSWER: result.answer} if result and result.answer else {}
    for artifact in result.artifacts if result else []:
        try:
            _, data = await asyncio.to_thread(swarm.app.context.artifacts.read, mission_id, artifact.name)
        except ArtifactNotFound:
            continue  # the metric on artifacts notices
        found[artifact.name] = data.decode("utf-8", "replace")
    return found


async def _observations(swarm: ChimeraSwarm, mission_id: str) -> list[str]:
    tasks: list[dict[str, Any]] = await swarm.app.context.missions.tasks(mission_id)
    results: list[dict[str, Any]] = [task["result"] or {} for task in tasks]
    return [str(found["text"]) for result in results for found in result.get("observations", [])]


async def _model_calls(swarm: ChimeraSwarm, mission_id: str) -> list[int]:
    query = "SELECT tokens_in + tokens_out AS tokens FROM usage WHERE mission_id = %s ORDER BY at, id"
    return [int(row["tokens"]) for row in await fetch(swarm.app.pool, query, (mission_id,))]


async def _broken_chain(swarm: ChimeraSwarm, tenant: str) -> str:
    try:
        await swarm.app.context.audit.verify(tenant)
    except AuditBroken as error:
        return str(error)
    return ""
