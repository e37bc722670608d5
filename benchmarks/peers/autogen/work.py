"""AutoGen core: two routed agents on the single-threaded runtime, a worker with a FunctionTool and a judge it asks."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from autogen_core import (
    AgentId,
    CancellationToken,
    FunctionCall,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    message_handler,
)
from autogen_core.models import (
    AssistantMessage,
    ChatCompletionClient,
    CreateResult,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    ModelFamily,
    RequestUsage,
    SystemMessage,
    UserMessage,
)
from autogen_core.tools import FunctionTool
from measured import Work, main
from simulated import JUDGE, WORKER, Simulated, search, task_of, to_judge

USAGE = RequestUsage(prompt_tokens=400, completion_tokens=60)
INFO = {"vision": False, "function_calling": True, "json_output": True, "family": ModelFamily.UNKNOWN}


class Client(ChatCompletionClient):
    """The simulated model as a chat completion client."""

    def __init__(self, simulated: Simulated, role: str) -> None:
        self._simulated, self._role = simulated, role

    async def create(self, messages: list[LLMMessage], **_: Any) -> CreateResult:
        last = messages[-1]
        found = last.content[0].content if isinstance(last, FunctionExecutionResultMessage) else None
        said = await self._simulated.say(self._role, str(messages[1].content), found)
        if said.arguments:
            calls = [FunctionCall(id="call-1", name="search", arguments=json.dumps(said.arguments))]
            return CreateResult(finish_reason="function_calls", content=calls, usage=USAGE, cached=False)
        return CreateResult(finish_reason="stop", content=said.text, usage=USAGE, cached=False)

    def create_stream(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        return None

    def actual_usage(self) -> RequestUsage:
        return USAGE

    def total_usage(self) -> RequestUsage:
        return USAGE

    def count_tokens(self, messages: Any, **_: Any) -> int:
        return 400

    def remaining_tokens(self, messages: Any, **_: Any) -> int:
        return 100_000

    @property
    def capabilities(self) -> Any:
        return INFO

    @property
    def model_info(self) -> Any:
        return INFO


@dataclass
class Asked:
    """A run to work on."""

    run: str


@dataclass
class ToJudge:
    """An answer to judge."""

    run: str
    answer: str


@dataclass
class Judged:
    """An answer and the judge's words."""

    answer: str
    verdict: str


class Worker(RoutedAgent):
    """Asks its model and runs the tool until there is an answer, then asks the judge."""

    def __init__(self, client: ChatCompletionClient, tool: FunctionTool) -> None:
        super().__init__("worker")
        self._client, self._tool = client, tool

    @message_handler
    async def work(self, message: Asked, ctx: MessageContext) -> Judged:
        messages: list[LLMMessage] = [
            SystemMessage(content=WORKER),
            UserMessage(content=task_of(message.run), source="user"),
        ]
        while True:
            said = await self._client.create(messages, tools=[self._tool], cancellation_token=ctx.cancellation_token)
            if isinstance(said.content, str):
                break
            messages.append(AssistantMessage(content=said.content, source="worker"))
            results = [await self._run(call, ctx.cancellation_token) for call in said.content]
            messages.append(FunctionExecutionResultMessage(content=results))
        return await self.send_message(ToJudge(message.run, said.content), AgentId("judge", self.id.key))

    async def _run(self, call: FunctionCall, token: CancellationToken) -> FunctionExecutionResult:
        found = await self._tool.run_json(json.loads(call.arguments), token, call_id=call.id)
        words = self._tool.return_value_as_string(found)
        return FunctionExecutionResult(content=words, call_id=call.id, name=call.name, is_error=False)


class Judge(RoutedAgent):
    """Judges an answer."""

    def __init__(self, client: ChatCompletionClient) -> None:
        super().__init__("judge")
        self._client = client

    @message_handler
    async def judge(self, message: ToJudge, ctx: MessageContext) -> Judged:
        asked = UserMessage(content=to_judge(message.run, message.answer), source="worker")
        said = await self._client.create(
            [SystemMessage(content=JUDGE), asked], cancellation_token=ctx.cancellation_token
        )
        return Judged(message.answer, str(said.content))


@asynccontextmanager
async def opened(simulated: Simulated) -> AsyncGenerator[Work]:
    """One runtime; each run has agents of its own."""
    runtime = SingleThreadedAgentRuntime()
    tool = FunctionTool(search, description="Search the notes of this week.")
    await Worker.register(runtime, "worker", lambda: Worker(Client(simulated, "worker"), tool))
    await Judge.register(runtime, "judge", lambda: Judge(Client(simulated, "judge")))
    runtime.start()

    async def work(run: str) -> tuple[str, str]:
        judged = await runtime.send_message(Asked(run), AgentId("worker", run))
        return judged.answer, judged.verdict

    yield work
    await runtime.stop()


if __name__ == "__main__":
    main(opened)
