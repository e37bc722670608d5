"""Missions and questions as the threads, states and runs of the LangGraph server. Pure: data in, data out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from chimera.core.contracts import ReviewItem
from chimera.core.ids import derived_id
from chimera.nodes.ending import FINAL
from chimera.review.inbox.hitl_request import hitl_request
from chimera.review.inbox.human_interrupt import human_interrupts
from chimera.review.work import Card
from chimera.server.langgraph_api.asked import Format

MISSION, REVIEW = "mission", "review"
_OF_MISSION = {"running": "busy", "waiting": "interrupted", "failed": "error", "rejected": "error"}
_OF_RUN = {"busy": "running", "interrupted": "interrupted", "error": "error", "idle": "success"}


def assistant_id(graph: str) -> str:
    """The id of the assistant of a graph."""
    return derived_id("assistant", graph)


def interrupts_of(items: Sequence[ReviewItem], form: Format) -> list[dict[str, Any]]:
    """Open questions as interrupts: the id of each is that of its question."""
    shown = [human_interrupts([item]) if form == "human_interrupt" else hitl_request([item]) for item in items]
    return [{"id": item.id, "value": value} for item, value in zip(items, shown, strict=True)]


def thread_of_mission(row: dict[str, Any], items: Sequence[ReviewItem], form: Format) -> dict[str, Any]:
    """A mission as a thread. It is interrupted when it asks something that the caller may see."""
    mission_id, status = str(row["id"]), _OF_MISSION.get(str(row["status"]), "idle")
    if status == "interrupted" and not items:
        status = "busy"
    values = {"mission_id": mission_id, "status": str(row["status"]), "goal": row["goal"]}
    metadata = {"graph_id": MISSION, "assistant_id": assistant_id(MISSION)}
    return _thread(mission_id, (row["created_at"], row["updated_at"]), status, metadata, values, items, form)


def thread_of_question(card: Card, form: Format) -> dict[str, Any]:
    """A question as a thread of its own: an answer in it can be about nothing else."""
    item, waits = card.item, is_open(card)
    status = "interrupted" if waits else "busy" if card.state == "asked" and not card.passed else "idle"
    metadata = {"graph_id": REVIEW, "assistant_id": assistant_id(REVIEW), "mission_id": item.mission_id}
    metadata |= {"point": item.point.value, "kind": card.kind, "priority": round(card.priority.score, 4)}
    metadata |= {"version": card.version, "due_at": card.due_at.isoformat(), "claimed_by": card.claimed_by}
    times = (card.created_at, card.decided_at or card.created_at)
    return _thread(item.id, times, status, metadata, values_of_question(card), [item] if waits else [], form)


def values_of_question(card: Card) -> dict[str, Any]:
    """What a question says, and what was answered."""
    decision = card.decision.plain() if card.decision is not None else None
    return {"question": card.item.plain(), "state": card.state, "decision": decision}


def is_open(card: Card) -> bool:
    """Whether a question can be answered."""
    return card.state == "open" and not card.passed


def _thread(
    thread_id: str,
    times: tuple[datetime, datetime],
    status: str,
    metadata: dict[str, Any],
    values: dict[str, Any],
    items: Sequence[ReviewItem],
    form: Format,
) -> dict[str, Any]:
    return {
        "thread_id": thread_id,
        "created_at": times[0].isoformat(),
        "updated_at": times[1].isoformat(),
        "state_updated_at": times[1].isoformat(),
        "metadata": metadata,
        "status": status,
        "config": {},
        "values": values,
        "interrupts": {one["id"]: [one] for one in interrupts_of(items, form)},
    }


def state_of(thread: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The present state of a thread. The checkpoint of a question is its version; a mission shows none of its own."""
    version = thread["metadata"].get("version")
    asked: list[dict[str, Any]] = [one for each in thread["interrupts"].values() for one in each]
    empty = {"error": None, "checkpoint": None, "state": None, "result": None}
    return {
        "values": values,
        "next": [REVIEW] if asked else [],
        "tasks": [{"id": one["id"], "name": REVIEW, "path": [], "interrupts": [one], **empty} for one in asked],
        "interrupts": asked,
        "metadata": thread["metadata"],
        "created_at": thread["updated_at"],
        "checkpoint": {
            "thread_id": thread["thread_id"],
            "checkpoint_ns": "",
            "checkpoint_id": str(version) if version is not None else thread["updated_at"],
            "checkpoint_map": None,
        },
        "parent_checkpoint": None,
    }


def run_of(thread: dict[str, Any], run_id: str, **said: Any) -> dict[str, Any]:
    """A run on a thread. What a mission does after an answer is not another run."""
    ended_by_hand = thread["values"].get("status") == "cancelled"
    return {
        "run_id": run_id,
        "thread_id": thread["thread_id"],
        "assistant_id": thread["metadata"]["assistant_id"],
        "created_at": thread["created_at"],
        "updated_at": thread["updated_at"],
        "status": "interrupted" if ended_by_hand else _OF_RUN[thread["status"]],
        "metadata": said,
        "kwargs": {},
        "multitask_strategy": "reject",
    }


def begun_by(thread_id: str) -> str:
    """The id of the run that began a thread, for nothing is kept of runs besides what they began and answered."""
    return derived_id("run", thread_id)


def answered_by(item_id: str) -> str:
    """The id of the run that answered a question."""
    return derived_id("answer", item_id)


def has_ended(row: dict[str, Any]) -> bool:
    """Whether a mission has a result."""
    return row["status"] in FINAL
