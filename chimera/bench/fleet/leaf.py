"""One unit of work: an agent that asks its model, uses a tool behind the real guards, asks again, and is judged.

The model and the tool are simulated, and nothing else is: three model calls (see ``model``), one call of a tool that
answers at once.
"""

import json
import random
from dataclasses import dataclass, field, replace
from typing import Any

from chimera.app import App
from chimera.bench.fleet.model import CRITERION, SUBJECT
from chimera.core.contracts import Criterion, Mission, Task, TaskResult
from chimera.fleet.dispatch import AgentRun
from chimera.guards.effects import Effects, ToolListing
from chimera.nodes.context import Context
from chimera.nodes.judge import JudgeRequest
from chimera.store.effects import EffectJournal
from chimera.tools.capability import NOBODY, Capability, Requester, ToolResult

SEARCH = Capability(
    name="notes__search",
    server="notes",
    tool="search",
    description="Search the notes of this week.",
    input_schema={
        "type": "object",
        "properties": {"text": {"type": "string"}, "limit": {"type": "integer"}},
        "required": ["text"],
    },
    output_schema={"type": "object", "properties": {"found": {"type": "array", "items": {"type": "string"}}}},
    read_only=True,
    idempotent=True,
    destructive=False,
)
_WORDS = ("orders", "prices", "team", "shop", "answer", "page", "week", "report", "returns", "stock", "Monday", "help")


def found_text(pick: random.Random) -> str:
    """About a kilobyte of words."""
    return " ".join(pick.choice(_WORDS) for _ in range(160))


@dataclass
class SimulatedTools:
    """A tool server without a server: every search finds about a kilobyte that nobody has seen before."""

    pick: random.Random
    calls: int = 0

    async def capabilities(self) -> list[Capability]:
        """The one tool."""
        return [SEARCH]

    async def call(
        self,
        name: str,
        arguments: dict[str, Any],
        *,
        scope: str,
        idempotency_key: str,
        deadline_s: float | None = None,
        requester: Requester = NOBODY,
    ) -> ToolResult:
        """Answer at once."""
        self.calls += 1
        text = f"{found_text(self.pick)} {self.calls}"
        return ToolResult(data={"found": [text]}, size=len(text))


def simulated(app: App, pick: random.Random) -> tuple[Context, SimulatedTools]:
    """The services of an app, with the simulated tool in the place of the mesh."""
    tools = SimulatedTools(pick)
    return replace(app.context, tools=ToolListing(tools), effects=Effects(tools, EffectJournal(app.pool))), tools


def agent_run(mission_id: str, mission: Mission, name: str, task: Task) -> AgentRun:
    """The first attempt at a task, by an agent called ``name``."""
    state: dict[str, Any] = {
        "mission_id": mission_id,
        "mission": mission.plain(),
        "context_version": mission.context_version,
        "team": name,
        "plan_round": 1,
        "attempt": 1,
        "task": task.plain(),
        "feedback": [],
        "builds_on": [],
        "earlier": [],
        "messages": [],
    }
    return AgentRun(thread_id=f"{mission_id}/{name}/1/{task.id}/1", state=state, recursion_limit=60)


@dataclass
class Leaf:
    """The runs of one mission."""

    context: Context
    mission_id: str
    mission: Mission = field(default_factory=lambda: Mission(goal="Search the notes for orders and prices."))

    def run(self, name: str) -> AgentRun:
        """A run called ``name``, which starts with ``run-``."""
        task = Task(
            id="t1",
            title="search",
            instruction=f"Search the notes for {SUBJECT}. {name}",
            tools=[SEARCH.name],
            criteria=[Criterion(kind="nonempty"), Criterion(kind="text", value=CRITERION)],
        )
        return agent_run(self.mission_id, self.mission, name, task)

    async def work(self, name: str) -> bool:
        """Do it and judge it; whether it was approved."""
        run = self.run(name)
        outcome = await self.context.dispatch.run(run, self.context)
        result = TaskResult.model_validate(outcome.result)
        task = Task.model_validate(run.state["task"])
        request = JudgeRequest(
            self.mission_id,
            self.mission.plain(),
            task,
            result,
            [result.answer],
            result.evidence,
            [json.dumps(found.plain()) for found in result.observations],
        )
        return (await self.context.judge.judge(request, self.context)).outcome == "approve"
