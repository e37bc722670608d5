"""A stage for missions: models that play a script, a tool server that writes down what it did, and swarms on both."""

import asyncio
import inspect
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from chimera import ChimeraSwarm
from chimera.core.clock import SystemClock
from chimera.core.contracts import Plan, ReviewDecision, Task
from chimera.core.settings import Settings
from chimera.core.spotlight import read
from chimera.models.scripted import ScriptedModel
from chimera.store.embedded import Endpoints

LEDGER = Path(__file__).parent.parent / "servers" / "ledger.py"
TOKENS = {"input_tokens": 7_000, "output_tokens": 3_000, "total_tokens": 10_000}  # more than any prompt here sends


def told(message: BaseMessage) -> dict[str, Any]:
    """What a message says, data between marks included."""
    return read(message.content)


@dataclass
class Turn:
    """What a worker's model is shown at one turn."""

    messages: list[BaseMessage]
    tools: list[str]

    @property
    def request(self) -> dict[str, Any]:
        """Its task, and all that it is told with it."""
        return told(self.messages[1])

    @property
    def task(self) -> str:
        """The title of its task."""
        return str(self.request["task"]["title"])

    @property
    def feedback(self) -> list[str]:
        """Why the last try was not good enough."""
        return list(self.request["feedback"])

    @property
    def results(self) -> list[dict[str, Any]]:
        """What the tools gave so far."""
        return [told(message) for message in self.messages if isinstance(message, ToolMessage)]


Work = Callable[[Turn], "str | AIMessage | Awaitable[str | AIMessage]"]
Planned = Plan | type[Exception] | dict[str, Any]
Opinion = Callable[[dict[str, Any]], "tuple[float, bool]"]


@dataclass
class Play:
    """What the models say. ``plans``: by the goal of a team, its plans in order; the last one is repeated.

    A plan can also be an exception to raise, or data that is no plan. ``extracted`` is what the model that reads texts
    answers; without it, rules read them.
    """

    plans: Mapping[str, Sequence[Planned]]
    work: Work
    opinion: Opinion = lambda request: (0.95, True)
    split: list[str] = field(default_factory=list[str])
    names: list[str] = field(default_factory=list[str])
    hang_once: str = ""
    extracted: dict[str, Any] | None = None
    reply: str = "because the goal says so"
    asked: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])

    def requests(self, role: str) -> list[Any]:
        """What a role was asked, in order: JSON, or a :class:`Turn` of a worker."""
        return [request for name, request in self.asked if name == role]

    def worked(self) -> list[str]:
        """The titles of the tasks, one for each turn of a worker."""
        return [turn.task for turn in self.requests("worker")]

    async def answer(self, role: str, messages: list[BaseMessage], tools: list[str]) -> AIMessage:
        """What the model of a role says."""
        if tools == ["Reply"]:  # a reviewer asked back
            self.asked.append(("explain", {**told(messages[1]), "of": role}))
            return _form("Reply", {"answer": self.reply})
        if role == "worker":
            turn = Turn(messages, tools)
            self.asked.append((role, turn))
            said = self.work(turn)
            said = await said if inspect.isawaitable(said) else said
            return said if isinstance(said, AIMessage) else AIMessage(content=said)
        request = told(messages[1])
        self.asked.append((role, request))
        if role == self.hang_once:
            self.hang_once = ""
            await asyncio.Event().wait()
        return _form(tools[0], self._filled(role, request))

    def _filled(self, role: str, request: dict[str, Any]) -> dict[str, Any]:
        if role == "orchestrator":
            goals = self.split or [request["goal"]]
            names = self.names or [f"team-{place}" for place in range(1, len(goals) + 1)]
            return {"teams": [{"name": name, "goal": goal} for name, goal in zip(names, goals, strict=True)]}
        if role == "planner":
            plans = self.plans[request["goal"]]
            rounds = sum(1 for earlier in self.requests("planner") if earlier["goal"] == request["goal"])
            plan = plans[min(rounds, len(plans)) - 1]
            if isinstance(plan, type):
                raise plan
            return plan.plain() if isinstance(plan, Plan) else plan
        if role == "extractor":
            return self.extracted or {}
        confidence, passed = self.opinion(request)
        why = "" if passed else "poor"
        checks = [{"criterion": text, "passed": passed, "why": why} for text in request["criteria"]]
        return {"checks": checks, "confidence": confidence}


def _form(name: str, filled: dict[str, Any]) -> AIMessage:
    return AIMessage(content="", tool_calls=[{"name": name, "args": filled, "id": "form", "type": "tool_call"}])


class Player(ScriptedModel):
    """The model of one role of a play."""

    role: str
    play: Any

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        tools = [tool["function"]["name"] for tool in kwargs.get("tools", [])]
        message = await cast("Play", self.play).answer(self.role, messages, tools)
        message.usage_metadata = TOKENS  # pyright: ignore[reportAttributeAccessIssue] - a plain dict of that form
        return ChatResult(generations=[ChatGeneration(message=message)])


