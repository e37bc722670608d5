"""``chimera serve`` and ``chimera mcp`` as processes, called by the MCP SDK's client: missions, signals, end of stdin.

Proves FR-560, FR-572, FR-573 and FR-574.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from chimera.cli.main import app
from chimera.guards.permissions.first import local_user
from chimera.store.embedded import Endpoints

COMMAND = [sys.executable, "-m", "chimera"]
GOAL = "Find what is rising and write a short briefing with sources"
LIMIT_S = 50.0
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def environment(
    child_environment: Callable[..., dict[str, str]],
    database_url: str,
    endpoints: Endpoints,
    enrol: Callable[..., None],
    tmp_path: Path,
) -> dict[str, str]:
    """The shared servers with a database and a data folder of the test's own, where the local user is the operator."""
    enrol(database_url, local_user())
    return child_environment(
        CHIMERA_HOME=tmp_path / "home",
        CHIMERA_DATABASE_URL=database_url,
        CHIMERA_REDIS_URL=endpoints.redis_url,
        CHIMERA_SERVER_FILES=tmp_path,
    )


@pytest.fixture
def silent() -> Generator[str]:
    """The address of a server that accepts a connection and never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


class Serving:
    """A ``chimera serve`` on a port of its own."""

    def __init__(self, environment: dict[str, str], *options: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--port", "0", *options], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stderr is not None
        self.said = ""
        for line in self.process.stderr:
            self.said += line
            if line.startswith("serving "):
                self.url = line.split()[1]
                return
        pytest.fail(f"it did not start: {self.said}")

    def health(self, path: str) -> tuple[int, dict[str, Any]]:
        """What a health endpoint says."""
        try:
            with urllib.request.urlopen(self.url.replace("/mcp", path), timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def end(self, *, tell: bool = True) -> tuple[int, str]:
        """Exit code and the rest of stderr, after SIGTERM unless it was sent before."""
        if tell:
            self.process.send_signal(signal.SIGTERM)
        _, err = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, err


@pytest.fixture
def serve(environment: dict[str, str]) -> Generator[Callable[..., Serving]]:
    """Starts servers, and ends them."""
    made: list[Serving] = []

    def start(*options: str, **more: str) -> Serving:
        made.append(Serving({**environment, **more}, *options))
        return made[-1]

    yield start
    for serving in made:
        serving.process.kill()
        serving.process.communicate()


def chimera(environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run another command in this process, which saves a start; its exit code, stdout and stderr."""
    from typer.testing import CliRunner

    def invoke() -> Any:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            return CliRunner().invoke(app, list(arguments))

    with ThreadPoolExecutor(1) as executor:  # in a thread: a test may have a loop of its own
        result = executor.submit(invoke).result()
    return result.exit_code, result.stdout, result.stderr


def key_for(environment: dict[str, str], name: str) -> str:
    """A key of a new service."""
    chimera(environment, "principal", "add", name, "--kind", "service", "--role", "service")
    code, out, err = chimera(environment, "principal", "key", name, "--label", "a test", "--days", "1", "--json")
    assert code == 0, err
    return str(json.loads(out)["text"])


@asynccontextmanager
async def over_http(url: str, key: str) -> AsyncGenerator[ClientSession]:
    """A session of the SDK's client over HTTP."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        httpx.AsyncClient(headers=headers, timeout=LIMIT_S) as http,
        streamable_http_client(url, http_client=http) as (reading, writing, _),
        ClientSession(reading, writing) as session,
    ):
        await session.initialize()
        yield session


@asynccontextmanager
async def over_stdio(environment: dict[str, str]) -> AsyncGenerator[ClientSession]:
    """A session of the SDK's client with a process of its own."""
    server = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "mcp"], env=environment)
    async with stdio_client(server) as (reading, writing), ClientSession(reading, writing) as session:
        await session.initialize()
        yield session


