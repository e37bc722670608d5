"""One unit of work: an agent that asks its model, uses a tool behind the real guards, asks again, and is judged.

The model and the tool are simulated, and nothing else is: three model calls that take as long as they are told to, one
call of a tool that answers at once.
"""

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

from chimera.app import App
from chimera.core.contracts import Criterion, Mission, Task, TaskResult
from chimera.core.ids import derived_id
from chimera.fleet.dispatch import AgentRun
from chimera.guards.effects import Effects, ToolListing
from chimera.models.scripted import ScriptedModel
from chimera.nodes.context import Context
from chimera.nodes.judge import JudgeRequest
from chimera.store.effects import EffectJournal
from chimera.tools.capability import Capability, ToolResult

CALLS = 3
"""Model calls of one run: two turns of the agent, and the judge's opinion."""
CRITERION = "the answer says what was found"
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


@dataclass
class SimulatedTools:
    """A tool server without a server: every search finds about a kilobyte that nobody has seen before."""

    pick: random.Random
    calls: int = 0

    async def capabilities(self) -> list[Capability]:
        """The one tool."""
        return [SEARCH]

    async def call(
        self, name: str, arguments: dict[str, Any], *, scope: str, idempotency_key: str, deadline_s: float | None = None
    ) -> ToolResult:
        """Answer at once."""
        self.calls += 1
        text = " ".join(self.pick.choice(_WORDS) for _ in range(160)) + f" {self.calls}"
        return ToolResult(data={"found": [text]}, size=len(text))


class SlowModel(ScriptedModel):
    """Asks for a search, then answers, then judges: each after its latency. ``waited`` sums up what calls took."""

    _median_s: float = PrivateAttr(default=0.0)
    _pick: random.Random = PrivateAttr(default_factory=random.Random)
    _waited: dict[str, float] = PrivateAttr(default_factory=dict[str, float])

    def slow(self, median_s: float, pick: random.Random) -> "SlowModel":
        """Calls take a log-normal time with this median and a heavy tail (sigma 0.4); 0 takes none."""
        self._median_s, self._pick = median_s, pick
        return self

    def waited(self, run: str) -> float:
        """Seconds that the calls of a run have taken, and forget it."""
        return self._waited.pop(run, 0.0)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        offered = [tool["function"]["name"] for tool in kwargs.get("tools", [])]
        latency = self._median_s * self._pick.lognormvariate(0.0, 0.4) if self._median_s else 0.0
        run = next((part for part in str(messages[1].content).split() if part.startswith("run-")), "").rstrip('.,"}')
        self._waited[run] = self._waited.get(run, 0.0) + latency
        await asyncio.sleep(latency)
        return ChatResult(generations=[ChatGeneration(message=_said(messages, offered))])


def _said(messages: Sequence[BaseMessage], offered: Sequence[str]) -> AIMessage:
    usage = UsageMetadata(input_tokens=400, output_tokens=60, total_tokens=460)
    if "Opinion" in offered:
        verdict = {"checks": [{"criterion": CRITERION, "passed": True, "why": "it does"}], "confidence": 0.95}
        call = ToolCall(name="Opinion", args=verdict, id="call-judge")
        return AIMessage("", tool_calls=[call], usage_metadata=usage)
    if any(isinstance(message, ToolMessage) for message in messages):
        return AIMessage("The notes of this week speak of orders and prices.", usage_metadata=usage)
    call = ToolCall(name=offered[0], args={"text": "orders and prices", "limit": 5}, id="call-search")
    return AIMessage("", tool_calls=[call], usage_metadata=usage)


def simulated(app: App, pick: random.Random) -> tuple[Context, SimulatedTools]:
    """The services of an app, with the simulated tool in the place of the mesh."""
    tools = SimulatedTools(pick)
    return replace(app.context, tools=ToolListing(tools), effects=Effects(tools, EffectJournal(app.pool))), tools


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
            instruction=f"Search the notes for orders and prices. {name}",
            tools=[SEARCH.name],
            criteria=[Criterion(kind="nonempty"), Criterion(kind="text", value=CRITERION)],
        )
        state: dict[str, Any] = {
            "mission_id": self.mission_id,
            "mission": self.mission.plain(),
            "context_version": self.mission.context_version,
            "team": name,
            "plan_round": 1,
            "attempt": 1,
            "task": task.plain(),
            "feedback": [],
            "builds_on": [],
            "earlier": [],
            "messages": [],
        }
        return AgentRun(thread_id=f"{self.mission_id}/{name}/1/t1/1", state=state, recursion_limit=60)

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


def mission_id(seed: int, number: int) -> str:
    """The id of the mission of a block of runs."""
    return derived_id("bench", seed, number)
