"""One call of one tool: take -> agent (worker -> guard -> tool -> guard) -> conclude."""

from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from chimera.graphs.agent import build_agent
from chimera.guards.edges import compile_guarded
from chimera.nodes.calling import CallInput, CallState, conclude_call, take_call


def build_call(**options: Any) -> "CompiledStateGraph[Any, Any, Any, Any]":
    """The graph of a call. Its hop to the tool is the agents' own."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(CallState, input_schema=CallInput)
    builder.add_node("take", take_call, destinations=("agent", "conclude"))
    builder.add_node("agent", build_agent())
    builder.add_node("conclude", conclude_call)
    builder.add_edge(START, "take")
    builder.add_edge("agent", "conclude")
    builder.add_edge("conclude", END)
    return compile_guarded(builder, name="call", **options)