class Ahead(SystemClock):
    """A clock that a test can put forward."""

    def __init__(self) -> None:
        self.by = timedelta()

    def now(self) -> datetime:
        """The time of day, and what was put on top."""
        return super().now() + self.by


class Stage:
    """Makes swarms that play; ``clock`` is theirs."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.clock = Ahead()
        self._effects = folder / "effects.jsonl"
        self._servers = folder / "servers.json"
        server = {"command": sys.executable, "args": ["-I", "-S", str(LEDGER), str(self._effects)]}
        self._servers.write_text(json.dumps({"mcpServers": {"ledger": server}}), "utf-8")

    @staticmethod
    def task(number: int, *needs: int, title: str = "", **fields: Any) -> Task:
        """A task ``t<number>`` that needs other ones; its title is its instruction."""
        name = title or f"task {number}"
        return Task(id=f"t{number}", title=name, instruction=name, depends_on=[f"t{need}" for need in needs], **fields)

    @staticmethod
    def plan(*tasks: Task, confidence: float = 0.9, **fields: Any) -> Plan:
        """A plan that its planner is sure of."""
        return Plan(tasks=list(tasks), confidence=confidence, **fields)

    @staticmethod
    def decide(action: str = "approve", reviewer: str = "ada", **fields: Any) -> ReviewDecision:
        """What a human answers."""
        return ReviewDecision.model_validate({"action": action, "reviewer": reviewer, **fields})

    @staticmethod
    def use(tool: str, text: str, *more: tuple[str, str]) -> AIMessage:
        """A turn that calls tools of the ledger, each with its text."""
        calls = [
            {"name": name, "args": {"text": said}, "id": f"call-{place}", "type": "tool_call"}
            for place, (name, said) in enumerate([(tool, text), *more])
        ]
        return AIMessage(content="", tool_calls=calls)

    @classmethod
    def steps(cls, *tools: str, then: str = "") -> Work:
        """Work that calls each tool once, in order, with the task's title as its text, and then answers."""

        def work(turn: Turn) -> str | AIMessage:
            done = len(turn.results)
            return cls.use(tools[done], turn.task) if done < len(tools) else then or f"{turn.task}: done"

        return work

    @classmethod
    def play(cls, plans: Mapping[str, Sequence[Planned]], work: Work | None = None, **fields: Any) -> Play:
        """A play: ``plans`` by the goal of a team, and what workers do; by default they say that it is done.

        With ``confidence`` the judge is always that sure of what it approves.
        """
        if "confidence" in fields:
            judged: tuple[float, bool] = (fields.pop("confidence"), fields.pop("passed", True))
            fields["opinion"] = lambda _: judged  # pyright: ignore[reportUnknownLambdaType]
        return Play(plans, work or cls.steps(), **fields)

    def swarm(self, play: Play, *, ledger: bool = False, **options: Any) -> ChimeraSwarm:
        """A swarm for one play; with ``ledger``, the tools of that server are at hand and no others.

        ``options``: settings, and the parts that a swarm can be given.

        What the judge approves by rule needs no human on this stage, unless ``auto_approve`` says otherwise.
        """
        known = {"auto_approve": 0.8, "review_audit_share": 0.0, **({"servers": self._servers} if ledger else {})}
        roles = ROLES if play.extracted is None else (*ROLES, "extractor")
        models = {role: Player(script=[], role=role, play=play) for role in roles}
        parts = {name: options.pop(name) for name in ("reviewer", "planner", "worker", "judge") if name in options}
        settings = Settings.model_validate({**dict(self.settings), **known, **options})
        return ChimeraSwarm(settings, models=models, clock=self.clock, **parts)

    def effects(self) -> list[dict[str, Any]]:
        """What the ledger did, in order."""
        if not self._effects.exists():
            return []
        return [json.loads(line) for line in self._effects.read_text("utf-8").splitlines()]


ROLES = ("orchestrator", "planner", "worker", "judge")


@pytest.fixture(scope="module")
def people(shared_database_url: str, enrol: Callable[..., None]) -> None:
    """Who answers on a stage."""
    enrol(shared_database_url, "ada", "bob", "a person")


@pytest.fixture
def stage(
    tmp_path: Path, shared_database_url: str, people: None, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> Stage:
    """A stage without the servers of Chimera itself, which would take a second to start."""

    def none(_settings: Settings) -> list[Any]:
        return []

    monkeypatch.setattr("chimera.app.first_party", none)
    urls = {"database_url": shared_database_url, "redis_url": endpoints.redis_url}
    return Stage(Settings.model_validate({"home": tmp_path / "home", **urls}), tmp_path)
