"""What is known of an agent before its call: what it heard and read, and what its task has done.

Proves FR-124, FR-125 and FR-127 where the records are read: which calls of a turn count, whose effects a task's are,
and what of an observation travels on.
"""

import json
from typing import Any, cast

import pytest

from chimera.core.contracts import Observation
from chimera.guards.history import (
    ARGUMENTS_KEPT,
    TEXT_KEPT,
    Records,
    effect_keys,
    effects_before,
    kept,
    made,
    seen,
)
from chimera.guards.request import sealed
from chimera.tools.capability import Capability

MISSION = "0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11"
LOOK = Capability(name="desk__look", server="desk", tool="look", input_schema={}, read_only=True)
KNOWN = {LOOK.name: LOOK}


class Past:
    """Records of a test: a journal of one tool, plans, and what tasks have read."""

    def __init__(
        self, plans: dict[int, set[str]] | None = None, read: dict[str, list[Observation]] | None = None
    ) -> None:
        self.journal: dict[str, str] = {}
        self._plans, self._read = plans or {}, read or {}
        self.asked: list[list[str]] = []

    @property
    def effects(self) -> "Past":
        return self

    @property
    def missions(self) -> "Past":
        return self

    async def journaled(self, _mission_id: str, _tool: str) -> dict[str, str]:
        return self.journal

    async def instructions(self, _mission_id: str, _team: str) -> dict[int, set[str]]:
        return self._plans

    async def observations(
        self, _mission_id: str, _team: str, _round: int, task_ids: list[str]
    ) -> dict[str, list[Observation]]:
        self.asked.append(task_ids)
        return {name: found for name, found in self._read.items() if name in task_ids}

    def records(self) -> Records:
        return cast("Records", self)


def state(instruction: str = "tell them", plan_round: int = 1, **fields: Any) -> Any:
    task = {"id": "t1", "title": "tell", "instruction": instruction, "tools": ["desk__send"]}
    return {"mission_id": MISSION, "team": "one", "plan_round": plan_round, "attempt": 1, "task": task, **fields}


def call(text: str, action: str = "", tool: str = "desk__send") -> dict[str, Any]:
    found = {"id": text, "name": tool, "args": {"text": text}, "sealed": sealed(tool, {"text": text})}
    return {**found, "decision": {"action": action}} if action else found


async def done(past: Past, text: str, instruction: str = "tell them") -> str:
    """Journal an effect of a task as the flow does it; its key."""
    (key,) = await effect_keys(state(instruction), past.records(), [call(text)])
    past.journal[key] = call(text)["sealed"]
    return key


# --- what the task has done ------------------------------------------------------------------------------------------


def test_the_other_calls_of_a_turn_count_wherever_they_stand_unless_they_were_refused() -> None:
    calls = [
        call("allowed", "allow"),
        call("refused", "reject"),
        call("asked about"),
        call("waits", "escalate"),
        call("not decided yet"),
        call("of another tool", "allow", tool="desk__save"),
        call("edited", "edit"),
    ]
    read = [
        {"capability": "desk__send", "arguments": {"text": "went out"}, "text": ""},
        {"capability": "desk__look", "arguments": {"text": "looked"}, "text": ""},
    ]
    found = made(state(observations=read), calls, 2, {"seal": "key"})
    assert [arguments["text"] for arguments in found.now] == ["went out", "allowed", "waits", "edited"]
    assert found.before == {"seal"}


async def test_a_task_has_the_effects_of_its_own_attempts_and_nobody_elses() -> None:
    past = Past()
    key = await done(past, "one")
    await done(past, "two", "another task of the plan")
    past.journal["a key of nobody"] = call("three")["sealed"]
    assert await effects_before(state(), past.records(), "desk__send") == {call("one")["sealed"]: key}


