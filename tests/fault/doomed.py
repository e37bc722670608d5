"""What processes do that are made to die, for the tests of kills and interruptions.

An order is ``{"do": "run", "resume" or "cancel", "mission_id": ID, "at": [POINT, N], "then": "stop" or "hang"}``, with
settings and files. When the process comes to a point for the Nth time it says so and stops, or waits there. Points
stand before and after every write to the records, every checkpoint, every event and every call of a tool.
"""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from chimera import app, swarm
from chimera.core.contracts import Mission, Plan, ReviewDecision, ReviewItem, Task
from chimera.core.errors import ChimeraError
from chimera.core.settings import Settings
from chimera.core.spotlight import read
from chimera.guards.decisions import Decisions
from chimera.models.scripted import ScriptedModel
from chimera.review.queue import ReviewQueue
from chimera.store.audit import AuditLog
from chimera.store.checkpoints import GroupCommitSaver
from chimera.store.effects import EffectJournal
from chimera.store.events import EventBus
from chimera.store.missions import MissionStore
from chimera.store.usage import UsageLog
from chimera.tools.mesh.mesh import ToolMesh

CONFIG: dict[str, Any] = {}
"""The order."""
WATCHED: dict[type[Any], tuple[str, ...]] = {
    GroupCommitSaver: ("aput", "aput_writes"),
    MissionStore: ("create", "plan_tasks", "start_task", "commit_task", "set_status", "finish"),
    EffectJournal: ("begin", "end"),
    ReviewQueue: ("open",),
    Decisions: ("answer",),
    AuditLog: ("append",),
    UsageLog: ("add",),
    EventBus: ("publish",),
    ToolMesh: ("call",),
}


def write_down(name: str, line: dict[str, Any]) -> None:
    """Add a line to the turns or the effects."""
    with Path(CONFIG[name]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


# --- the play --------------------------------------------------------------------------------------------------------


def _task(number: int, title: str, *needs: str, tool: str = "", **fields: Any) -> Task:
    tools = [f"ledger__{tool}"] if tool else []
    return Task(id=f"t{number}", title=title, instruction=title, depends_on=list(needs), tools=tools, **fields)


PLANS = {
    "build": [
        _task(1, "left wall", tool="note"),
        _task(2, "right wall", tool="note"),
        _task(3, "roof", "t1", "t2", tool="wipe"),
        _task(4, "report", "t3", criteria=[{"kind": "contains", "value": "checked"}]),
    ],
    "paint": [_task(1, "paint", tool="put")],
}


def _form(name: str, filled: dict[str, Any]) -> AIMessage:
    return AIMessage(content="", tool_calls=[{"name": name, "args": filled, "id": "form", "type": "tool_call"}])


def divide(_messages: Sequence[BaseMessage], tools: Sequence[str]) -> AIMessage:
    """The orchestrator: a team for each plan."""
    write_down("turns", {"mission": CONFIG["mission_id"], "role": "orchestrator", "task": ""})
    return _form(tools[0], {"teams": [{"name": goal, "goal": goal} for goal in PLANS]})


def plan(messages: Sequence[BaseMessage], tools: Sequence[str]) -> AIMessage:
    """The planner."""
    goal = read(messages[1].content)["goal"]
    write_down("turns", {"mission": CONFIG["mission_id"], "role": "planner", "task": goal})
    return _form(tools[0], Plan(tasks=PLANS[goal], confidence=0.9).plain())


def work(messages: Sequence[BaseMessage], tools: Sequence[str]) -> AIMessage:
    """The worker: it calls the one tool of its task, and writes down each turn that it takes."""
    request = read(messages[1].content)
    title = request["task"]["title"]
    results = [read(message.content) for message in messages if isinstance(message, ToolMessage)]
    turn = {
        "mission": CONFIG["mission_id"],
        "role": "worker",
        "task": title,
        "again": bool(request["feedback"]),
        "turn": len(results),
    }
    write_down("turns", turn)
    if tools and not results:
        call = {"name": tools[0], "args": {"text": f"{CONFIG['mission_id']} {title}"}, "id": "0", "type": "tool_call"}
        return AIMessage(content="", tool_calls=[call])
    if any("error" in result for result in results):
        return AIMessage(content="")
    return AIMessage(content=f"{title}: checked" if request["feedback"] else f"{title}: done")


async def human(item: ReviewItem) -> ReviewDecision:
    """Says yes. Where nobody knows whether an effect happened, looks, and does by hand what is missing."""
    if item.payload.get("kind") == "result":
        title = next(task.title for tasks in PLANS.values() for task in tasks if repr(task.title) in item.question)
        text = f"{CONFIG['mission_id']} {title}"
        if text not in Path(CONFIG["effects"]).read_text("utf-8"):
            write_down("effects", {"tool": "by hand", "text": text, "key": "by hand"})
    return ReviewDecision(action="approve", reviewer="ada")


# --- points ----------------------------------------------------------------------------------------------------------

_met: Counter[str] = Counter()


async def reach(point: str, say: Callable[..., None]) -> None:
    """Come to a point; stop or hang there when the order says so."""
    _met[point] += 1
    if CONFIG.get("at") == [point, _met[point]]:
        say(at=point)
        if CONFIG.get("then") == "hang":
            await asyncio.Event().wait()
        os.kill(os.getpid(), signal.SIGSTOP)


def watch(kind: type[Any], name: str, say: Callable[..., None]) -> None:
    """Put a point before and one after a method."""
    real = getattr(kind, name)

    async def watched(*args: Any, **options: Any) -> Any:
        await reach(f"before {kind.__name__}.{name}", say)
        result = await real(*args, **options)
        await reach(f"after {kind.__name__}.{name}", say)
        return result

    setattr(kind, name, watched)


async def obey(say: Callable[..., None]) -> None:
    """Run, resume or cancel the mission."""
    script = {"orchestrator": divide, "planner": plan, "worker": work}
    models = {role: ScriptedModel(script=[line]) for role, line in script.items()}
    settings = Settings.model_validate(CONFIG["settings"])
    async with swarm.ChimeraSwarm(settings, models=models, reviewer=human) as opened:
        try:
            if CONFIG["do"] == "cancel":
                say(cancelled=await opened.cancel(CONFIG["mission_id"]))
                return
            if CONFIG["do"] == "run":
                result = await opened.run(Mission(goal="a house"), mission_id=CONFIG["mission_id"])
            else:
                result = await opened.resume(CONFIG["mission_id"])
            say(result=result.plain(), met=_met)
        except ChimeraError as error:
            say(error=error.as_dict())


def no_servers(_settings: Settings) -> list[Any]:
    """Chimera's own tool servers take a second to start, and have no part in this."""
    return []


def live(order: dict[str, Any], say: Callable[..., None]) -> None:
    """Carry out an order."""
    CONFIG.update(order)
    app.first_party = no_servers
    for kind, names in WATCHED.items():
        for name in names:
            watch(kind, name, say)
    say(begun=order["do"])
    try:
        asyncio.run(obey(say))
    except KeyboardInterrupt:
        say(interrupted=True)
    except BaseException as error:
        say(error={"code": type(error).__name__, "message": str(error)})
        raise
