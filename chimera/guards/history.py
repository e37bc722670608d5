"""What an agent has heard, read and done before a call: what the guards hold the call against.

What it did is known from its own state, and, for attempts and plans before it, from the journal of effects: whatever
became of an attempt, what it has done is there.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Protocol

from chimera.core.contracts import Observation, Threat
from chimera.core.ids import derived_id
from chimera.core.state import AgentState, Plain
from chimera.guards.effects import Effects
from chimera.guards.request import Made, Seen
from chimera.store.missions import MissionStore
from chimera.tools.capability import Capability

TEXT_KEPT = 60_000
"""Characters of an observation that stay with a result."""
ARGUMENTS_KEPT = 4_000
"""Characters, as JSON, of the arguments that stay with one."""


class Records(Protocol):
    """Where the past is kept."""

    @property
    def effects(self) -> Effects: ...  # noqa: D102
    @property
    def missions(self) -> MissionStore: ...  # noqa: D102


def kept(observation: Plain) -> Observation:
    """What an agent's state says of one call, as it stays with its result and reaches the tasks that build on it."""
    text, arguments = str(observation["text"]), observation["arguments"]
    small = len(json.dumps(arguments, ensure_ascii=False)) <= ARGUMENTS_KEPT
    return Observation(
        capability=observation["capability"],
        arguments=arguments if small else {},
        text=text[:TEXT_KEPT],
        whole=small and len(text) <= TEXT_KEPT,
        threat=observation.get("threat", Threat.NONE),
    )


async def seen(state: AgentState, records: Records, known: Mapping[str, Capability]) -> list[Seen]:
    """All that came to this agent from others.

    That is what the tasks that it builds on have read, with the tool that brought it, so that its fields keep their
    labels; what their agents said of it, and the judge of an earlier attempt, as text of no origin; and what its own
    calls brought.
    """
    said = [Seen(text=item["answer"], said_by=f"task:{item['task_id']}") for item in state.get("earlier", [])]
    told = [Seen(text=reason, said_by="judge") for reason in state.get("feedback", [])]
    own = [
        Seen(text=item["text"], capability=known.get(item["capability"]), arguments=item["arguments"])
        for item in state.get("observations", [])
    ]
    return [*await _read_before(state, records, known), *said, *told, *own]


async def _read_before(state: AgentState, records: Records, known: Mapping[str, Capability]) -> list[Seen]:
    """What the tasks before this one have read. A text that was cut could end in a value that nobody gave."""
    before = state.get("builds_on", [])
    if not before:
        return []
    found = await records.missions.observations(state["mission_id"], state["team"], state["plan_round"], before)
    return [
        Seen(text=one.text, capability=known.get(one.capability), arguments=one.arguments, said_by=f"task:{task_id}")
        for task_id, observations in found.items()
        for one in observations
        if one.whole
    ]


def made(state: AgentState, calls: Sequence[Plain], place: int, before: Mapping[str, str]) -> Made:
    """What the task has had of the tool that call number ``place`` of a turn asks for.

    The other calls of the turn count as soon as they were let through or put to a human, wherever they stand.
    ``before`` are its effects by :func:`effects_before`.
    """
    name = calls[place]["name"]
    gone = [item["arguments"] for item in state.get("observations", []) if item["capability"] == name]
    going = [
        call["args"]
        for number, call in enumerate(calls)
        if number != place and call["name"] == name and call.get("decision", {}).get("action", "reject") != "reject"
    ]
    return Made(now=[*gone, *going], before=frozenset(before))


async def effects_before(state: AgentState, records: Records, tool: str) -> dict[str, str]:
    """The keys of the effects that this task has had of a tool, by the seal of the call.

    Those of its earlier attempts count, and those of earlier plans of its team, but for tasks that the plan of now
    still has: their effects are theirs.
    """
    instructions = [str(state["task"]["instruction"]), *await _given_up(state, records)]
    found: dict[str, str] = {}
    journal = await records.effects.journaled(state["mission_id"], tool)
    for instruction in reversed(instructions):  # the task's own come last, and count where two are the same call
        found |= {seal: key for key, seal in journal.items() if key == _key(state, instruction, seal)}
    return found


async def effect_keys(state: AgentState, records: Records, calls: Sequence[Plain]) -> list[str]:
    """The idempotency key of each call: the same task, tried or planned again, has the same effect only once."""
    keys: list[str] = []
    for call in calls:
        before = await effects_before(state, records, call["name"]) if state["plan_round"] > 1 else {}
        keys.append(before.get(call["sealed"]) or _key(state, str(state["task"]["instruction"]), call["sealed"]))
    return keys


def _key(state: AgentState, instruction: str, seal: str) -> str:
    return derived_id("effect", state["mission_id"], state["team"], instruction, seal)


async def _given_up(state: AgentState, records: Records) -> list[str]:
    """The instructions of tasks that earlier plans of the team had, and the plan of now has not."""
    this = state["plan_round"]
    if this == 1:
        return []
    planned = await records.missions.instructions(state["mission_id"], state["team"])
    earlier = (instructions for plan_round, instructions in planned.items() if plan_round < this)
    return sorted(set[str]().union(*earlier) - planned.get(this, set()))
