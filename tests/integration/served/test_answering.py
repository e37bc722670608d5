"""Questions are found and answered with the client of the LangGraph SDK, in the calls that inboxes make.

Proves FR-773 and FR-774, as each test says.
"""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, UnprocessableEntityError

if TYPE_CHECKING:
    from tests.integration.served.conftest import House  # noqa: TID251 - its type alone

PATIENCE_S = 30


async def open_question(client: LangGraphClient, **metadata: Any) -> Any:
    """The one question that waits, as a thread."""
    (thread,) = await client.threads.search(status="interrupted", metadata={"graph_id": "review", **metadata})
    return thread


async def ended(client: LangGraphClient, mission_id: str) -> Any:
    """The result of a mission, once it has one."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            (run,) = list(await client.runs.list(mission_id))[-1:]
            found = await client.runs.join(mission_id, run["run_id"])
            if "result" in found:
                return found["result"]


@pytest.mark.parametrize("form", ["human_interrupt", "hitl"])
async def test_a_question_is_listed_shown_and_accepted(house: "House", form: str) -> None:
    """Proves FR-773 and FR-774: in either format; its mission goes on and ends once, in the name of who answered."""
    client = await house.client("ada")
    mission_id = await house.waiting(client)
    thread = await open_question(client, interrupt_format=form)
    state: Any = await client.threads.get_state(thread["thread_id"], params={"interrupt_format": form})
    (asked,) = thread["interrupts"][thread["thread_id"]]
    assert state["tasks"][0]["interrupts"] == state["interrupts"] == [asked]
    if form == "hitl":
        resume: Any = {"decisions": [{"type": "approve"}]}
        assert asked["value"]["review_configs"][0]["allowed_decisions"] == ["approve", "edit", "reject"]
    else:
        resume = [{"type": "accept", "args": asked["value"][0]["action_request"]}]
        assert asked["value"][0]["config"]["allow_ignore"] is False
    found: Any = await client.runs.wait(thread["thread_id"], "review", command={"resume": resume})
    assert (found["decision"]["action"], found["decision"]["reviewer"]) == ("approve", "ada")
    assert (found["mission"]["status"], found["mission"]["answer"]) == ("done", "task 1: done")
    assert house.play.worked() == ["task 1"]
    assert (await client.threads.get(mission_id))["status"] == "idle"
    assert house.calls("ada")[-2:] == [("runs.resume", "asked"), ("runs.resume", "done")]


async def test_what_agent_inbox_does(house: "House") -> None:
    """Proves FR-774: its very calls: it lists, edits what is shown, and streams events; ignoring and marking as
    resolved close nothing.
    """
    client = await house.client("ada")
    mission_id = await house.waiting(client)
    thread = await open_question(client)
    item = thread["thread_id"]
    ignoring: Any = {"resume": [{"type": "ignore", "args": None}]}
    await client.runs.create(item, "review", command=ignoring)
    with pytest.raises(UnprocessableEntityError):
        await client.threads.update_state(item, None, as_node="__end__")
    assert (await open_question(client))["interrupts"] == thread["interrupts"]
    request = thread["interrupts"][item][0]["value"][0]["action_request"]
    plan = request["args"]["plan"]
    plan["tasks"][0]["instruction"] = plan["tasks"][0]["title"] = "something else"
    edit: Any = {"resume": [{"type": "edit", "args": request}]}
    parts = [part async for part in client.runs.stream(item, "review", command=edit, stream_mode="events")]
    assert parts[0].event == "metadata"
    assert "error" not in {part.event for part in parts}
    assert (await ended(client, mission_id))["answer"] == "something else: done"
    assert house.play.worked() == ["something else"]


async def test_a_response_is_a_rejection_with_its_reason(house: "House") -> None:
    """Proves FR-774."""
    client = await house.client("ada")
    await house.waiting(client)
    item = (await open_question(client))["thread_id"]
    saying: Any = {"resume": [{"type": "response", "args": "too vague"}]}
    found: Any = await client.runs.wait(item, "review", command=saying)
    assert (found["decision"]["action"], found["decision"]["reason"]) == ("reject", "too vague")
    assert house.play.worked() == []


async def test_a_stale_answer_counts_for_nothing(house: "House") -> None:
    """Proves FR-774: of two clients at once one is first, and the other is told; so is a later one, and one that saw an
    older version.
    """
    client, other = await house.client("ada"), await house.client("bob")
    mission_id = await house.waiting(client)
    item = (await open_question(client))["thread_id"]
    state: Any = await client.threads.get_state(item)
    await house.swarm.app.context.oversight.decisions.desk.reassign(item, "ada", "bob")
    no: Any = {"resume": [{"type": "response", "args": "no"}]}
    with pytest.raises(ConflictError):
        await client.runs.create(item, "review", command=no, checkpoint=state["checkpoint"])
    yes: Any = {"resume": {"decisions": [{"type": "approve"}]}}
    both = [client.runs.create(item, "review", command=no), other.runs.create(item, "review", command=yes)]
    found = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(one).__name__ for one in found) == ["ConflictError", "dict"]
    first_was_no = isinstance(found[0], dict)
    with pytest.raises(ConflictError):
        await client.runs.create(item, "review", command=yes if first_was_no else no)
    await ended(client, mission_id)
    assert house.play.worked() == ([] if first_was_no else ["task 1"])


async def test_an_answer_in_the_thread_of_a_mission_names_its_question(house: "House") -> None:
    """Proves FR-774: an answer without a name could be about what is asked next."""
    client = await house.client("ada")
    mission_id = await house.waiting(client)
    state: Any = await client.threads.get_state(mission_id)
    (asked,) = state["interrupts"]
    nameless: Any = {"resume": [{"type": "accept", "args": None}]}
    with pytest.raises(UnprocessableEntityError):
        await client.runs.create(mission_id, "mission", command=nameless)
    named: Any = {"resume": {asked["id"]: {"decisions": [{"type": "approve"}]}}}
    found: Any = await client.runs.wait(mission_id, "mission", command=named)
    assert found["result"]["status"] == "done"
