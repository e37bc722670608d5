"""The same work on LangGraph alone: no guards, no record, no judge's rules, no budget; with a saver or without one."""

import random
from typing import Annotated, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from chimera.bench.fleet.leaf import SEARCH, found_text
from chimera.bench.fleet.model import CRITERION
from chimera.guards.edges import compile_guarded
from chimera.nodes.judge import Opinion
from chimera.nodes.prompts import prompt

_OFFERED = {
    "type": "function",
    "function": {"name": SEARCH.name, "description": SEARCH.description, "parameters": SEARCH.input_schema},
}


class State(TypedDict):
    """A conversation and its verdict."""

    messages: Annotated[list[AnyMessage], add_messages]
    approved: bool


def plain_graph(model: BaseChatModel, pick: random.Random, saver: Any = None) -> Any:
    """Worker -> tool -> worker -> conclude -> judge, with the model told of its tools once."""
    asking = model.bind_tools([_OFFERED])
    judging = model.with_structured_output(Opinion, method="function_calling")

    async def worker(state: State) -> dict[str, Any]:
        return {"messages": [await asking.ainvoke(state["messages"])]}

    async def tool(state: State) -> dict[str, Any]:
        calls = getattr(state["messages"][-1], "tool_calls", [])
        return {"messages": [ToolMessage(found_text(pick), tool_call_id=call["id"]) for call in calls]}

    async def conclude(state: State) -> dict[str, Any]:
        return {}

    async def judge(state: State) -> dict[str, Any]:
        asked = [
            SystemMessage(prompt("judge")),
            HumanMessage(f"{state['messages'][1].text}\n{CRITERION}\n{state['messages'][-1].text}"),
        ]
        opinion = await judging.ainvoke(asked)
        return {"approved": isinstance(opinion, Opinion) and all(check.passed for check in opinion.checks)}

    def after_worker(state: State) -> str:
        return "tool" if getattr(state["messages"][-1], "tool_calls", []) else "conclude"

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("worker", worker)
    builder.add_node("tool", tool)
    builder.add_node("conclude", conclude)
    builder.add_node("judge", judge)
    builder.add_edge(START, "worker")
    builder.add_conditional_edges("worker", after_worker, ["tool", "conclude"])
    builder.add_edge("tool", "worker")
    builder.add_edge("conclude", "judge")
    builder.add_edge("judge", END)
    return compile_guarded(builder, checkpointer=saver)


async def plain_run(graph: Any, name: str) -> bool:
    """One run; whether it was approved."""
    asked = [SystemMessage(prompt("worker")), HumanMessage(f"Search the notes for orders and prices. {name}")]
    how: dict[str, Any] = {"durability": "sync"} if graph.checkpointer else {}
    place: Any = {"configurable": {"thread_id": name}, "recursion_limit": 20}
    found = await graph.ainvoke({"messages": asked}, place, **how)
    return bool(found["approved"])
