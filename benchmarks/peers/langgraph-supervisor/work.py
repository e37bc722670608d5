"""LangGraph supervisor: a supervisor hands over to a worker and to a judge, and each hands back: six model calls."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.prebuilt import create_react_agent
from langgraph_supervisor import create_supervisor
from measured import Work, main
from simulated import JUDGE, WORKER, Simulated, search, task_of

SUPERVISOR = "Hand over to the worker, then to the judge, then say that it is done."


class Model(BaseChatModel):
    """The simulated model as a LangChain chat model; as a supervisor it hands over to one after the other."""

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
        found = str(last.content) if isinstance(last, ToolMessage) and last.name == "search" else None
        prompt = "\n".join(str(message.content) for message in messages)
        said = await self.simulated.say(self.role, prompt, found)
        call = ("search", dict(said.arguments)) if said.arguments else None
        if self.role == "supervisor":
            heard = {message.name for message in messages if isinstance(message, AIMessage)}
            left = [name for name in ("worker", "judge") if name not in heard]
            call = (f"transfer_to_{left[0]}", {}) if left else None
        calls = [ToolCall(name=call[0], args=call[1], id=f"call-{call[0]}")] if call else []
        return ChatResult(generations=[ChatGeneration(message=AIMessage(said.text, tool_calls=calls))])


def graph(simulated: Simulated) -> Any:
    """Supervisor -> worker -> supervisor -> judge -> supervisor."""
    models = {role: Model(simulated=simulated, role=role) for role in ("worker", "judge", "supervisor")}
    worker = create_react_agent(models["worker"], [tool(search)], prompt=WORKER, name="worker")
    judge = create_react_agent(models["judge"], [], prompt=JUDGE, name="judge")
    return create_supervisor([worker, judge], model=models["supervisor"], prompt=SUPERVISOR).compile()


@asynccontextmanager
async def opened(simulated: Simulated) -> AsyncGenerator[Work]:
    """The graph is compiled once."""
    compiled = graph(simulated)

    async def work(run: str) -> tuple[str, str]:
        done = await compiled.ainvoke({"messages": [HumanMessage(task_of(run))]})
        said = {
            message.name: str(message.content) for message in done["messages"] if not getattr(message, "tool_calls", 1)
        }
        return said["worker"], said["judge"]

    yield work


if __name__ == "__main__":
    main(opened)
