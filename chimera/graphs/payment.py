"""A payment: refused, until payments are configured."""

from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from chimera.core.state import PaymentState
from chimera.guards.edges import compile_guarded
from chimera.nodes.pay import refuse_payment


def build_payment(**options: Any) -> "CompiledStateGraph[Any, Any, Any, Any]":
    """The payment graph."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(PaymentState)
    builder.add_node("guard_payment", refuse_payment, metadata={"guard": "payment"})
    builder.add_edge(START, "guard_payment")
    builder.add_edge("guard_payment", END)
    return compile_guarded(builder, name="payment", **options)
