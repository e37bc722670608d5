"""Assistants: the graphs that clients may name. ``mission`` runs missions, ``review`` shows each question by itself."""

from importlib.metadata import version
from typing import Any

from chimera.core.contracts import MissionResult, ReviewDecision, ReviewItem
from chimera.server.asked import MissionAsked
from chimera.server.langgraph_api.asked import AssistantsAsked
from chimera.server.langgraph_api.views import MISSION, REVIEW, assistant_id

_SINCE = "2026-11-24T00:00:00+00:00"
_SAYS = {
    MISSION: "A goal, divided over teams, planned, worked, judged and answered.",
    REVIEW: "The questions that wait for a human, each in a thread of its own.",
}


def info() -> dict[str, Any]:
    """What this server is."""
    flags = {"assistants": True, "crons": False, "langsmith": False}
    return {"version": version("chimera-swarm"), "flags": flags, "host": {"kind": "chimera"}}


def assistant(graph: str) -> dict[str, Any]:
    """The assistant of a graph."""
    return {
        "assistant_id": assistant_id(graph),
        "graph_id": graph,
        "name": graph,
        "description": _SAYS[graph],
        "config": {},
        "context": {},
        "metadata": {"created_by": "system"},
        "version": 1,
        "created_at": _SINCE,
        "updated_at": _SINCE,
    }


def search(asked: AssistantsAsked) -> list[dict[str, Any]]:
    """The assistants that are asked for."""
    named = [graph for graph in (MISSION, REVIEW) if asked.graph_id in (None, graph)]
    found = [assistant(graph) for graph in named if asked.name is None or asked.name in graph]
    kept = [one for one in found if all(one["metadata"].get(key) == it for key, it in (asked.metadata or {}).items())]
    return kept[asked.offset : asked.offset + asked.limit]


def schemas(graph: str) -> dict[str, Any]:
    """What goes into a graph and what comes out."""
    if graph == MISSION:
        given, made = MissionAsked.model_json_schema(), MissionResult.model_json_schema()
    else:
        given, made = ReviewItem.model_json_schema(), ReviewDecision.model_json_schema()
    empty = {"type": "object", "properties": {}}
    shown = {"input_schema": given if graph == MISSION else empty, "output_schema": made, "state_schema": made}
    return {"graph_id": graph, **shown, "config_schema": empty, "context_schema": empty}
