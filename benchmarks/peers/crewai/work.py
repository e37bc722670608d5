"""CrewAI: a crew of a worker with a tool and a judge, two tasks in sequence, started with its native async kickoff."""

import asyncio
import json
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from crewai import Agent, Crew, Process, Task
from crewai.llms.base_llm import BaseLLM
from crewai.tools import tool
from measured import Work, main
from simulated import JUDGE, WORKER, Simulated, run_in, search, task_of

THREADS = 1_000
"""An agent calls its model in a thread, even when its crew is awaited, and asyncio has a thread or two per core."""


class OwnModel(BaseLLM):
    """The simulated model as an LLM of CrewAI that calls functions natively."""

    simulated: Any
    role: str

    loop: Any

    def call(self, *args: Any, **kwargs: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(self.acall(*args, **kwargs), self.loop).result()

    async def acall(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        prompt = "\n".join(str(message["content"]) for message in messages if message["role"] == "user")
        results = [str(message["content"]) for message in messages if message["role"] == "tool"]
        said = await self.simulated.say(self.role, prompt, results[-1] if results else None)
        if not said.arguments:
            return said.text
        function = {"name": "search", "arguments": json.dumps(said.arguments)}
        return [{"id": f"call-{run_in(prompt)}", "type": "function", "function": function}]

    def get_input_tokens_count(self, *args: Any, **kwargs: Any) -> int:
        return 400

    def supports_function_calling(self) -> bool:
        return True


@asynccontextmanager
async def opened(simulated: Simulated) -> AsyncGenerator[Work]:
    """A crew keeps what it does in itself, so each run has a crew, agents and tasks of its own."""
    searching = tool("search")(search)
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS))
    own = {"model": "simulated", "simulated": simulated, "loop": loop}
    models = {role: OwnModel(role=role, **own) for role in ("worker", "judge")}

    async def work(run: str) -> tuple[str, str]:
        worker = Agent(role="worker", goal=WORKER, backstory="You are exact.", llm=models["worker"], tools=[searching])
        judge = Agent(role="judge", goal=JUDGE, backstory="You are strict.", llm=models["judge"])
        look = Task(description=task_of(run), expected_output="what was found", agent=worker)
        check = Task(description=f"Judge the answer. {run}", expected_output="JSON", agent=judge, context=[look])
        crew = Crew(agents=[worker, judge], tasks=[look, check], process=Process.sequential, tracing=False)
        done = await crew.akickoff()
        return str(done.tasks_output[0].raw), str(done.raw)

    yield work


if __name__ == "__main__":
    main(opened)
