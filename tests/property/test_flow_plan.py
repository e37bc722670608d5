"""Whatever an agent tries, in turns and attempts: a task never has more effects than its plan counts.

Proves FR-124 and FR-125 for any sequence of calls, some of which certainly did not happen.
"""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chimera.core.contracts import Mission, Task
from chimera.guards.history import made
from chimera.guards.provenance.guard import FlowGuard
from chimera.guards.request import Edge, GuardRequest, sealed
from chimera.tools.capability import Capability

FORM = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TELL = Capability(name="desk__tell", server="desk", tool="tell", input_schema=FORM, destructive=False)
WORDS = "abcd"
TURN = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(["done", "failed"])), min_size=1, max_size=4)
ATTEMPTS = st.lists(st.lists(TURN, max_size=4), min_size=1, max_size=3)


async def decide(task: Task, state: dict[str, Any], calls: list[dict[str, Any]], place: int, journal: set[str]) -> str:
    request = GuardRequest(
        edge=Edge.TOOL_CALL,
        payload=calls[place]["args"],
        mission=Mission(goal="Tell a, b, c and d"),
        task=task,
        capability=TELL,
        made=made(state, calls, place, dict.fromkeys(journal, "")),  # pyright: ignore[reportArgumentType]
        notes={"plan_round": 1},
    )
    decision = await FlowGuard().check(request)
    return "allow" if decision is None else decision.action


@given(limit=st.integers(1, 3), attempts=ATTEMPTS)
async def test_no_way_of_calling_gets_more_than_the_plan_has(limit: int, attempts: list[Any]) -> None:
    task = Task(id="t1", title="t", instruction="tell", tools=[TELL.name], limits={TELL.name: limit})
    journal: set[str] = set()
    for turns in attempts:
        state: dict[str, Any] = {"observations": []}
        for turn in turns:
            calls: list[dict[str, Any]] = [{"name": TELL.name, "args": {"text": word}} for word, _ in turn]
            for place, call in enumerate(calls):
                action = await decide(task, state, calls, place, journal)
                call["decision"] = {"action": action}
                gone = {item["arguments"]["text"] for item in state["observations"]}
                going = {one["args"]["text"] for one in calls[:place] if one["decision"]["action"] == "allow"}
                repeated = call["args"]["text"] in gone | going
                known = sealed(TELL.name, call["args"]) in journal
                # What the task has done already stays possible in a new attempt, and nothing is refused without need.
                assert (action == "allow") is (not repeated and (known or len(journal | seals(going)) < limit))
            for (_, end), call in zip(turn, calls, strict=True):
                if call["decision"]["action"] == "allow" and end == "done":
                    journal.add(sealed(TELL.name, call["args"]))
                    state["observations"].append({"capability": TELL.name, "arguments": call["args"]})
        assert len(journal) <= limit


def seals(texts: set[str]) -> set[str]:
    return {sealed(TELL.name, {"text": text}) for text in texts}