async def call(session: ClientSession, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured answer of a call that works."""
    result = await session.call_tool(tool, arguments)
    assert not result.isError, result.content
    assert result.structuredContent is not None
    return result.structuredContent


async def test_another_agent_runs_a_mission_over_http(
    serve: Callable[..., Serving], environment: dict[str, str], feed: Path
) -> None:
    """The answer is the document of the command, with evidence; what it cost and who asked is on the record, which
    verifies; a revoked key is refused.
    """
    key = key_for(environment, "newsroom")
    serving = serve()
    assert serving.health("/healthz") == (200, {"status": "ok"})
    ready, body = serving.health("/readyz")
    assert (ready, body["parts"]) == (200, {"postgres": "ok", "redis": "ok"})
    async with over_http(serving.url, key) as session:
        found = await call(session, "run_mission", goal=GOAL, inputs={"feed": str(feed)}, wait_s=40)
        assert found["status"] == "done", found
        assert "comet" in found["answer"]
        assert found["evidence"]
        tools = await call(session, "search_tools", query="what is rising in a feed of posts", k=1)
        assert tools["tools"][0]["name"] == "trends__analyze_trends"
    code, out, _ = chimera(environment, "show", found["mission_id"], "--json")
    assert code == 0
    assert json.loads(out)["mission"]["result"]["trail"] == found["trail"]
    assert chimera(environment, "audit", "verify")[0] == 0
    code, out, _ = chimera(environment, "principal", "keys", "newsroom", "--json")
    (listed,) = json.loads(out)["keys"]
    assert (listed["label"], listed["revoked_at"], key.split("_", 2)[2] in out) == ("a test", None, False)
    assert chimera(environment, "principal", "revoke", listed["id"])[0] == 0
    async with httpx.AsyncClient() as http:
        refused = await http.post(serving.url, json={}, headers={"Authorization": f"Bearer {key}"})
    assert refused.status_code == 401
    code, err = serving.end()
    assert code == 0, err
    assert "Traceback" not in serving.said + err


async def test_the_user_of_this_machine_runs_a_mission_over_stdio(
    environment: dict[str, str], feed: Path, tmp_path: Path
) -> None:
    """He names any file that he can read, and is the caller on the record."""
    elsewhere = tmp_path.parent / f"{tmp_path.name}-elsewhere.csv"
    elsewhere.write_bytes(feed.read_bytes())
    async with over_stdio(environment) as session:
        found = await call(session, "run_mission", goal=GOAL, inputs={"feed": str(elsewhere)}, wait_s=40)
        assert (found["status"], bool(found["evidence"])) == ("done", True)
    with psycopg.connect(environment["CHIMERA_DATABASE_URL"]) as connection:
        rows = connection.execute("SELECT body FROM audit_events WHERE kind = 'server.called'").fetchall()
    called = [json.loads(body) for (body,) in rows]
    assert {(event["actor"], event["data"]["way"]) for event in called} == {(local_user(), "mcp over stdio")}


@pytest.mark.long
async def test_sigterm_tells_who_waits_and_leaves_the_mission_to_the_next_server(
    serve: Callable[..., Serving], environment: dict[str, str], silent: str
) -> None:
    """Exit code 0, within seconds, with the id for whoever waits; the next server goes on with the mission."""
    hanging = {
        "CHIMERA_MODEL": "openai:silent",
        "CHIMERA_MODEL_BASE_URL": silent,
        "CHIMERA_MODEL_API_KEY": "none-needed-here",
    }
    serving = serve("--no-auth", **hanging)
    async with over_http(serving.url, "") as session:
        waiting = asyncio.create_task(call(session, "run_mission", goal=GOAL, wait_s=60, idempotency_key="once"))
        started = await call(session, "run_mission", goal=GOAL, wait=False, idempotency_key="once")
        begun = time.monotonic()
        serving.process.send_signal(signal.SIGTERM)
        found = await waiting
        assert (found["mission_id"], found["status"]) == (started["mission_id"], "running")
    code, err = await asyncio.to_thread(serving.end, tell=False)
    assert code == 0, err
    assert time.monotonic() - begun < LIMIT_S / 2
    assert "Traceback" not in err
    with psycopg.connect(environment["CHIMERA_DATABASE_URL"]) as connection:
        (status,) = connection.execute("SELECT status FROM missions").fetchone() or ("none",)
    assert status == "running"
    again = serve("--no-auth")  # the offline rules, which find no feed
    async with over_http(again.url, "") as session:
        found = await call(session, "mission_status", mission_id=started["mission_id"], wait_s=40)
    assert found["status"] == "failed"
    assert found["unmet"]


@pytest.mark.parametrize("how", ["end of stdin", "SIGTERM"])
def test_stdio_ends_with_its_client(environment: dict[str, str], silent: str, how: str) -> None:
    """Exit code 0; a call under way is answered with the id of its mission, and nothing is left behind."""
    process = subprocess.Popen(
        [*COMMAND, "mcp"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
    asked = {"goal": GOAL, "inputs": {"feed": f"{silent}/feed.xml"}, "wait_s": 60}
    messages: list[Any] = [
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "no such tool"}},
        {"id": 3, "method": "tools/call", "params": {"name": "run_mission", "arguments": asked}},
    ]
    lines = [json.dumps({"jsonrpc": "2.0", **message}) for message in messages]
    process.stdin.write(
        "\n".join([lines[0], lines[1], "no JSON", "[" * 50_000, "x" * 1_500_000, *lines[2:]]).encode() + b"\n"
    )
    process.stdin.flush()
    heard = [json.loads(process.stdout.readline()) for _ in range(5)]
    by_id = {one["id"]: one for one in heard if one["id"] is not None}
    assert by_id[1]["result"]["serverInfo"]["name"] == "chimera"
    assert by_id[2]["error"]["code"] == -32602
    assert [one["error"]["code"] for one in heard if one["id"] is None] == [-32700, -32700, -32700]
    deadline = time.monotonic() + LIMIT_S
    while not (missions := _missions(environment)) and time.monotonic() < deadline:
        time.sleep(0.05)
    if how == "SIGTERM":
        process.send_signal(signal.SIGTERM)
        out = process.stdout.read()
        process.wait(LIMIT_S)
    else:
        out, _ = process.communicate(timeout=LIMIT_S)
    answer = json.loads(out)
    assert (answer["id"], answer["result"]["structuredContent"]["mission_id"]) == (3, missions[0])
    assert process.returncode == 0
    assert _left_behind(environment["CHIMERA_HOME"]) == []
    process.stdin.close() if not process.stdin.closed else None
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def test_what_could_be_reached_from_elsewhere_needs_keys_and_a_name(environment: dict[str, str]) -> None:
    """CH200 and what to do, before anything is opened."""
    for options, named, said in (
        (("--host", "0.0.0.0", "--no-auth"), "[]", "without keys"),
        (("--host", "::", "--no-auth"), '["a.example"]', "without keys"),
        (("--host", "0.0.0.0"), "[]", "by which name"),
        (("--host", "no.such.host.invalid"), '["a.example"]', "cannot be used"),
    ):
        code, _, err = chimera({**environment, "CHIMERA_SERVER_HOSTS": named}, "serve", "--port", "0", *options)
        assert (code, said in err, "CH200" in err) == (2, True, True), err


def _missions(environment: dict[str, str]) -> list[str]:
    with psycopg.connect(environment["CHIMERA_DATABASE_URL"]) as connection:
        return [str(row[0]) for row in connection.execute("SELECT id FROM missions").fetchall()]


def _left_behind(home: str) -> list[str]:
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if (
                entry.name.isdigit()
                and int(entry.name) != os.getpid()
                and home.encode() in (entry / "environ").read_bytes()
            ):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found
