"""The built-in worker: what it shows a model, and what it makes of the answers. Proves FR-9 and FR-11."""

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.runtime import Runtime

from chimera.core.contracts import Budget, Decision, Mission, Task, Usage
from chimera.core.errors import MissionError
from chimera.core.ids import seeded_ids
from chimera.core.settings import Settings
from chimera.core.spotlight import read
from chimera.core.state import AgentState
from chimera.guards.effects import ToolCatalog, ToolListing
from chimera.models.calls import Models
from chimera.models.gate import Caller, Sent
from chimera.models.scripted import ScriptedModel
from chimera.nodes.context import Context
from chimera.nodes.worker import Worker, after_worker, conclude, worker
from chimera.tools.capability import Capability

LONG = "a" * 70


class Meter:
    """Counts nothing: budgets are tested elsewhere."""

    async def add(self, call_id: str, mission_id: str, role: str, model: str, usage: Usage) -> None:
        return None

    async def total(self, mission_id: str) -> Usage:
        return Usage()


def tool(name: str) -> Capability:
    server, _, short = name.partition("__")
    return Capability(name=name, server=server, tool=short, input_schema={"type": "object"})


TOOLS = [
    tool("s__get.time"),
    tool("s__get_time"),
    tool(f"{LONG[:40]}__{LONG[:50]}b"),
    tool(f"{LONG[:40]}__{LONG[:50]}c"),
]


class Open:
    """A gate that everything passes: what guards say of requests is tested elsewhere."""

    async def passed(self, caller: Caller, sent: Sent) -> Sent:
        return sent


class Stage:
    """One agent's state, and a model that plays a script and notes what it is shown."""

    def __init__(self, *script: AIMessage, tools: Sequence[Capability] = TOOLS, **settings: Any) -> None:
        self.shown: list[tuple[list[BaseMessage], list[str]]] = []
        lines = [self._line(message) for message in script]
        given = {"*": ScriptedModel(script=lines)}
        models = Models(Settings.model_validate(settings), Meter(), seeded_ids(1), given, gate=Open())

        async def capabilities() -> list[Capability]:
            return list(tools)

        async def publish(*_: Any, **__: Any) -> None:
            return None

        def caller(mission_id: str, role: str, mission: Any, **_: Any) -> Caller:
            return Caller(mission_id, role, Budget())

        async def allow(*_: Any) -> Decision:
            return Decision(action="allow")

        self.context = cast(
            "Context",
            SimpleNamespace(
                settings=Settings.model_validate(settings),
                new_id=seeded_ids(2),
                models=models,
                caller=caller,
                worker=Worker(),
                tools=ToolListing(cast("ToolCatalog", SimpleNamespace(capabilities=capabilities))),
                events=SimpleNamespace(publish=publish),
                gateway=SimpleNamespace(validate_request=allow),
            ),
        )
        task = Task(id="t1", title="t", instruction="Do it", tools=[found.name for found in TOOLS])
        self.state = cast(
            "AgentState",
            {
                "mission_id": "m",
                "mission": Mission(goal="g", inputs={"feed": "x.csv"}, persona="calm").plain(),
                "context_version": "v",
                "team": "a",
                "plan_round": 1,
                "attempt": 1,
                "task": task.plain(),
                "messages": [],
                "feedback": ["cite the rows"],
            },
        )

    def _line(self, message: AIMessage) -> Any:
        def speak(messages: Sequence[BaseMessage], names: Sequence[str]) -> AIMessage:
            self.shown.append((list(messages), list(names)))
            return message

        return speak

    async def turn(self) -> dict[str, Any]:
        update = await worker(self.state, Runtime(context=self.context))
        messages = [*self.state["messages"], *update["messages"]]
        self.state = cast("AgentState", {**self.state, **update, "messages": messages})
        return update


def calls(*names: str) -> AIMessage:
    listed = [
        {"name": name, "args": {"n": place}, "id": f"c{place}", "type": "tool_call"} for place, name in enumerate(names)
    ]
    return AIMessage(content="", tool_calls=listed)


def answered(stage: Stage, call_id: str, name: str, text: str = "{}") -> None:
    answer: AnyMessage = ToolMessage(text, tool_call_id=call_id, name=name)
    stage.state["messages"] = [*stage.state["messages"], answer]


async def test_tools_get_names_that_providers_allow_and_each_its_own() -> None:
    stage = Stage(AIMessage("done"))
    await stage.turn()
    (_, names) = stage.shown[0]
    assert len(set(names)) == len(TOOLS)
    assert all(len(name) <= 64 and name.replace("_", "").replace("-", "").isalnum() for name in names)


async def test_calls_come_back_under_the_tools_own_names() -> None:
    stage = Stage(AIMessage("start"))
    await stage.turn()
    (_, names) = stage.shown[0]
    again = Stage(calls(*names))
    update = await again.turn()
    assert [call["name"] for call in update["calls"]] == [found.name for found in TOOLS]
    assert [call["args"] for call in update["calls"]] == [{"n": place} for place in range(len(TOOLS))]


async def test_the_conversation_is_shown_again_under_the_names_that_providers_allow() -> None:
    stage = Stage(calls("s__get_time"), AIMessage("done"))
    first = await stage.turn()
    assert first["calls"][0]["name"] == "s__get.time"
    answered(stage, "c0", "s__get.time")
    await stage.turn()
    messages, names = stage.shown[1]
    called = [call["name"] for part in messages if isinstance(part, AIMessage) for call in part.tool_calls]
    assert called == [part.name for part in messages if isinstance(part, ToolMessage)] == [names[0]]


