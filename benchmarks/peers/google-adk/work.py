"""Google ADK: a Workflow of two LLM agents, worker and judge, on a Runner with sessions in memory."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import InMemoryRunner
from google.adk.workflow import START, Workflow
from google.genai import types
from measured import Work, main
from simulated import JUDGE, WORKER, Simulated, search, task_of

USAGE = types.GenerateContentResponseUsageMetadata(
    prompt_token_count=400, candidates_token_count=60, total_token_count=460
)


class OwnModel(BaseLlm):
    """The simulated model as a model of ADK."""

    simulated: Any
    role: str

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncGenerator[LlmResponse, None]:
        parts = [part for content in llm_request.contents for part in content.parts or []]
        prompt = "\n".join([str(llm_request.config.system_instruction), *(part.text or "" for part in parts)])
        results = [str(part.function_response.response) for part in parts if part.function_response]
        said = await self.simulated.say(self.role, prompt, results[-1] if results else None)
        if said.arguments:
            answer = types.Part.from_function_call(name="search", args=dict(said.arguments))
        else:
            answer = types.Part.from_text(text=said.text)
        yield LlmResponse(content=types.Content(role="model", parts=[answer]), usage_metadata=USAGE)


@asynccontextmanager
async def opened(simulated: Simulated) -> AsyncGenerator[Work]:
    """One runner; each run has a session of its own."""
    own = OwnModel(model="simulated", simulated=simulated, role="worker")
    worker = LlmAgent(name="worker", model=own, instruction=WORKER, tools=[search], output_key="answer")
    own = OwnModel(model="simulated", simulated=simulated, role="judge")
    judge = LlmAgent(name="judge", model=own, instruction=JUDGE + " The answer: {answer}", output_key="verdict")
    runner = InMemoryRunner(node=Workflow(name="work", edges=[(START, worker, judge)]), app_name="peers")
    sessions = runner.session_service

    async def work(run: str) -> tuple[str, str]:
        await sessions.create_session(app_name="peers", user_id="user", session_id=run)
        asked = types.Content(role="user", parts=[types.Part.from_text(text=task_of(run))])
        async for _ in runner.run_async(user_id="user", session_id=run, new_message=asked):
            pass
        session = await sessions.get_session(app_name="peers", user_id="user", session_id=run)
        return session.state["answer"], session.state["verdict"]

    yield work


if __name__ == "__main__":
    main(opened)
