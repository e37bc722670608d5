"""The tools that Chimera offers to other agents, and one call of one."""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mcp import types
from pydantic import ValidationError

from chimera.core.contracts import Contract
from chimera.core.errors import ChimeraError, InputError, MissionNotFound
from chimera.core.invalid import first_problem
from chimera.server.callers import Caller
from chimera.server.desk import Desk, Run, Tell
from chimera.server.mcp.contracts import (
    MissionStatusAsked,
    OfMission,
    ReviewQueueAsked,
    RunMission,
    SearchTools,
    schema_of,
)

_LOG = logging.getLogger(__name__)
INSTRUCTIONS = (
    "Chimera runs missions: goals that teams of agents plan and work with guarded tools, judged and audited. "
    "`run_mission` begins one and answers with its result, or with its id when it takes longer; poll `mission_status` "
    "then. A mission with the status `waiting` waits for a human: `review_queue` shows the questions, and only people "
    "answer them, elsewhere. Repeat a call safely with the same `idempotency_key`."
)
_OBJECT = {"type": "object", "additionalProperties": True}
_MISSION_ANSWER = {
    "type": "object",
    "required": ["mission_id", "status"],
    "properties": {
        "mission_id": {"type": "string"},
        "status": {
            "enum": ["running", "stopped", "waiting", "done", "partial", "failed", "rejected", "cancelled"],
            "description": "stopped: nobody runs it now, and it can be resumed",
        },
        "answer": {"type": "string", "description": "of a mission that has ended"},
        "artifacts": {"type": "array", "items": _OBJECT},
        "evidence": {"type": "array", "items": _OBJECT},
        "unmet": {"type": "array", "items": {"type": "string"}},
        "reasons": {"type": "array", "items": {"type": "string"}},
        "usage": _OBJECT,
        "confidence": {"type": "number"},
        "provider": {"type": "string"},
        "trail": {"type": "string"},
        "open_reviews": {"type": "array", "items": {"type": "string"}},
        "tasks": {**_OBJECT, "description": "of a mission that has not ended: how many are planned, and done"},
    },
}
_TOOLS_ANSWER = {
    "type": "object",
    "required": ["tools"],
    "properties": {"tools": {"type": "array", "items": _OBJECT}, "note": {"type": "string"}},
}
_REVIEWS_ANSWER = {
    "type": "object",
    "required": ["reviews"],
    "properties": {"reviews": {"type": "array", "items": _OBJECT}, "hidden": {"type": "integer"}},
}


class UnknownTool(Exception):
    """There is no tool of that name; the protocol has an error of its own for that."""


@dataclass(frozen=True)
class Call:
    """One call: who makes it, in what way, and how he is told of progress. ``about`` goes on the record."""

    caller: Caller
    way: str
    about: dict[str, Any]
    tell: Tell | None = None


@dataclass(frozen=True)
class Offered:
    """A tool: its contract, what it gives, and what it does."""

    title: str
    description: str
    contract: type[Contract]
    answer: dict[str, Any]
    work: Callable[[Desk, Call, Any], Awaitable[dict[str, Any]]]
    read_only: bool = True
    idempotent: bool = True
    destructive: bool = False

    def listing(self, name: str) -> types.Tool:
        """The tool as ``tools/list`` shows it."""
        return types.Tool(
            name=name,
            title=self.title,
            description=self.description,
            inputSchema=schema_of(self.contract),
            outputSchema=self.answer,
            annotations=types.ToolAnnotations(
                title=self.title,
                readOnlyHint=self.read_only,
                destructiveHint=self.destructive,
                idempotentHint=self.idempotent,
                openWorldHint=not self.read_only,
            ),
        )


async def _run(desk: Desk, call: Call, asked: RunMission) -> dict[str, Any]:
    run = Run(
        asked.mission(call.caller.tenant),
        asked.wait_s if asked.wait else 0.0,
        asked.idempotency_key,
        asked.approve_plan,
        asked.dry_run,
    )
    return await desk.run(call.caller, run, call.about, call.tell)


