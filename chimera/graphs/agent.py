"""A leaf agent: worker -> guard -> (payment ->) tool -> guard -> worker ... -> conclude."""

from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from chimera.core.state import AgentState
from chimera.graphs.payment import build_payment
from chimera.graphs.review import build_review
from chimera.guards.edges import add_tool_edge, compile_guarded
from chimera.nodes.spend import after_propose, paid, propose
from chimera.nodes.worker import after_worker, conclude, worker


def build_agent(**options: Any) -> "CompiledStateGraph[Any, Any, Any, Any]":
    """The agent graph."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(AgentState)
    builder.add_node("worker", worker)
    builder.add_node("review", build_review())
    builder.add_node("conclude", conclude)
    builder.add_node("propose", propose)
    builder.add_node("payment", build_payment())
    builder.add_node("paid", paid)
    guard = add_tool_edge(builder, worker="worker", review="review", spend="propose")
    builder.add_edge(START, "worker")
    builder.add_conditional_edges("worker", after_worker, [guard, "worker", "conclude"])
    builder.add_conditional_edges("propose", after_propose, ["payment", "paid"])
    builder.add_edge("payment", "paid")
    builder.add_edge("paid", guard)
    builder.add_edge("conclude", END)
    return compile_guarded(builder, name="agent", **options)
