"""The REST interface: missions, problems, the OpenAPI document, and who may call.

Proves FR-765 and FR-766, as each test says.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.served.conftest import House  # noqa: TID251 - its type alone

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,ignored_auth"
)


def problem(found: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem of an answer, which is of that status and code."""
    assert found.headers["content-type"] == "application/problem+json"
    told = found.json()
    assert (found.status_code, told["status"], told["code"]) == (status, status, code), told
    assert told["type"] == f"urn:chimera:error:{code}"
    assert told["remedy"]
    return dict(told)


async def ended(api: httpx.AsyncClient, mission_id: str) -> dict[str, Any]:
    """A mission when it has ended, or waits."""
    for _ in range(10):
        found = (await api.get(f"/missions/{mission_id}", params={"wait_s": 10})).json()
        if found["status"] != "running":
            return dict(found)
    pytest.fail("it did not end")


async def test_a_mission_is_begun_once_and_read(house: "House") -> None:
    """Proves FR-766: the same key is the same mission; another request with it is refused; the result is there."""
    api = await house.api()
    asked, key = {"goal": "go"}, {"Idempotency-Key": "k-1"}
    first, again = [await api.post("/missions", json=asked, headers=key) for _ in range(2)]
    assert (first.status_code, again.status_code) == (202, 202)
    mission = first.json()["id"]
    assert again.json()["id"] == mission
    assert first.headers["location"] == f"/api/v1/missions/{mission}"
    problem(await api.post("/missions", json={"goal": "else"}, headers=key), 409, "CH702")
    whole = await ended(api, mission)
    assert (whole["status"], whole["result"]["answer"], whole["tasks"]) == (
        "done", "task 1: done", {"planned": 1, "done": 1},
    )  # fmt: skip
    assert (await api.get(f"/missions/{mission}/result")).json() == whole["result"]
    (task,) = (await api.get(f"/missions/{mission}/tasks")).json()["items"]
    assert (task["id"], task["state"]) == ("t1", "done")
    assert house.play.worked() == ["task 1"]
    assert ("run_mission", "done") in house.calls("ada")


async def test_a_listing_goes_on_where_it_was(house: "House") -> None:
    """Proves FR-766: by cursor, newest first, whatever comes in meanwhile."""
    api = await house.api("lists", "listing")
    made = [(await api.post("/missions", json={"goal": "go", "dry_run": True})).json()["id"] for _ in range(5)]
    page = (await api.get("/missions", params={"limit": 2})).json()
    late = (await api.post("/missions", json={"goal": "go", "dry_run": True})).json()["id"]
    found = [one["id"] for one in page["items"]]
    while page["next"]:
        page = (await api.get("/missions", params={"limit": 2, "cursor": page["next"]})).json()
        found += [one["id"] for one in page["items"]]
    assert found == made[::-1]
    newest = (await api.get("/missions", params={"limit": 1})).json()["items"]
    assert [one["id"] for one in newest] == [late]
    problem(await api.get("/missions", params={"cursor": "nonsense"}), 422, "CH100")
    for one in (*made, late):
        await ended(api, one)


async def test_a_mission_is_stopped(house: "House") -> None:
    """Proves FR-766: one that waits is cancelled, and has no result before."""
    api = await house.api()
    asked = {"goal": "go", "approve_plan": True}
    mission = (await api.post("/missions", json=asked)).json()["id"]
    waiting = await ended(api, mission)
    assert (waiting["status"], len(waiting["open_reviews"])) == ("waiting", 1)
    problem(await api.get(f"/missions/{mission}/result"), 409, "CH702")
    assert (await api.post(f"/missions/{mission}/cancel")).json()["status"] == "cancelled"


async def test_who_may_call_and_what_is_unknown(house: "House") -> None:
    """Proves FR-765: no key, a wrong one; another tenant's ids are answered as ids that nobody has."""
    api, stranger = await house.api(), await house.api("eve", "elsewhere")
    mission = (await api.post("/missions", json={"goal": "go"})).json()["id"]
    await ended(api, mission)
    async with httpx.AsyncClient(base_url=f"{house.url}/api/v1") as nobody:
        told = problem(await nobody.get("/missions"), 401, "CH901")
        assert "ada" not in json.dumps(told)
        problem(await nobody.get("/missions", headers={"authorization": "Bearer chk_no"}), 401, "CH901")
    for path in ("", "/tasks", "/result"):
        known, unknown = [await stranger.get(f"/missions/{one}{path}") for one in (mission, uuid4())]
        problem(unknown, 404, "CH103")
        assert known.status_code == 404
        assert known.json()["title"] == unknown.json()["title"]
        assert known.text.replace(mission, "ID") == unknown.text.replace(unknown.json()["detail"].split()[-1], "ID")
    assert (await stranger.get("/missions")).json()["items"] == []
    problem(await stranger.post(f"/missions/{mission}/cancel"), 404, "CH103")
    problem(await api.get("/nothing-here"), 404, "CH908")
    problem(await api.delete("/missions"), 405, "CH100")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'{"goal": ""}', b'{"goal": 7}', b'{"goal": "go", "tenant": "elsewhere"}',
        b'{"goal": "a\\ud800"}', b'{"goal": "a", "deadline_s": 1e400}', b'{"goal": "go", "budget": {"tokens": -1}}',
        b"[" * 20_000, b"\xff\xfe",
    ],
    ids=[
        "empty", "cut", "list", "null", "no goal", "number", "tenant", "surrogate", "infinite", "negative", "deep",
        "bytes",
    ],
)  # fmt: skip
async def test_bad_bodies_are_refused(house: "House", body: bytes) -> None:
    """Proves FR-765: a problem says what is wrong; nothing begins."""
    api, before = await house.api(), house.rows("SELECT count(*) FROM missions")
    found = await api.post("/missions", content=body, headers={"content-type": "application/json"})
    assert found.headers["content-type"] == "application/problem+json", found.text
    assert found.status_code in (400, 422)
    assert house.rows("SELECT count(*) FROM missions") == before


async def fuzzed(house: "House", folder: Path, phases: str, examples: int) -> str:
    """What schemathesis says of the interface that is served; fails when it found something."""
    api = await house.api()
    document = folder / "openapi.json"
    document.write_text((await api.get("/openapi.json")).text)
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", str(document), "--url", f"{house.url}/api/v1",
        "--header", f"Authorization: {api.headers['authorization']}", "--checks", CHECKS, "--seed", "7",
        "--max-examples", str(examples), "--exclude-path", "/events", "--phases", phases,
        "--generation-database", "none", "--no-color", "--suppress-health-check", "all",
    ]  # fmt: skip
    running = await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await running.communicate()
    assert running.returncode == 0, said.decode()[-6_000:]
    return said.decode()


@pytest.mark.timeout(240)
async def test_the_document_holds(houses: "Callable[..., Any]", tmp_path: Path) -> None:
    """Proves FR-765: requests by the OpenAPI document, also wrong ones, are answered as it says; none is a failure."""
    async with houses(server_calls_per_minute=1_000_000) as house:
        said = await fuzzed(house, tmp_path, "coverage", 5)
        assert "Tested: 18" in said


@pytest.mark.long
@pytest.mark.timeout(1_800)
async def test_the_document_holds_for_many(houses: "Callable[..., Any]", tmp_path: Path) -> None:
    """Proves FR-765: the same, with many examples."""
    async with houses(server_calls_per_minute=1_000_000) as house:
        await fuzzed(house, tmp_path, "coverage,fuzzing", 60)
