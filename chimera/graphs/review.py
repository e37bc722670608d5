"""One question to a human: open -> ask (interrupt) -> record, or ask again when the answer was nobody's to give.

What a reviewer asks back is explained by whoever did the work, and then the question is asked again.
"""

from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from chimera.core.state import ReviewState
from chimera.guards.edges import compile_guarded
from chimera.nodes.explain import explain
from chimera.nodes.review import after_ask, after_record, ask_human, open_question, record_answer


def build_review(**options: Any) -> "CompiledStateGraph[Any, Any, Any, Any]":
    """The review graph; it is a node of the graphs that ask."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(ReviewState)
    builder.add_node("open", open_question)
    builder.add_node("ask", ask_human)
    builder.add_node("explain", explain)
    builder.add_node("record", record_answer)
    builder.add_edge(START, "open")
    builder.add_edge("open", "ask")
    builder.add_conditional_edges("ask", after_ask, ["record", "explain"])
    builder.add_edge("explain", "ask")
    builder.add_conditional_edges("record", after_record, ["ask", END])
    return compile_guarded(builder, name="review", **options)
