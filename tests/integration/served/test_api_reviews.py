"""The REST interface: questions, and the stream of events.

Proves FR-767 and FR-768, as each test says.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

from chimera.server.api.events import TOLD
from chimera.store.audit.kinds import kind_of

if TYPE_CHECKING:
    from tests.integration.served.conftest import House  # noqa: TID251 - its type alone

PATIENCE_S = 30


async def asked(api: httpx.AsyncClient) -> tuple[str, dict[str, Any]]:
    """A mission that waits, and its question."""
    mission = (await api.post("/missions", json={"goal": "go", "approve_plan": True})).json()["id"]
    for _ in range(10):
        found = (await api.get(f"/missions/{mission}", params={"wait_s": 10})).json()
        if found["open_reviews"]:
            return mission, (await api.get(f"/reviews/{found['open_reviews'][0]}")).json()
    pytest.fail("it asked nothing")


async def ended(api: httpx.AsyncClient, mission: str) -> str:
    """The status of a mission once it has ended."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = (await api.get(f"/missions/{mission}", params={"wait_s": 10})).json()
            if found["status"] not in ("running", "waiting", "stopped"):
                return str(found["status"])
            await asyncio.sleep(0.1)  # an answer can still be taken back: it is asked until it counts


@pytest.fixture
async def quick(houses: Callable[..., Any]) -> AsyncGenerator["House"]:
    """A server where an answer can be taken back for a second."""
    async with houses(review_grace_s=1.0) as house:
        yield house


async def test_a_question_is_decided_on_the_version_that_was_seen(quick: "House") -> None:
    """Proves FR-767: listed, claimed, decided once; a stale version is 409; the mission goes on."""
    api = await quick.api()
    mission, card = await asked(api)
    listed = (await api.get("/reviews", params={"mission_id": mission})).json()["items"]
    assert [one["id"] for one in listed] == [card["id"]]
    assert card["editable"] is not None
    path = f"/reviews/{card['id']}"
    assert (await api.put(f"{path}/claim")).status_code == 200
    handed = await api.post(f"{path}/reassign", json={"to": "ada", "version": card["version"], "reason": "mine"})
    assert handed.status_code == 200, handed.text
    stale = await api.post(f"{path}/decision", json={"action": "approve", "version": card["version"]})
    assert (stale.status_code, stale.headers["content-type"]) == (409, "application/problem+json")
    said = {"action": "approve", "version": handed.json()["version"]}
    done, twice = [await api.post(f"{path}/decision", json=said) for _ in range(2)]
    assert (done.status_code, done.json()["state"], done.json()["first"]) == (200, "decided", True)
    assert (twice.status_code, twice.json().get("first")) == (200, False)
    assert await ended(api, mission) == "done"


async def test_a_rejection_needs_a_reason_and_a_decision_a_right(house: "House") -> None:
    """Proves FR-767: people by their role, programs never; another tenant's question is unknown."""
    api, service = await house.api(), await house.api("watcher", kind="service", roles=("service",))
    stranger = await house.api("eve", "elsewhere")
    mission, card = await asked(api)
    path, yes = f"/reviews/{card['id']}", {"action": "approve", "version": card["version"]}
    assert (await api.post(f"{path}/decision", json={**yes, "action": "reject"})).status_code == 422
    assert (await api.post(f"{path}/decision", json={**yes, "reviewer": "root"})).status_code == 422
    assert (await service.post(f"{path}/decision", json=yes)).status_code == 403
    for call in (f"/reviews/{card['id']}", f"/reviews/{uuid4()}"):
        assert (await stranger.get(call)).status_code == 404
    assert (await stranger.post(f"{path}/decision", json=yes)).status_code == 404
    assert (await stranger.get("/reviews")).json()["items"] == []
    assert (await api.get(path)).json()["state"] == "open"
    rejected = await api.post(f"{path}/decision", json={**yes, "action": "reject", "reason": "not so"})
    assert rejected.status_code == 200
    await api.post(f"/missions/{mission}/cancel")


async def told(api: httpx.AsyncClient, last: str | None = None) -> AsyncGenerator[tuple[str, str, dict[str, Any]]]:
    """The events of a stream: id, kind and data."""
    headers = {"Last-Event-ID": last} if last is not None else {}
    async with api.stream("GET", "/events", headers=headers) as stream:
        assert stream.status_code == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        event: dict[str, str] = {}
        async for line in stream.aiter_lines():
            name, _, value = line.partition(": ")
            if line:
                event[name] = value
            else:
                yield event.get("id", ""), event.get("event", ""), json.loads(event.get("data", "{}"))
                event = {}


async def test_events_go_on_where_a_connection_was_lost(quick: "House") -> None:
    """Proves FR-768: nothing is missed and nothing told twice, however often the connection breaks; no agent's text."""
    api = await quick.api("hears", "hearing")
    async with asyncio.timeout(PATIENCE_S):
        stream = told(api)
        last, *_ = await anext(stream)
        mission, card = await asked(api)
        await api.post(f"/reviews/{card['id']}/decision", json={"action": "approve", "version": card["version"]})
        assert await ended(api, mission) == "done"
        heard: list[tuple[str, str, dict[str, Any]]] = []
        while not heard or heard[-1][1] != "mission.finished":
            await stream.aclose()
            stream = told(api, last)
            await anext(stream)
            for _ in range(2):  # two events by each connection
                heard.append(await anext(stream))
                last = heard[-1][0]
                if heard[-1][1] == "mission.finished":
                    break
        await stream.aclose()
    kinds = [kind for _, kind, _ in heard]
    assert kinds[0] == "mission.started"
    numbers = [int(number) for number, *_ in heard]
    assert numbers == sorted(set(numbers))
    assert {data["mission_id"] for _, _, data in heard} == {mission}
    record = quick.rows("SELECT seq, kind FROM audit_events WHERE mission_id = %s ORDER BY seq", mission)
    assert numbers == [seq for seq, kind in record if kind_of(kind).category in TOLD and seq <= numbers[-1]]
    assert "task 1" not in json.dumps([data for *_, data in heard])


async def test_whose_events_and_from_where(house: "House") -> None:
    """Proves FR-768: the tenant's own; not for foreign agents; not from a number that is not there yet."""
    api, peer = await house.api(), await house.api("a peer", kind="peer", roles=("peer",))
    assert (await peer.get("/events")).status_code == 403
    assert (await api.get("/events", headers={"Last-Event-ID": "999999999999"})).status_code == 422
    assert (await api.get("/events", headers={"Last-Event-ID": "x"})).status_code == 422
    stranger = await house.api("eve", "elsewhere")
    async with asyncio.timeout(PATIENCE_S):
        stream = told(stranger, "0")
        await anext(stream)
        mission = (await api.post("/missions", json={"goal": "go"})).json()["id"]
        await ended(api, mission)
        own = (await stranger.post("/missions", json={"goal": "go", "dry_run": True})).json()["id"]
        seen: set[str] = set()
        async for _, _, data in stream:
            seen.add(str(data.get("mission_id")))
            if own in seen:
                break
        await stream.aclose()
    assert mission not in seen
