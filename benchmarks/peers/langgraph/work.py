"""Bare LangGraph: one StateGraph of agent, ToolNode and judge around a LangChain chat model. No checkpointer."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolCall, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from measured import Work, main
from simulated import JUDGE, WORKER, Simulated, search, task_of, to_judge


class Model(BaseChatModel):
    """The simulated model as a LangChain chat model."""

    simulated: Any
    role: str

    @property
    def _llm_type(self) -> str:
        return "simulated"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Runnable[Any, AIMessage]:
        return self.bind(tools=[convert_to_openai_tool(one) for one in tools], **kwargs)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        last = messages[-1]
        found = str(last.content) if isinstance(last, ToolMessage) else None
        said = await self.simulated.say(self.role, str(messages[1].content), found)
        calls = [ToolCall(name="search", args=dict(said.arguments), id="call-1")] if said.arguments else []
        return ChatResult(generations=[ChatGeneration(message=AIMessage(said.text, tool_calls=calls))])


class State(MessagesState):
    """What the agent and its tool say, and at last the judge."""

    run: str
    verdict: str


def graph(simulated: Simulated) -> Any:
    """Agent -> tools -> agent -> judge."""
    worker = Model(simulated=simulated, role="worker").bind_tools([tool(search)])
    judge = Model(simulated=simulated, role="judge")

    async def agent(state: State) -> dict[str, Any]:
        return {"messages": [await worker.ainvoke([SystemMessage(WORKER), *state["messages"]])]}

    async def judging(state: State) -> dict[str, Any]:
        asked = to_judge(state["run"], str(state["messages"][-1].content))
        return {"verdict": str((await judge.ainvoke([SystemMessage(JUDGE), HumanMessage(asked)])).content)}

    builder = StateGraph(State)
    builder.add_node("agent", agent)
    builder.add_node("tools", ToolNode([tool(search)]))
    builder.add_node("judge", judging)
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition, {"tools": "tools", END: "judge"})
    builder.add_edge("tools", "agent")
    builder.add_edge("judge", END)
    return builder.compile()


@asynccontextmanager
async def opened(simulated: Simulated) -> AsyncGenerator[Work]:
    """The graph is compiled once."""
    compiled = graph(simulated)

    async def work(run: str) -> tuple[str, str]:
        done = await compiled.ainvoke({"messages": [HumanMessage(task_of(run))], "run": run})
        return str(done["messages"][-1].content), done["verdict"]

    yield work


if __name__ == "__main__":
    main(opened)
