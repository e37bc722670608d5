"""A team: planner -> (review) -> dispatch -> agents -> judge -> commit -> dispatch | planner | review | report."""

from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from chimera.core.state import TeamReport, TeamState
from chimera.graphs.review import build_review
from chimera.guards.edges import compile_guarded
from chimera.nodes.agent import agent
from chimera.nodes.commit import commit
from chimera.nodes.dispatch import dispatch
from chimera.nodes.judge import judge
from chimera.nodes.planner import after_planner, planner
from chimera.nodes.report import report
from chimera.nodes.settle import settle


def build_team(**options: Any) -> "CompiledStateGraph[Any, Any, Any, Any]":
    """The team graph; the mission graph starts one for each team."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(TeamState, output_schema=TeamReport)
    builder.add_node("planner", planner)
    builder.add_node("review", build_review())
    builder.add_node("settle", settle)
    builder.add_node("dispatch", dispatch, destinations=("agent",))
    builder.add_node("agent", agent)
    builder.add_node("judge", judge)
    builder.add_node("commit", commit)
    builder.add_node("report", report)
    builder.add_edge(START, "planner")
    builder.add_conditional_edges("planner", after_planner, ["review", "dispatch", "report"])
    builder.add_edge("review", "settle")
    builder.add_edge("agent", "judge")
    builder.add_edge("judge", "commit")
    builder.add_edge("report", END)
    return compile_guarded(builder, name="team", **options)