async def test_a_new_plan_has_the_effects_of_the_tasks_that_it_gave_up() -> None:
    """Not those of tasks that it still has, word for word; and the same call gets the key that it had."""
    past = Past({1: {"tell all", "keep it"}, 2: {"tell them", "keep it"}, 3: {"of a later plan"}})
    key = await done(past, "one", "tell all")
    await done(past, "two", "keep it")
    await done(past, "three", "of a later plan")
    own = await done(past, "four")
    second = state(plan_round=2)
    found = await effects_before(second, past.records(), "desk__send")
    assert found == {call("one")["sealed"]: key, call("four")["sealed"]: own}
    fresh = (await effect_keys(state(), past.records(), [call("five")]))[0]
    assert await effect_keys(second, past.records(), [call("one"), call("four"), call("five")]) == [key, own, fresh]
    assert await effect_keys(state(plan_round=1), past.records(), [call("one")]) != [key]


async def test_its_own_effect_goes_before_the_same_one_of_a_task_that_was_given_up() -> None:
    past = Past({1: {"tell all"}, 2: {"tell them"}})
    await done(past, "one", "tell all")
    own = await done(past, "one")
    assert await effects_before(state(plan_round=2), past.records(), "desk__send") == {call("one")["sealed"]: own}


# --- what it heard and read ------------------------------------------------------------------------------------------


def observed(text: str = "[]", **fields: Any) -> Observation:
    return Observation(capability=LOOK.name, arguments={"at": "x"}, text=text, **fields)


async def test_reads_of_tasks_before_come_with_their_tool_and_words_of_agents_come_without() -> None:
    past = Past(read={"t1": [observed("one")], "t2": [observed("cut", whole=False), observed("two")]})
    own = [{"capability": LOOK.name, "arguments": {"at": "y"}, "text": "own"}]
    told = state(
        builds_on=["t2", "t1"],
        earlier=[{"task_id": "t2", "answer": "they say"}],
        feedback=["not good"],
        observations=own,
    )
    found = await seen(told, past.records(), KNOWN)
    assert [(one.text, one.capability, one.said_by) for one in found] == [
        ("one", LOOK, "task:t1"),
        ("two", LOOK, "task:t2"),
        ("they say", None, "task:t2"),
        ("not good", None, "judge"),
        ("own", LOOK, ""),
    ]
    assert [dict(one.arguments) for one in found if one.capability] == [{"at": "x"}, {"at": "x"}, {"at": "y"}]
    assert past.asked == [["t2", "t1"]]


async def test_a_tool_that_is_gone_has_no_manifest_to_vouch_for_it() -> None:
    found = await seen(state(builds_on=["t1"]), Past(read={"t1": [observed()]}).records(), {})
    assert [one.capability for one in found] == [None]


async def test_a_task_that_builds_on_nothing_has_heard_nothing_and_asks_no_record() -> None:
    past = Past(read={"t1": [observed()]})
    assert await seen(state(), past.records(), KNOWN) == []
    assert past.asked == []


@pytest.mark.parametrize(
    ("arguments", "text", "whole"),
    [
        ({"at": "x"}, "[1]", True),
        ({"at": "x"}, "x" * TEXT_KEPT, True),
        ({"at": "x"}, "x" * (TEXT_KEPT + 1), False),
        ({"at": "x" * ARGUMENTS_KEPT}, "[1]", False),
    ],
    ids=["small", "as long as is kept", "too long", "arguments too long"],
)
def test_what_stays_with_a_result_is_bounded_and_says_if_it_is_whole(
    arguments: dict[str, Any], text: str, whole: bool
) -> None:
    """Half a record could end in a value that nobody gave, so no task builds on it; the judge still sees the text."""
    found = kept({"capability": LOOK.name, "arguments": arguments, "text": text, "threat": "none", "evidence": []})
    assert (found.text, found.whole) == (text[:TEXT_KEPT], whole)
    assert len(json.dumps(found.plain())) < TEXT_KEPT + ARGUMENTS_KEPT + 200