async def test_a_tool_that_was_not_offered_keeps_its_name_for_the_guard_to_refuse() -> None:
    stage = Stage(calls("rm -rf"))
    assert (await stage.turn())["calls"][0]["name"] == "rm -rf"


async def test_only_the_tools_of_the_task_are_offered() -> None:
    stage = Stage(AIMessage("done"), tools=[*TOOLS, tool("s__delete")])
    await stage.turn()
    assert "s__delete" not in stage.shown[0][1]


async def test_the_model_is_told_its_task_and_nothing_of_other_workers() -> None:
    stage = Stage(AIMessage("done"))
    await stage.turn()
    told = read(stage.shown[0][0][1].content)
    assert set(told) == {"task", "goal", "inputs", "persona", "constraints", "earlier", "feedback", "guidance"}
    assert (told["feedback"], told["persona"], told["inputs"]) == (["cite the rows"], "calm", {"feed": "x.csv"})


async def test_arguments_that_are_no_json_get_an_answer_and_another_turn() -> None:
    garbled = AIMessage(
        content="",
        invalid_tool_calls=[
            {"name": "s__get_time", "args": "{", "id": "x", "error": None, "type": "invalid_tool_call"}
        ],
    )
    stage = Stage(garbled, AIMessage("done"))
    await stage.turn()
    last = stage.state["messages"][-1]
    assert isinstance(last, ToolMessage)
    assert (last.tool_call_id, last.status) == ("x", "error")
    assert after_worker(stage.state) == "worker"


@pytest.mark.parametrize(
    ("message", "where"),
    [(AIMessage("done"), "conclude"), (calls("s__get_time"), "guard_call"), (AIMessage(""), "conclude")],
)
async def test_where_a_turn_leads(message: AIMessage, where: str) -> None:
    stage = Stage(message)
    await stage.turn()
    assert after_worker(stage.state) == where


async def test_a_worker_that_never_ends_is_stopped() -> None:
    stage = Stage(calls("s__get_time"), max_steps=3)
    for _ in range(3):
        await stage.turn()
    with pytest.raises(MissionError, match="more than 3 turns"):
        await stage.turn()


# --- the result ------------------------------------------------------------------------------------------------------


def observation(capability: str = "s__look", text: str = "seen", **evidence: str) -> dict[str, Any]:
    pieces = [{"id": key.replace("_", ":"), "text": said, "source": "f"} for key, said in evidence.items()]
    return {"capability": capability, "arguments": {}, "text": text, "evidence": pieces}


async def concluded(answer: str, observations: Sequence[dict[str, Any]] = (), *before: AnyMessage) -> dict[str, Any]:
    stage = Stage(AIMessage("x"))
    state = {
        **stage.state,
        "messages": [HumanMessage("go"), *before, AIMessage(answer)],
        "observations": list(observations),
    }
    return (await conclude(cast("AgentState", {**state, "provider": "p"}), Runtime(context=stage.context)))["result"]


async def test_a_result_carries_the_evidence_that_it_cites() -> None:
    seen = [observation(a_1="one", a_2="two", a_3="three")]
    result = await concluded("- one [a:1] and three [a:3], and none [b:9]", seen)
    assert [piece["id"] for piece in result["evidence"]] == ["a:1", "a:3"]
    assert (result["status"], result["tool_calls"]) == ("done", 1)
    assert result["observations"] == [
        {"capability": "s__look", "arguments": {}, "text": "seen", "whole": True, "threat": "none"}
    ]
    assert (result["context_version"], result["provider"]) == ("v", "p")


async def test_a_result_that_cites_nothing_carries_what_was_found() -> None:
    assert len((await concluded("nothing cited", [observation(a_1="one", a_2="two")]))["evidence"]) == 2


async def test_written_artifacts_are_part_of_the_result() -> None:
    stored = json.dumps({"name": "a.md", "media_type": "text/markdown", "size": 3, "sha256": "0" * 64})
    result = await concluded(
        "written", [observation("files__write_artifact", stored), observation("files__write_artifact", stored)]
    )
    assert [artifact["name"] for artifact in result["artifacts"]] == ["a.md"]
    assert (await concluded("written", [observation("other__write_artifact", stored)]))["artifacts"] == []


async def test_no_answer_after_a_failed_call_is_a_failure_with_its_code() -> None:
    error = ToolMessage(
        json.dumps({"error": {"code": "CH602", "message": "down", "retryable": True}}), tool_call_id="c", status="error"
    )
    result = await concluded("", [], error)
    assert (result["status"], result["error"]["code"]) == ("failed", "CH602")
    refused = ToolMessage(json.dumps({"refused": ["no such tool"]}), tool_call_id="c", status="error")
    assert (await concluded("", [], refused))["error"]["message"] == "no such tool"
    assert (await concluded("found another way", [], error))["status"] == "done"


async def test_the_provider_is_whoever_answered() -> None:
    stage = Stage(calls("s__get_time"), AIMessage("done"))
    assert (await stage.turn())["provider"] == "scripted"
    stage.state["provider"] = "openai:first"
    assert (await stage.turn())["provider"] == "openai:first, scripted"
