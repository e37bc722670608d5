"""Chimera: the leaf agent as `chimera bench fleet` runs it, on the lean runner, in this one process.

Real are the guards, the judge, the audit record, budgets, and a checkpoint of every step before the next, in PostgreSQL
that waits for its disk. The CPU time of PostgreSQL and Valkey is counted with this process's; their memory is not.
"""

import json
import os
import random
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult
from measured import Work, main
from pydantic import PrivateAttr
from simulated import Simulated, note_of, search

from chimera.app import Roles, open_app
from chimera.bench.fleet.leaf import Leaf, SimulatedTools
from chimera.bench.fleet.model import CRITERION
from chimera.core.ids import derived_id
from chimera.core.settings import Settings
from chimera.guards.effects import Effects, ToolListing
from chimera.models.scripted import ScriptedModel
from chimera.store.effects import EffectJournal
from chimera.store.embedded import EmbeddedServers
from chimera.tools.capability import ToolResult

HOME = tempfile.mkdtemp(prefix="chimera-")
MISSIONS = 101
PER_MISSION = 100
SETTINGS = {
    "home": HOME,
    "agent_runner": "lean",
    "max_parallel": 1_000_000,
    "max_tokens": 10**12,
    "model": "simulated",
    "embedded_idle_s": 5.0,
}


class Model(ScriptedModel):
    """The simulated model as a LangChain chat model, which says what it used."""

    _simulated: Any = PrivateAttr(default=None)

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        judging = any(one["function"]["name"] == "Opinion" for one in kwargs.get("tools", []))
        results = [str(message.content) for message in messages if isinstance(message, ToolMessage)]
        role, found = ("judge" if judging else "worker"), (results[-1] if results else None)
        said = await self._simulated.say(role, str(messages[1].content), found)
        calls = [ToolCall(name="notes__search", args=dict(said.arguments), id="call-search")] if said.arguments else []
        if judging:
            passed = {"criterion": CRITERION, "passed": json.loads(said.text)["passed"], "why": "it names its note"}
            calls = [ToolCall(name="Opinion", args={"checks": [passed], "confidence": 0.95}, id="call-judge")]
        usage = UsageMetadata(input_tokens=400, output_tokens=60, total_tokens=460)
        text = "" if calls else said.text
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text, tool_calls=calls, usage_metadata=usage))])


class Tools(SimulatedTools):
    """The one tool, behind the guards."""

    async def call(self, name: str, arguments: dict[str, Any], **_: Any) -> ToolResult:
        text = await search(**arguments)
        return ToolResult(data={"found": [text]}, size=len(text))


@asynccontextmanager
async def opened(simulated: Simulated) -> AsyncGenerator[Work]:
    """An installation of its own, with missions of a hundred agents each."""
    model = Model(script=[])
    model._simulated = simulated
    async with AsyncExitStack() as stack:
        stack.push_async_callback(EmbeddedServers(Path(HOME)).purge, force=True)
        app = await stack.enter_async_context(open_app(Settings.model_validate(SETTINGS), Roles(models={"*": model})))
        tools = Tools(random.Random(1))
        context = replace(app.context, tools=ToolListing(tools), effects=Effects(tools, EffectJournal(app.pool)))
        leaves = [Leaf(context, derived_id("bench", 1, number)) for number in range(MISSIONS)]
        for leaf in leaves:
            await context.missions.create(leaf.mission_id, leaf.mission)

        async def work(run: str) -> tuple[str, str]:
            approved = await leaves[int(run[4:]) // PER_MISSION % MISSIONS].work(run)
            # A leaf says only whether it was approved; the judge above approves no answer without the note of its run.
            return note_of(run) if approved else "", json.dumps({"passed": approved})

        yield work


def servers_cpu_s() -> float:
    """CPU seconds so far of the embedded servers, their ended processes included; 0 where the system does not tell."""
    ticks = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_text()
            if HOME in command or str((entry / "cwd").readlink()).startswith(HOME):
                told = (entry / "stat").read_text().rpartition(")")[2].split()
                ticks += sum(int(value) for value in told[11:15])
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(opened, servers_cpu_s)
