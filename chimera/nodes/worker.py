"""The worker: one model turn at a task, until it has a result."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, ToolCall, ToolMessage
from langgraph.runtime import Runtime

from chimera.core.contracts import Artifact, Evidence, Task, TaskResult
from chimera.core.errors import MissionError
from chimera.core.ids import digest
from chimera.core.spotlight import Marks, read
from chimera.core.state import AgentState, Plain
from chimera.guards.extraction import Asked, Extracted, Schema
from chimera.guards.history import kept
from chimera.models.calls import ANSWERED_BY
from chimera.nodes.briefing import name_of
from chimera.nodes.context import Context
from chimera.nodes.evidence import CITED
from chimera.nodes.prompts import prompt
from chimera.tools.capability import Capability
from chimera.tools.discovery.asking import found_in

KNOWN = ("goal", "inputs", "persona", "constraints")
HEARD = ("task_id", "title", "answer", "evidence")
"""What a model is told of an earlier task; what else travels with it is for the guards."""
EVIDENCE_KEPT = 50


class Worker:
    """Works with the worker's model. Subclass it and override :meth:`turn` to work in another way.

    What is asked through ``context.models`` passes the guards of the edge ``model_input``; a model of one's own that is
    called in another way does not.
    """

    async def turn(self, state: AgentState, tools: list[Capability], context: Context) -> list[AnyMessage]:
        """The messages to add to the conversation; the last one is the model's.

        Raises:
            ModelFailed, BudgetExceeded, GuardRejected: the model could not be asked.
        """
        opening: list[AnyMessage] = [] if state.get("messages") else self.opening(state)
        agent, task = name_of(state), Task.model_validate(state["task"])
        caller = context.caller(state["mission_id"], "worker", state["mission"], agent=agent, task=task)
        names = _aliases([tool.name for tool in tools])
        message = await context.models.turn(
            caller,
            [_renamed(part, names) for part in [*state.get("messages", []), *opening]],
            [
                {
                    "type": "function",
                    "function": {
                        "name": names[tool.name],
                        "description": tool.description,
                        "parameters": tool.input_schema,
                    },
                }
                for tool in tools
            ],
        )
        return [*opening, _renamed(message, {alias: name for name, alias in names.items()}, known_only=True)]

    async def extract(self, text: str, schema: Schema, state: AgentState, context: Context) -> Extracted:
        """Typed values of a text that nobody vouches for, read by a model without tools, or by rules.

        For workers of one's own, which hand these to their model instead of the text.

        Raises:
            InputError: the schema asks for something that is no closed type. StoreError: it cannot go on the record.
        """
        about = {"task": state["task"]["id"]}
        asked = Asked(state["mission_id"], state["mission"], name_of(state), about=about)
        return await context.extraction.extractor.extract(text, schema, asked=asked)

    def opening(self, state: AgentState) -> list[AnyMessage]:
        """What the model is told first: its role, the task as JSON, and between marks what others said."""
        known = {"task": state["task"], **{key: state["mission"][key] for key in KNOWN}}
        earlier = [{key: message[key] for key in HEARD} for message in state.get("earlier", [])]
        data = {"earlier": earlier, "feedback": state.get("feedback", []), "guidance": state.get("guidance", [])}
        return Marks(state.get("marks", "")).request(prompt("worker"), known, data)


async def worker(state: AgentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Take one turn. Tool calls go to the guard; a message without any is the answer."""
    context, task = runtime.context, Task.model_validate(state["task"])
    turns = state.get("turns", 0) + 1
    if turns > context.settings.max_steps:
        raise MissionError(f"task {task.id} took more than {context.settings.max_steps} turns")
    await context.events.publish(
        state["mission_id"], "agent", team=state["team"], task=task.id, turn=turns, attempt=state["attempt"]
    )
    tools = await _at_hand(state, task, context)
    code = state.get("marks")
    marks = Marks(code) if code else Marks.made(context.new_id)
    told: AgentState = {**state, "marks": marks.code}
    messages = await context.worker.turn(told, tools, context)
    last = messages[-1]
    calls: list[Plain] = []
    if isinstance(last, AIMessage):
        last = _with_own_ids(last, state, turns)
        messages = [*messages[:-1], last]
        calls = [{"id": call["id"], "name": call["name"], "args": call["args"]} for call in last.tool_calls]
        messages += [
            _not_json(marks, call["id"] or f"invalid-{turns}-{place}")
            for place, call in enumerate(last.invalid_tool_calls)
        ]
    made_by = last.response_metadata.get(ANSWERED_BY) or context.models.names("worker")[0]
    providers = {*state.get("provider", "").split(", "), str(made_by)} - {""}
    return {
        "messages": messages,
        "marks": marks.code,
        "turns": turns,
        "calls": calls,
        "raw": [],
        "provider": ", ".join(sorted(providers)),
    }