async def _status(desk: Desk, call: Call, asked: MissionStatusAsked) -> dict[str, Any]:
    return await desk.status(call.caller, asked.mission_id, asked.wait_s, call.tell)


async def _cancel(desk: Desk, call: Call, asked: OfMission) -> dict[str, Any]:
    return await desk.cancel(call.caller, asked.mission_id)


async def _search(desk: Desk, call: Call, asked: SearchTools) -> dict[str, Any]:
    return await desk.search(call.caller, asked.query, asked.k)


async def _reviews(desk: Desk, call: Call, asked: ReviewQueueAsked) -> dict[str, Any]:
    return await desk.reviews(call.caller, asked.mission_id, asked.limit)


OFFERED: Mapping[str, Offered] = {
    "cancel_mission": Offered(
        "Stop a mission",
        "Stop a mission, wherever it runs. What its tasks had finished is its result.",
        OfMission,
        _MISSION_ANSWER,
        _cancel,
        read_only=False,
        destructive=True,
    ),
    "mission_status": Offered(
        "See how far a mission is",
        "Say how far a mission is. Once it has ended this is its result: answer, artifacts, evidence, cost, trail and "
        "confidence. With wait_s it answers as soon as the mission has ended.",
        MissionStatusAsked,
        _MISSION_ANSWER,
        _status,
    ),
    "review_queue": Offered(
        "See what waits for a human",
        "List the questions that wait for a human, oldest first. They are answered by people, not here.",
        ReviewQueueAsked,
        _REVIEWS_ANSWER,
        _reviews,
    ),
    "run_mission": Offered(
        "Run a mission",
        "Hand in a goal. A fleet of agents plans it, works it with guarded tools, judges the results and answers with "
        "evidence, cost and confidence. Takes seconds to minutes: after wait_s, or at once with wait false, the answer "
        "is the id, and mission_status tells the rest. The same idempotency_key runs the same request once.",
        RunMission,
        _MISSION_ANSWER,
        _run,
        read_only=False,
        idempotent=False,
    ),
    "search_tools": Offered(
        "Find tools",
        "Find the tools that missions could use for something, best first, with what each does to the world.",
        SearchTools,
        _TOOLS_ANSWER,
        _search,
    ),
}


async def call_tool(desk: Desk, name: str, arguments: Mapping[str, Any] | None, call: Call) -> types.CallToolResult:
    """One call, on the record; a failure is a result that says so.

    Raises:
        UnknownTool: there is no such tool.
    """
    offered = OFFERED.get(name)
    if offered is None:
        raise UnknownTool(name)
    try:
        async with desk.recorded(call.caller, call.way, name, call.about, reads=offered.read_only):
            answer = await offered.work(desk, call, _read(offered.contract, arguments))
    except ChimeraError as error:
        return _failed(error, call)
    except Exception as error:  # noqa: BLE001 - the edge: what it says may quote prompts, rows or keys
        _LOG.warning("the call of %s failed: %s", name, type(error).__name__, exc_info=error)
        return _failed(ChimeraError(f"unexpected {type(error).__name__}"), call)
    return types.CallToolResult(content=[_text(answer)], structuredContent=answer)


def _read(contract: type[Contract], arguments: Mapping[str, Any] | None) -> Contract:
    try:
        return contract.model_validate(dict(arguments or {}))
    except ValidationError as error:
        raise InputError(first_problem(error, "arguments"), remedy="See the tool's input schema.") from None


def _failed(error: ChimeraError, call: Call) -> types.CallToolResult:
    found = {"code": error.code, "message": error.message, "remedy": error.hint}
    mission_id = call.about.get("mission_id")
    if mission_id is not None and not isinstance(error, MissionNotFound):
        found["mission_id"] = mission_id
    return types.CallToolResult(content=[_text({"error": found})], isError=True)


def _text(answer: Mapping[str, Any]) -> types.TextContent:
    return types.TextContent(type="text", text=json.dumps(answer, ensure_ascii=False))
