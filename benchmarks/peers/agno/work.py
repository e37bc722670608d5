"""Agno: a worker Agent with a tool, then a judge Agent. No database, telemetry off."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from agno.agent import Agent
from agno.models.base import Model
from agno.models.message import Message
from agno.models.response import ModelResponse
from measured import Work, main
from simulated import JUDGE, WORKER, Simulated, run_in, search, task_of, to_judge


@dataclass
class OwnModel(Model):
    """The simulated model as a model of Agno."""

    id: str = "simulated"
    simulated: Any = None
    role: str = ""

    async def ainvoke(self, messages: list[Message], **_: Any) -> ModelResponse:
        asked = next(str(message.content) for message in messages if message.role == "user")
        last = messages[-1]
        said = await self.simulated.say(self.role, asked, str(last.content) if last.role == "tool" else None)
        if not said.arguments:
            return ModelResponse(role="assistant", content=said.text)
        function = {"name": "search", "arguments": json.dumps(said.arguments)}
        call = {"id": f"call-{run_in(asked)}", "type": "function", "function": function}
        return ModelResponse(role="assistant", tool_calls=[call])

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    invoke_stream = ainvoke_stream = _parse_provider_response = _parse_provider_response_delta = invoke


@asynccontextmanager
async def opened(simulated: Simulated) -> AsyncGenerator[Work]:
    """The agents are made once, as the documentation does."""
    own = OwnModel(simulated=simulated, role="worker")
    worker = Agent(name="worker", model=own, instructions=WORKER, tools=[search], telemetry=False)
    own = OwnModel(simulated=simulated, role="judge")
    judge = Agent(name="judge", model=own, instructions=JUDGE, telemetry=False)

    async def work(run: str) -> tuple[str, str]:
        answer = str((await worker.arun(task_of(run))).content)
        return answer, str((await judge.arun(to_judge(run, answer))).content)

    yield work


if __name__ == "__main__":
    main(opened)
