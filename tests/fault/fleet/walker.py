"""A worker process, as a user starts one, whose model and tools are simulated.

An order has the ``plan`` of the worker, its ``settings``, how long the model thinks (``think_s`` on average), and the
files ``turns`` and ``effects``. Everything else is real. With ``tools``, the worker has the tool servers of its
settings; without, each effect is a line of a file with its key. Missions are planned as the order's ``tasks`` say: a
task of that title for each. It calls ``put``, or ``look`` if it is called so; one that is called ``stuck`` never ends.
A worker's connections carry its id as their ``application_name``, so that the database can see who writes.
"""

import asyncio
import json
import os
import random
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatResult
from psycopg.conninfo import make_conninfo

from chimera import app
from chimera.cli.working import session
from chimera.core.contracts import Plan, Task
from chimera.core.seats import Seats
from chimera.core.settings import Settings
from chimera.core.spotlight import read
from chimera.fleet.worker import Worker, WorkerPlan
from chimera.guards.effects import Effects, ToolListing
from chimera.models.scripted import ScriptedModel
from chimera.store.effects import EffectJournal
from chimera.tools.capability import NOBODY, Capability, Requester, ToolResult

CONFIG: dict[str, Any] = {}
"""The order."""
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TOOLS = [
    Capability(
        name=f"ledger__{tool}",
        server="ledger",
        tool=tool,
        input_schema=SCHEMA,
        destructive=False,
        idempotent=tool != "note",
        read_only=tool == "look",
    )
    for tool in ("put", "note", "look")
]


def write_down(path: str, **line: Any) -> None:
    """Add a line to a file, whole."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)


class Ledger:
    """Tools whose effects are lines of a file."""

    async def capabilities(self) -> list[Capability]:
        """A tool that may be called twice, one that may not, and one that only reads."""
        return TOOLS

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
        """Do it, and take a moment before and after."""
        await asyncio.sleep(random.uniform(0, 0.02))
        if name != "ledger__look":
            write_down(CONFIG["effects"], tool=name, text=arguments["text"], key=idempotency_key)
        await asyncio.sleep(random.uniform(0, 0.02))
        return ToolResult(text="written", size=7)


class Slow(ScriptedModel):
    """A model that thinks."""

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        if '"title": "stuck' in str(args[0]):
            await asyncio.sleep(3_600)
        await asyncio.sleep(random.uniform(0, 2 * CONFIG["think_s"]))
        kwargs.pop("run_manager", None)
        return self._generate(args[0], **kwargs)


def turn(messages: Sequence[BaseMessage], tools: Sequence[str]) -> AIMessage:
    """Call one tool, then the other one, then say what became of it."""
    title = read(messages[1].content)["task"]["title"]
    answers = [message for message in messages if isinstance(message, ToolMessage)]
    write_down(CONFIG["turns"], run=title, turn=len(answers), pid=os.getpid())
    if len(answers) < len(tools):
        wanted = [tool.name for tool in TOOLS if tool.name in tools][len(answers)]
        call = {"name": wanted, "args": {"text": title}, "id": str(len(answers)), "type": "tool_call"}
        return AIMessage(content="", tool_calls=[call])
    unknown = any("outcome is unknown" in str(message.content) for message in answers)
    return AIMessage(content=f"{title}: {'unclear' if unknown else 'written'}")


def form(tools: Sequence[str], filled: dict[str, Any]) -> AIMessage:
    """Fill in the form that is asked for."""
    return AIMessage(content="", tool_calls=[{"name": tools[0], "args": filled, "id": "form", "type": "tool_call"}])


def divide(messages: Sequence[BaseMessage], tools: Sequence[str]) -> AIMessage:
    """One team."""
    return form(tools, {"teams": [{"name": "team", "goal": "goal"}]})


def plan(messages: Sequence[BaseMessage], tools: Sequence[str]) -> AIMessage:
    """The tasks of the mission."""
    write_down(CONFIG["turns"], run="plan", turn=0, pid=os.getpid())
    tasks = [
        Task(id=f"t{place}", title=title, instruction=title, tools=[f"ledger__{'look' if 'look' in title else 'put'}"])
        for place, title in enumerate(CONFIG.get("tasks", []))
    ]
    return form(tools, Plan(tasks=tasks, confidence=0.95).plain())


def judge(messages: Sequence[BaseMessage], tools: Sequence[str]) -> AIMessage:
    """All is well."""
    criteria = read(messages[1].content)["criteria"]
    checks = [{"criterion": text, "passed": True, "why": ""} for text in criteria]
    return form(tools, {"checks": checks, "confidence": 0.95})


def no_servers(_settings: Settings) -> list[Any]:
    """Chimera's own tool servers have no part in this."""
    return []


async def work() -> None:
    """Be a worker until drained."""
    own = WorkerPlan(**CONFIG["plan"])
    url = make_conninfo(CONFIG["settings"]["database_url"], application_name=own.id)
    settings = Settings.model_validate(CONFIG["settings"] | {"database_url": url})
    lines = {"orchestrator": divide, "planner": plan, "judge": judge}
    models = {role: ScriptedModel(script=[line]) for role, line in lines.items()}
    roles = app.Roles(models={**models, "worker": Slow(script=[turn])})
    async with (
        app.open_app(settings, roles) as opened,
        app.open_engine(settings, opened.pool, opened.database_url) as engine,
    ):
        if not CONFIG["tools"]:
            tools = Ledger()
            effects = Effects(tools, EffectJournal(opened.pool))
            opened = replace(opened, context=replace(opened.context, tools=ToolListing(tools), effects=effects))
        seats = Seats()
        worker = Worker(engine, session(opened, own.concurrency, engine=engine, seats=seats), own, seats=seats)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.drain)
        await worker.run()


def live(order: dict[str, Any], _say: Callable[..., None]) -> None:
    """Carry out an order."""
    CONFIG.update(order)
    app.first_party = no_servers
    asyncio.run(work())
