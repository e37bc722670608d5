"""OpenAI Agents SDK: a worker Agent with a function tool, then a judge Agent, each run by the Runner; no traces."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage, function_tool, set_tracing_disabled
from measured import Work, main
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from simulated import JUDGE, WORKER, Simulated, run_in, search, task_of, to_judge

USAGE = Usage(requests=1, input_tokens=400, output_tokens=60, total_tokens=460)


class OwnModel(Model):
    """The simulated model as a model of the SDK."""

    def __init__(self, simulated: Simulated, role: str) -> None:
        self._simulated, self._role = simulated, role

    async def get_response(self, *_: Any, **given: Any) -> ModelResponse:
        items = given["input"]
        asked, last = (items, {}) if isinstance(items, str) else (items[0]["content"], items[-1])
        found = last["output"] if last.get("type") == "function_call_output" else None
        said = await self._simulated.say(self._role, asked, found)
        if said.arguments:
            call = ResponseFunctionToolCall(
                type="function_call",
                name="search",
                call_id=f"call-{run_in(asked)}",
                arguments=json.dumps(said.arguments),
            )
            return ModelResponse(output=[call], usage=USAGE, response_id=None)
        text = ResponseOutputText(type="output_text", text=said.text, annotations=[])
        message = ResponseOutputMessage(
            id="message-1", type="message", role="assistant", status="completed", content=[text]
        )
        return ModelResponse(output=[message], usage=USAGE, response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError


@asynccontextmanager
async def opened(simulated: Simulated) -> AsyncGenerator[Work]:
    """Each run has copies of the agents: runs that share one are compared with each other, and that is quadratic."""
    set_tracing_disabled(True)
    tools = [function_tool(search)]
    worker = Agent(name="worker", instructions=WORKER, tools=tools, model=OwnModel(simulated, "worker"))
    judge = Agent(name="judge", instructions=JUDGE, model=OwnModel(simulated, "judge"))
    config = RunConfig(tracing_disabled=True)

    async def work(run: str) -> tuple[str, str]:
        answer = (await Runner.run(worker.clone(), task_of(run), run_config=config)).final_output
        return answer, (await Runner.run(judge.clone(), to_judge(run, answer), run_config=config)).final_output

    yield work


if __name__ == "__main__":
    main(opened)
