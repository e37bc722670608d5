"""LlamaIndex workflows: a Workflow of agent, tool and judge steps around a function-calling LLM."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import FunctionTool
from measured import Work, main
from simulated import JUDGE, WORKER, Simulated, search, task_of, to_judge
from workflows import Workflow, step
from workflows.events import Event, StartEvent, StopEvent


class OwnModel(FunctionCallingLLM):
    """The simulated model as an LLM that calls functions."""

    simulated: Any
    role: str

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_function_calling_model=True, is_chat_model=True, model_name="simulated")

    async def achat(self, messages: Sequence[ChatMessage], **_: Any) -> ChatResponse:
        last = messages[-1]
        found = str(last.content) if last.role == "tool" else None
        said = await self.simulated.say(self.role, str(messages[1].content), found)
        calls = [dict(said.arguments)] if said.arguments else []
        return ChatResponse(
            message=ChatMessage(role="assistant", content=said.text, additional_kwargs={"tool_calls": calls})
        )

    def _prepare_chat_with_tools(self, tools: Any, chat_history: Any = None, **_: Any) -> dict[str, Any]:
        return {"messages": chat_history, "tools": [tool.metadata.to_openai_tool() for tool in tools]}

    def get_tool_calls_from_response(self, response: ChatResponse, **_: Any) -> list[ToolSelection]:
        calls = response.message.additional_kwargs["tool_calls"]
        return [ToolSelection(tool_id="call-1", tool_name="search", tool_kwargs=call) for call in calls]

    def chat(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    stream_chat = complete = stream_complete = chat

    async def acomplete(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    astream_chat = astream_complete = acomplete


class Asked(Event):
    """The agent is to go on with these messages."""

    run: str
    messages: list[Any]


class ToolCalled(Event):
    """The agent calls its tool."""

    run: str
    messages: list[Any]
    calls: list[Any]


class Answered(Event):
    """The agent is done."""

    run: str
    answer: str


class Flow(Workflow):
    """start -> agent -> tool -> agent -> judge."""

    def __init__(self, worker: OwnModel, judge: OwnModel) -> None:
        super().__init__(timeout=None)
        self.worker, self.judge, self.tool = worker, judge, FunctionTool.from_defaults(async_fn=search)

    @step
    async def start(self, event: StartEvent) -> Asked:
        messages = [ChatMessage(role="system", content=WORKER), ChatMessage(role="user", content=task_of(event.run))]
        return Asked(run=event.run, messages=messages)

    @step
    async def agent(self, event: Asked) -> ToolCalled | Answered:
        response = await self.worker.achat_with_tools([self.tool], chat_history=event.messages)
        calls = self.worker.get_tool_calls_from_response(response, error_on_no_tool_call=False)
        if calls:
            return ToolCalled(run=event.run, messages=[*event.messages, response.message], calls=calls)
        return Answered(run=event.run, answer=str(response.message.content))

    @step
    async def call(self, event: ToolCalled) -> Asked:
        results = [await self.tool.acall(**call.tool_kwargs) for call in event.calls]
        told = [ChatMessage(role="tool", content=result.content) for result in results]
        return Asked(run=event.run, messages=[*event.messages, *told])

    @step
    async def judging(self, event: Answered) -> StopEvent:
        asked = ChatMessage(role="user", content=to_judge(event.run, event.answer))
        response = await self.judge.achat([ChatMessage(role="system", content=JUDGE), asked])
        return StopEvent(result=(event.answer, str(response.message.content)))


@asynccontextmanager
async def opened(simulated: Simulated) -> AsyncGenerator[Work]:
    """One workflow, run many times."""
    flow = Flow(OwnModel(simulated=simulated, role="worker"), OwnModel(simulated=simulated, role="judge"))

    async def work(run: str) -> tuple[str, str]:
        return await flow.run(run=run)

    yield work


if __name__ == "__main__":
    main(opened)
