"""Missions over LangGraph's SDK and ``RemoteGraph``: begun, streamed, joined, cancelled; by key, and within a tenant.

Proves FR-773 and FR-775, as each test says.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
from langgraph.pregel.remote import RemoteGraph
from langgraph.types import Command
from langgraph_sdk import get_client
from langgraph_sdk.errors import APIStatusError, ConflictError, NotFoundError, UnprocessableEntityError
from langgraph_sdk.schema import RunCreateMetadata

if TYPE_CHECKING:
    from tests.integration.conftest import Turn  # noqa: TID251 - its type alone
    from tests.integration.served.conftest import House  # noqa: TID251 - its type alone

GO = {"mission": {"goal": "go"}}
PATIENCE_S = 30


class Held:
    """Work that lasts until the test lets it go on."""

    def __init__(self) -> None:
        self.at_work, self.go_on = asyncio.Event(), asyncio.Event()

    async def work(self, turn: "Turn") -> str:
        """Do the task."""
        self.at_work.set()
        await self.go_on.wait()
        return f"{turn.task}: done"

    async def is_at_work(self) -> None:
        """Return when a worker has begun."""
        async with asyncio.timeout(PATIENCE_S):
            await self.at_work.wait()


async def test_a_mission_is_begun_streamed_and_found_again(house: "House") -> None:
    """Proves FR-773: its steps as they come, its result at the end; the thread is the mission; a second run is none."""
    client = await house.client("ada")
    thread = await client.threads.create(metadata={"of": "mine"})
    assert (thread["status"], thread["metadata"]) == ("idle", {"of": "mine"})
    made: list[RunCreateMetadata] = []
    modes: Any = ["values", "updates", "events"]
    parts = [
        part
        async for part in client.runs.stream(
            thread["thread_id"], "mission", input=GO, stream_mode=modes, on_run_created=made.append
        )
    ]
    assert parts[0].event == "metadata"
    assert {part.event for part in parts[1:]} == {"values", "updates", "events"}
    assert (parts[-1].event, parts[-1].data["result"]["answer"]) == ("values", "task 1: done")
    (run,) = await client.runs.list(thread["thread_id"])
    assert [(run["run_id"], run["status"])] == [(one["run_id"], "success") for one in made]
    assert await client.runs.get(thread["thread_id"], run["run_id"]) == run
    state: Any = await client.threads.get_state(thread["thread_id"])
    assert state["values"]["result"] == parts[-1].data["result"]
    assert await client.threads.get_history(thread["thread_id"]) == [state]
    found = await client.threads.search(metadata={"graph_id": "mission"}, status="idle")
    assert thread["thread_id"] in {one["thread_id"] for one in found}
    with pytest.raises(ConflictError):
        await client.runs.create(thread["thread_id"], "mission", input=GO)
    assert house.play.worked() == ["task 1"]
    assert house.calls("ada")[:2] == [("runs.create", "asked"), ("runs.create", "done")]


async def test_remote_graph_runs_and_resumes_a_mission(house: "House") -> None:
    """Proves FR-773: stock RemoteGraph, with an interrupt that it resumes by its id."""
    client = await house.client("ada")
    graph = RemoteGraph("mission", client=client)
    config: Any = {"configurable": {"thread_id": str(uuid4())}}
    found: Any = await graph.ainvoke({**GO, "approve_plan": True}, config, version="v2")
    (asked,) = found.interrupts
    state = await graph.aget_state(config)
    assert [one.id for one in state.interrupts] == [asked.id]
    assert [one.values async for one in graph.aget_state_history(config)] == [state.values]
    answer = Command(resume={asked.id: [{"type": "accept", "args": None}]})
    ended: Any = await graph.ainvoke(answer, config)
    assert (ended["status"], ended["result"]["answer"]) == ("done", "task 1: done")
    assert (await graph.aget_state(config)).next == ()
    assert (await graph.ainvoke(GO))["status"] == "done"  # without a thread of its own
    assert house.play.worked() == ["task 1", "task 1"]


async def test_a_mission_outlives_its_client_and_is_joined_or_cancelled(houses: Callable[..., Any]) -> None:
    """Proves FR-773: a client that leaves a stream stops nothing; what is cancelled ends."""
    held = Held()
    async with houses(work=held.work) as house:
        client = await house.client("ada")
        thread = await client.threads.create()
        async for part in client.runs.stream(thread["thread_id"], "mission", input=GO, stream_mode="updates"):
            assert part.event == "metadata"
            break
        await held.is_at_work()
        assert (await client.threads.get(thread["thread_id"]))["status"] == "busy"
        (run,) = await client.runs.list(thread["thread_id"])
        joining = asyncio.create_task(client.runs.join(thread["thread_id"], run["run_id"]))
        held.go_on.set()
        assert (await joining)["result"]["status"] == "done"
        held.at_work.clear()
        held.go_on.clear()
        other = await client.threads.create()
        second = await client.runs.create(other["thread_id"], "mission", input=GO)
        assert second["status"] == "running"
        await held.is_at_work()
        await client.runs.cancel(other["thread_id"], second["run_id"], wait=True)
        assert (await client.runs.get(other["thread_id"], second["run_id"]))["status"] == "interrupted"
        assert (await client.runs.join(other["thread_id"], second["run_id"]))["status"] == "cancelled"


async def test_assistants_are_the_graphs(house: "House") -> None:
    """Proves FR-773: by name and by id, with the schema of what a mission takes."""
    client = await house.client("ada")
    found = await client.assistants.search()
    assert [one["graph_id"] for one in found] == ["mission", "review"]
    assert await client.assistants.get("mission") == found[0]
    assert await client.assistants.get(found[1]["assistant_id"]) == found[1]
    schemas: Any = await client.assistants.get_schemas("mission")
    assert set(schemas["input_schema"]["properties"]) == {"mission", "approve_plan", "dry_run"}
    with pytest.raises(NotFoundError):
        await client.assistants.get("another")


async def test_another_tenant_finds_nothing(house: "House") -> None:
    """Proves FR-775: neither missions nor questions, by no call; the words are those for ids that nobody has."""
    client, stranger = await house.client("ada"), await house.client("eve", "elsewhere")
    mission = await house.waiting(client)
    about: Any = {"graph_id": "review", "mission_id": mission}
    (thread,) = await client.threads.search(metadata=about, status="interrupted", limit=100)
    (run,) = await client.runs.list(mission)
    yes: Any = {"resume": [{"type": "accept", "args": None}]}
    for graph in ("mission", "review"):
        assert await stranger.threads.search(metadata={"graph_id": graph}, limit=100) == []
    told: dict[str, set[str]] = {}
    for thread_id in (mission, thread["thread_id"], str(uuid4()), "no-id"):
        calls = {
            "get": stranger.threads.get(thread_id),
            "state": stranger.threads.get_state(thread_id),
            "history": stranger.threads.get_history(thread_id),
            "list": stranger.runs.list(thread_id),
            "run": stranger.runs.get(thread_id, run["run_id"]),
            "cancel": stranger.runs.cancel(thread_id, run["run_id"]),
            "answer": stranger.runs.create(thread_id, "review", command=yes),
        }
        for name, call in calls.items():
            with pytest.raises(NotFoundError) as refused:
                await call
            told.setdefault(name, set()).add(str(refused.value.body))
    assert all(len(words) == 1 for words in told.values())
    with pytest.raises(NotFoundError):
        await stranger.runs.create(mission, "mission", input=GO)
    assert (await client.threads.get(mission))["status"] == "interrupted"


async def test_only_a_key_lets_in_and_only_people_with_the_right_answer(house: "House") -> None:
    """Proves FR-775: with no key, a wrong one, or two; a service reads, and answers nothing."""
    key = await house.key("ada")
    async with httpx.AsyncClient(base_url=house.url) as http:
        assert (await http.get("/ok")).json() == {"ok": True}
        shown: list[Any] = [{}, {"x-api-key": "chk_no"}, {"x-api-key": key, "authorization": f"Bearer {key}"}]
        for headers in (*shown, [("x-api-key", key), ("x-api-key", key)]):
            assert (await http.get("/info", headers=headers)).status_code == 401
        for headers in ({"x-api-key": key}, {"authorization": f"Bearer {key}"}):
            assert (await http.get("/info", headers=headers)).status_code == 200
    client, service = await house.client("ada"), await house.client("watcher", kind="service", roles=("service",))
    about: Any = {"graph_id": "review", "mission_id": await house.waiting(client)}
    (thread,) = await service.threads.search(metadata=about, status="interrupted", limit=100)
    yes: Any = {"resume": [{"type": "accept", "args": None}]}
    with pytest.raises(APIStatusError) as refused:
        await service.runs.create(thread["thread_id"], "review", command=yes)
    assert refused.value.status_code == 403
    assert house.calls("watcher") == [("runs.resume", "asked"), ("runs.resume", "CH500")]
    (again,) = await client.threads.search(metadata=about, status="interrupted", limit=100)
    assert again["thread_id"] == thread["thread_id"]


async def test_what_is_not_carried_is_refused(house: "House") -> None:
    """Proves FR-773: with a reason; nothing begins."""
    client = await house.client("ada")
    before = house.rows("SELECT count(*) FROM missions")
    thread = (await client.threads.create())["thread_id"]
    jump: Any = {"resume": {}, "goto": "finish"}
    write: Any = {"update": {"result": {}}}
    refused: list[dict[str, Any]] = [
        {"input": GO, "stream_mode": "messages-tuple"},
        {"input": GO, "interrupt_before": ["finish"]},
        {"input": GO, "webhook": "https://example.com/"},
        {"input": {**GO, "result": {}}},
        {"input": {"mission": {"goal": ""}}},
        {"command": jump},
        {"command": write},
        {},
    ]
    for wish in refused:
        with pytest.raises(UnprocessableEntityError):
            await client.runs.create(thread, "mission", **wish)
    with pytest.raises(httpx.HTTPStatusError, match="422"):
        await client.runs.wait(thread, "mission", input=GO, on_disconnect="cancel")
    with pytest.raises(UnprocessableEntityError):
        await client.runs.create(thread, "review", input=GO)
    for call in (client.crons.search(), client.store.get_item(["a"], "b"), client.threads.delete(thread)):
        with pytest.raises(APIStatusError) as told:
            await call
        assert told.value.status_code == 501
    assert house.rows("SELECT count(*) FROM missions") == before


HOSTILE = [
    b"",
    b"{",
    b"[]",
    b"\xff",
    b'{"input": 1' + b"0" * 6_000 + b"}",
    b"[" * 5_000,
    b'{"metadata": {"a": "\\ud800\\u0000"}}',
]


async def test_hostile_bodies_and_ids_do_no_harm(houses: Callable[..., Any]) -> None:
    """Proves FR-773: whatever is sent, an answer says so, and none is a failure of the server."""
    ids = [str(uuid4()), "..", "%00", "%ed%a0%80", "a" * 500, "{" + str(uuid4()) + "}"]
    paths = ["/threads", "/threads/search", "/assistants/search", "/runs/wait"]
    paths += [f"/threads/{one}/{end}" for one in ids for end in ("history", "runs", "runs/stream", "state")]
    async with houses(server_calls_per_minute=10_000) as house:
        headers = {"x-api-key": await house.key("ada"), "content-type": "application/json"}
        async with httpx.AsyncClient(base_url=house.url, headers=headers, timeout=PATIENCE_S) as http:
            for path in paths:
                for body in HOSTILE:
                    found = await http.post(path, content=body)
                    assert found.status_code < 500 or found.status_code == 501, (path, body[:20], found.text)
            for one in set(ids) - {".."}:
                assert (await http.get(f"/threads/{one}")).status_code in (404, 501)


async def test_a_web_page_calls_from_an_origin_that_is_named(houses: Callable[..., Any]) -> None:
    """Proves FR-775: its browser asks first, without the key; another page is refused."""
    async with houses(server_origins=["http://localhost:3000"]) as house:
        key = await house.key("ada")
        asks = {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key,content-type"}
        async with httpx.AsyncClient(base_url=house.url) as http:
            for origin, status in (("http://localhost:3000", 200), ("http://evil.example", 403)):
                headers = {"origin": origin}
                assert (await http.options("/threads/search", headers={**headers, **asks})).status_code == status
                found = await http.post("/threads/search", json={}, headers={**headers, "x-api-key": key})
                assert found.status_code == status
                assert (found.headers.get("access-control-allow-origin") == origin) is (status == 200)


async def test_where_no_key_is_asked_for_the_local_user_answers(house: "House") -> None:
    """Proves FR-775: a client that shows a key that is none is refused all the same where keys count."""
    async with get_client(url=house.url, api_key="chk_nobody") as client:
        with pytest.raises(APIStatusError) as refused:
            await client.threads.search()
        assert refused.value.status_code == 401
