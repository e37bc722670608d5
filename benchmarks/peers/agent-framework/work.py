"""Microsoft Agent Framework: a worker Agent with a tool, then a judge Agent, on a chat client of our own."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from agent_framework import (
    Agent,
    BaseChatClient,
    ChatMiddlewareLayer,
    ChatResponse,
    Content,
    FunctionInvocationLayer,
    Message,
)
from measured import Work, main
from simulated import JUDGE, WORKER, Simulated, run_in, search, task_of, to_judge


class Client(FunctionInvocationLayer[Any], ChatMiddlewareLayer[Any], BaseChatClient[Any]):
    """The simulated model as a chat client, with the layers of the framework's own clients but for telemetry."""

    def __init__(self, simulated: Simulated, role: str) -> None:
        super().__init__()
        self._simulated, self._role = simulated, role

    async def _inner_get_response(self, *, messages: Sequence[Message], **_: Any) -> ChatResponse:
        asked = next(message.text for message in messages if message.role == "user")
        last = messages[-1].contents[0]
        found = str(last.result) if last.type == "function_result" else None
        said = await self._simulated.say(self._role, asked, found)
        if said.arguments:
            contents = [Content.from_function_call(f"call-{run_in(asked)}", "search", arguments=dict(said.arguments))]
        else:
            contents = [Content.from_text(said.text)]
        return ChatResponse(messages=[Message(role="assistant", contents=contents)])


@asynccontextmanager
async def opened(simulated: Simulated) -> AsyncGenerator[Work]:
    """The agents are made once, as the documentation does."""
    worker = Agent(Client(simulated, "worker"), WORKER, name="worker", tools=[search])
    judge = Agent(Client(simulated, "judge"), JUDGE, name="judge")

    async def work(run: str) -> tuple[str, str]:
        answer = (await worker.run(task_of(run))).text
        return answer, (await judge.run(to_judge(run, answer))).text

    yield work


if __name__ == "__main__":
    main(opened)
