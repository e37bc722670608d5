"""A mission: intake (guard) -> orchestrator -> teams -> regroup -> finish -> guard_output."""

from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from chimera.core.state import MissionInput, MissionState
from chimera.graphs.team import build_team
from chimera.guards.edges import compile_guarded
from chimera.nodes.finish import finish, guard_output
from chimera.nodes.intake import intake
from chimera.nodes.orchestrator import orchestrator
from chimera.nodes.regroup import regroup


def build_mission(**options: Any) -> "CompiledStateGraph[Any, Any, Any, Any]":
    """The super-orchestrator's graph."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(MissionState, input_schema=MissionInput)
    builder.add_node("intake", intake)
    builder.add_node("orchestrator", orchestrator, destinations=("team", "finish"))
    builder.add_node("team", build_team())
    builder.add_node("regroup", regroup, destinations=("finish", "orchestrator", "team"))
    builder.add_node("finish", finish)
    builder.add_node("guard_output", guard_output, metadata={"guard": "output"}, destinations=("regroup",))
    builder.add_edge(START, "intake")
    builder.add_edge("team", "regroup")
    builder.add_edge("finish", "guard_output")
    builder.add_edge("guard_output", END)
    return compile_guarded(builder, name="mission", **options)
