"""Worker processes that carry out agents: ``crew.py CONFIG`` loads Chimera once and forks one for each line of input.

A line is the plan of a worker, as JSON. The model of the agents takes its time, calls the one tool of its task, and
writes down every turn.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatResult

from chimera import app
from chimera.cli.working import session
from chimera.core.settings import Settings
from chimera.core.spotlight import read
from chimera.fleet.worker import Worker, WorkerPlan
from chimera.models.scripted import ScriptedModel

CONFIG: dict[str, Any] = json.loads(sys.argv[1])


class Slow(ScriptedModel):
    """A model that thinks."""

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        await asyncio.sleep(CONFIG["think_s"])
        kwargs.pop("run_manager", None)
        return self._generate(args[0], **kwargs)


def turn(messages: Sequence[BaseMessage], tools: Sequence[str]) -> AIMessage:
    """Call the tool, then answer."""
    title = read(messages[1].content)["task"]["title"]
    done = any(isinstance(message, ToolMessage) for message in messages)
    with Path(CONFIG["turns"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"task": title, "pid": os.getpid(), "done": done}) + "\n")
    if tools and not done:
        call = {"name": tools[0], "args": {"text": title}, "id": "0", "type": "tool_call"}
        return AIMessage(content="", tool_calls=[call])
    return AIMessage(content=f"{title}: done")


def no_servers(_settings: Settings) -> list[Any]:
    """Chimera's own tool servers take a second to start, and have no part in this."""
    return []


async def work(plan: dict[str, Any]) -> None:
    """Be a worker until drained."""
    models = app.Roles(models={"worker": Slow(script=[turn])})
    settings = Settings.model_validate(CONFIG["settings"])
    async with (
        app.open_app(settings, models) as opened,
        app.open_engine(settings, opened.pool, opened.database_url) as engine,
    ):
        worker = Worker(engine, session(opened, plan["concurrency"]), WorkerPlan(**plan))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, worker.drain)
        await worker.run()


def main() -> None:
    """Fork for each order, until the input ends."""
    app.first_party = no_servers
    os.write(1, b"{}\n")
    for line in sys.stdin:
        pid = os.fork()
        if pid:
            os.write(1, json.dumps({"pid": pid}).encode() + b"\n")
            continue
        code = 1
        try:
            asyncio.run(work(json.loads(line)))
            code = 0
        finally:
            os._exit(code)


if __name__ == "__main__":
    main()
