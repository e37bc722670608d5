"""Going back: the checkpoints of a mission, replay from one of them, and forks that keep what was finished."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langgraph.constants import START, TASKS
from langgraph.types import Send

from chimera.commerce.of_mission import payments_of
from chimera.core.contracts import Mission
from chimera.core.errors import CheckpointNotFound
from chimera.core.state import Plain

if TYPE_CHECKING:
    from chimera.app import App


@dataclass(frozen=True)
class Checkpoint:
    """One saved state. ``place`` is empty for the mission itself, else names the team; ``next`` is what would run."""

    id: str
    at: str
    step: int
    place: str
    next: list[str]


async def history(app: "App", mission_id: str) -> list[Checkpoint]:
    """Every checkpoint of a mission and its teams, oldest first.

    Raises:
        MissionNotFound: there is no such mission.
    """
    mission_id = str((await app.context.missions.get(mission_id))["id"])
    found: list[Checkpoint] = []
    async for saved in app.saver.alist({"configurable": {"thread_id": mission_id}}):
        configurable: dict[str, Any] = saved.config.get("configurable") or {}
        found.append(
            Checkpoint(
                id=saved.checkpoint["id"],
                at=saved.checkpoint["ts"],
                step=int(saved.metadata.get("step", 0)),
                place=str(configurable.get("checkpoint_ns", "")),
                next=_next_nodes(saved.checkpoint["channel_values"]),
            )
        )
    return sorted(found, key=lambda checkpoint: checkpoint.id)


async def finished_by(app: "App", mission_id: str, checkpoint_id: str | None) -> dict[str, Plain]:
    """The task results that were approved when a checkpoint was made, by fingerprint; by now, without one.

    Raises:
        MissionNotFound: there is no such mission. CheckpointNotFound: it has no such checkpoint.
    """
    mission_id = str((await app.context.missions.get(mission_id))["id"])
    known = False
    finished: dict[str, Plain] = {}
    async for saved in app.saver.alist({"configurable": {"thread_id": mission_id}}):
        known = known or saved.checkpoint["id"] == checkpoint_id
        if checkpoint_id is None or saved.checkpoint["id"] <= checkpoint_id:  # the ids rise with time (UUID version 6)
            values = saved.checkpoint["channel_values"]
            finished = {**(values.get("finished") or {}), **finished}
    if checkpoint_id is not None and not known:
        raise CheckpointNotFound(f"mission {mission_id} has no checkpoint {checkpoint_id[:40]}")
    return finished


async def copy_artifacts(app: "App", source: str, target: str) -> None:
    """Give a fork the artifacts of the mission that it came from."""
    store = app.context.artifacts

    def copy() -> None:
        for artifact in store.list(source):
            stored, data = store.read(source, artifact.name)
            store.write(target, stored.name, data, stored.media_type)

    await asyncio.to_thread(copy)


async def describe(app: "App", mission_id: str) -> dict[str, Any]:
    """Everything about a mission as plain data: what was asked, planned, decided, made and used."""
    context = app.context
    mission_id = str((await context.missions.get(mission_id))["id"])
    attended = await context.missions.attended(mission_id)
    row = await context.missions.get(mission_id)
    artifacts = await asyncio.to_thread(context.artifacts.list, mission_id)
    return {
        "mission": {
            **row,
            "id": mission_id,
            "attended": attended,
            "asked": Mission.model_validate(row["mission"]).plain(),
        },
        "tasks": await context.missions.tasks(mission_id),
        "reviews": await context.reviews.of_mission(mission_id),
        "usage": (await context.usage.total(mission_id)).plain(),
        "trail": await context.audit.of_mission(mission_id),
        "artifacts": [artifact.plain() for artifact in artifacts],
        "payments": await payments_of(app.pool, mission_id),
    }


def _next_nodes(values: dict[str, Any]) -> list[str]:
    """The nodes that are sent for, and those whose trigger channels are set: ``branch:to:NODE`` and ``__start__``."""
    mark = "branch:to:"
    sends: list[Send] = values.get(TASKS) or []
    sent = [send.node for send in sends]
    return sorted([*sent, *(name.removeprefix(mark) for name in values if name.startswith(mark) or name == START)])