async def _at_hand(state: AgentState, task: Task, context: Context) -> list[Capability]:
    """The task's tools, what the agent found beside them, and the tool to find more with where there are more."""
    finder = await context.tools.finder()
    found = found_in(state.get("observations", [])) if finder else []
    return [*await context.tools.named([*task.tools, *found]), *([finder] if finder else [])]


def after_worker(state: AgentState) -> str:
    """Where a turn leads: to the guard with its calls, back to the worker, or to the end of the task."""
    if state.get("calls"):
        return "guard_call"
    return "conclude" if isinstance(state["messages"][-1], AIMessage) else "worker"


async def conclude(state: AgentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Make the task's result of the conversation: the answer, its evidence and the artifacts."""
    answer = str(state["messages"][-1].text).strip()
    observations = state.get("observations", [])
    failures = [message for message in state["messages"] if getattr(message, "status", "") == "error"]
    failed = not answer and bool(failures)
    result = TaskResult(
        task_id=state["task"]["id"],
        status="failed" if failed else "done",
        answer=answer,
        evidence=_evidence(answer, observations),
        artifacts=_artifacts(observations),
        error=_first_error(failures) if failed else None,
        context_version=state["context_version"],
        observations=[kept(item) for item in observations],
        provider=state.get("provider", ""),
        tool_calls=len(observations),
    )
    return {"result": result.plain()}


def _with_own_ids(message: AIMessage, state: AgentState, turns: int) -> AIMessage:
    """The message with an id of its own for each call: some models leave it out, or count from 0 in every turn."""
    used = {part.tool_call_id for part in state.get("messages", []) if isinstance(part, ToolMessage)}
    calls: list[ToolCall] = []
    for place, call in enumerate(message.tool_calls):
        known = call["id"] and call["id"] not in used
        calls.append(call if known else {**call, "id": f"call-{turns}-{place}"})
        used.add(str(calls[-1]["id"]))
    return message.model_copy(update={"tool_calls": calls})


def _not_json(marks: Marks, call_id: str) -> ToolMessage:
    """The answer to a call whose arguments cannot be read: providers want one for every call."""
    error = {"code": "CH404", "message": "the arguments of the call are not valid JSON", "retryable": True}
    return marks.answer(call_id, None, {"error": error}, failed=True)


def _aliases(names: Sequence[str]) -> dict[str, str]:
    """Tools' names as providers allow them: letters, digits, underscores and hyphens, at most 64, each once."""
    found: dict[str, str] = {}
    for name in names:
        alias = _alias(name)
        found[name] = alias if alias not in found.values() else f"{alias[:55]}-{digest(name)[:8]}"
    return found


def _alias(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]


def _renamed(message: AnyMessage, names: Mapping[str, str], *, known_only: bool = False) -> AnyMessage:
    """The message with the tools that it calls or answers renamed."""

    def renamed(name: str) -> str:
        return names.get(name) or (name if known_only else _alias(name))

    if isinstance(message, AIMessage) and message.tool_calls:
        calls = [{**call, "name": renamed(call["name"])} for call in message.tool_calls]
        return message.model_copy(update={"tool_calls": calls})
    if isinstance(message, ToolMessage) and message.name:
        return message.model_copy(update={"name": renamed(message.name)})
    return message


def _evidence(answer: str, observations: list[Plain]) -> list[Evidence]:
    """The evidence that the answer cites, or the first pieces when it cites none."""
    known = {item["id"]: Evidence.model_validate(item) for found in observations for item in found["evidence"]}
    cited = [known[name] for name in dict.fromkeys(CITED.findall(answer)) if name in known]
    return cited or list(known.values())[:EVIDENCE_KEPT]


def _artifacts(observations: list[Plain]) -> list[Artifact]:
    """What the artifact store reports to have written."""
    found: dict[str, Artifact] = {}
    for item in observations:
        if item["capability"] == "files__write_artifact":
            artifact = Artifact.model_validate(json.loads(item["text"]))
            found[artifact.name] = artifact
    return list(found.values())


def _first_error(failures: list[AnyMessage]) -> Plain:
    content = read(failures[0].content)
    if "error" in content:
        return content["error"]
    return {"code": "CH500", "message": "; ".join(content.get("refused", [])), "retryable": True}
