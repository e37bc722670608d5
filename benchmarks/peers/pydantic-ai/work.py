"""pydantic-ai: a worker Agent with a tool, then a judge Agent, handed over in code."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from measured import Work, main
from pydantic_ai import Agent, ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_ai.models import Model
from pydantic_ai.usage import RequestUsage
from simulated import JUDGE, WORKER, Simulated, search, task_of, to_judge


class OwnModel(Model):
    """The simulated model as a model of pydantic-ai."""

    def __init__(self, simulated: Simulated, role: str) -> None:
        super().__init__()
        self._simulated, self._role = simulated, role

    @property
    def model_name(self) -> str:
        return "simulated"

    @property
    def system(self) -> str:
        return "simulated"

    async def request(self, messages: list[ModelMessage], *_: Any) -> ModelResponse:
        asked = next(str(part.content) for part in messages[0].parts if isinstance(part, UserPromptPart))
        returns = [str(part.content) for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
        said = await self._simulated.say(self._role, asked, returns[0] if returns else None)
        call = ToolCallPart("search", dict(said.arguments), "call-1") if said.arguments else TextPart(said.text)
        return ModelResponse(parts=[call], usage=RequestUsage(input_tokens=400, output_tokens=60))


@asynccontextmanager
async def opened(simulated: Simulated) -> AsyncGenerator[Work]:
    """The agents are made once, as the documentation does."""
    worker = Agent(OwnModel(simulated, "worker"), instructions=WORKER, tools=[search])
    judge = Agent(OwnModel(simulated, "judge"), instructions=JUDGE)

    async def work(run: str) -> tuple[str, str]:
        answer = (await worker.run(task_of(run))).output
        return answer, (await judge.run(to_judge(run, answer))).output

    yield work


if __name__ == "__main__":
    main(opened)
