"""An OpenAI-compatible server, real and on loopback: forms, tool calls, failures, and a whole mission through it.

Proves FR-47, FR-3, FR-365 and LAW-6. The server keeps the rules of the protocol as strictly as the vendor's own, counts
tokens for itself, and holds the key: what it saw and what the mission left behind is compared.
"""

import asyncio
import json
import logging
import re
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import psycopg
import pytest
import uvicorn
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from redis import Redis
from redis.asyncio import Redis as Aredis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chimera import ChimeraSwarm, Mission
from chimera.core.clock import SystemClock
from chimera.core.contracts import Budget, MissionResult, Split, Usage
from chimera.core.errors import ModelAnswerInvalid, ModelFailed, ModelTimeout
from chimera.core.ids import random_ids
from chimera.core.money import Money
from chimera.core.settings import Settings
from chimera.core.spotlight import read
from chimera.models import calls as calling
from chimera.models.calls import Models
from chimera.models.gate import Caller, Sent
from chimera.models.limits import ProviderLimits
from chimera.nodes.grounding import uncited_claims
from chimera.review.reviewers import scripted_reviewer
from chimera.store.embedded import Endpoints
from chimera.store.limits import RedisBuckets

KEY = "sk-canary-3b9d1c77"
TOKENS_IN, TOKENS_OUT = 41, 7  # what the server says that each call used
MODEL = "openai:test-model"
NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")

Reply = dict[str, Any] | Response
Line = Reply | Callable[[dict[str, Any]], Reply]


# --- the server ------------------------------------------------------------------------------------------------------


def say(text: str) -> dict[str, Any]:
    """An assistant's message."""
    return {"role": "assistant", "content": text}


def use(*calls: tuple[str, Any]) -> dict[str, Any]:
    """An assistant's message that calls tools; arguments that are a text are sent as they are, JSON or not."""
    listed = [
        {
            "id": f"call_{place}_{name}"[:40],
            "type": "function",
            "function": {"name": name, "arguments": args if isinstance(args, str) else json.dumps(args)},
        }
        for place, (name, args) in enumerate(calls)
    ]
    return {"role": "assistant", "content": None, "tool_calls": listed}


def fail(status: int, **headers: str) -> Response:
    """A failure whose message quotes the key, as some servers do."""
    return JSONResponse({"error": {"message": f"Incorrect API key provided: {KEY}", "code": "x"}}, status, headers)


HANG = Response(status_code=299)
COUNTED = {"prompt_tokens": 0, "completion_tokens": TOKENS_OUT, "total_tokens": TOKENS_OUT}


class Provider:
    """The state of the server: its script, and what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.script: list[Line] = [say("hello")]
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.ports: set[int] = set()
        self.usage: dict[str, int] | None = {
            "prompt_tokens": TOKENS_IN,
            "completion_tokens": TOKENS_OUT,
            "total_tokens": TOKENS_IN + TOKENS_OUT,
        }
        self.answered = 0

    async def complete(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        self.keys.append(request.headers.get("authorization", ""))
        self.ports.add(request.client.port if request.client else 0)
        if self.keys[-1] != f"Bearer {KEY}":
            return fail(401)
        asked = await request.json()
        if problem := protocol_problem(asked):
            return JSONResponse({"error": {"message": problem, "type": "invalid_request_error"}}, 400)
        line = self.script[min(len(self.asked), len(self.script) - 1)]
        self.asked.append(asked)
        if line is HANG:
            await asyncio.wait_for(request.receive(), 30)  # the next thing to come is the end of the connection
        reply = line(asked) if callable(line) and not isinstance(line, Response) else line
        if isinstance(reply, Response):
            return reply
        self.answered += 1
        finish = "tool_calls" if reply.get("tool_calls") else "stop"
        body: dict[str, Any] = {
            "id": "c1",
            "object": "chat.completion",
            "created": 1,
            "model": asked["model"],
            "choices": [{"index": 0, "message": reply, "finish_reason": finish}],
        }
        if self.usage is COUNTED:
            read = sum(len(message.get("content") or "") for message in asked["messages"]) // 4
            return JSONResponse(body | {"usage": {**COUNTED, "prompt_tokens": read, "total_tokens": read + TOKENS_OUT}})
        return JSONResponse(body | ({"usage": self.usage} if self.usage else {}))


def protocol_problem(asked: dict[str, Any]) -> str:
    """What the vendor's API answers with 400: its rules about names, forms and the order of messages."""
    names = [tool["function"]["name"] for tool in asked.get("tools", [])]
    if len(set(names)) < len(names) or not all(NAME.fullmatch(name) for name in names):
        return f"tools: bad or repeated names {names}"
    open_calls: set[str] = set()
    messages: list[dict[str, Any]] = asked["messages"]
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                return "a tool message answers no call"
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            return f"an assistant message with 'tool_calls' must be followed by tool messages: {open_calls}"
        calls: list[dict[str, Any]] = message.get("tool_calls") or []
        for call in calls:
            if not NAME.fullmatch(call["function"]["name"]):
                return f"tool_calls: bad name {call['function']['name']}"
            open_calls.add(call["id"])
    return f"calls without an answer: {open_calls}" if open_calls else ""


@pytest.fixture
def provider() -> Generator[Provider]:
    """The server, on a free port, in a thread of its own; ``url`` is its base URL."""
    state = Provider()
    app = Starlette(routes=[Route("/v1/chat/completions", state.complete, methods=["POST"])])
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    yield state
    server.should_exit = server.force_exit = True
    thread.join(10)


# --- single calls ----------------------------------------------------------------------------------------------------


class Ledger:
    """A meter in memory."""

    def __init__(self) -> None:
        self.used = Usage()

    async def add(self, call_id: str, mission_id: str, role: str, model: str, usage: Usage) -> None:
        self.used = self.used + usage

    async def total(self, mission_id: str) -> Usage:
        return self.used


class Open:
    """A gate that everything passes: what guards say of requests is tested elsewhere."""

    async def passed(self, caller: Caller, sent: Sent) -> Sent:
        return sent


class Client:
    """Our side of single calls. All of a test are closed after it."""

    opened: ClassVar[list["Client"]] = []

    def __init__(self, provider: Provider, limits: ProviderLimits | None = None, **settings: Any) -> None:
        given = {"model": MODEL, "model_base_url": provider.url, "model_api_key": KEY, "model_timeout_s": 20}
        self.ledger = Ledger()
        chosen = Settings.model_validate(given | settings)
        self.models = Models(chosen, self.ledger, random_ids(), limits=limits, gate=Open())
        self._caller = Caller("m", "worker", Budget())
        self.opened.append(self)

    async def turn(self, messages: Sequence[Any] = (HumanMessage("hi"),), tools: Sequence[Any] = ()) -> AIMessage:
        return await self.models.turn(self._caller, messages, list(tools))

    async def fill(self) -> Split:
        return await self.models.structured(self._caller, [HumanMessage("split")], Split)


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "BACKOFF_S", 0.0)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture(autouse=True)
async def closed() -> AsyncGenerator[None]:
    yield
    while Client.opened:
        await Client.opened.pop().models.aclose()


TOOL = {
    "type": "function",
    "function": {"name": "s__look", "description": "Look.", "parameters": {"type": "object", "properties": {}}},
}
TEAMS = {"teams": [{"name": "a", "goal": "b"}]}


async def test_a_turn_with_tools_and_their_results(provider: Provider) -> None:
    provider.script = [use(("s__look", {"at": 1})), say("seen")]
    client = Client(provider)
    first = await client.turn(tools=[TOOL])
    assert [(call["name"], call["args"]) for call in first.tool_calls] == [("s__look", {"at": 1})]
    answer = ToolMessage("a cat", tool_call_id=str(first.tool_calls[0]["id"]))
    second = await client.turn([HumanMessage("hi"), first, answer], [TOOL])
    assert second.text == "seen"
    assert provider.asked[1]["messages"][-1]["content"] == "a cat"
    assert provider.asked[0]["tools"] == [TOOL]
    assert client.ledger.used == Usage(calls=2, tokens_in=2 * TOKENS_IN, tokens_out=2 * TOKENS_OUT)


async def test_a_form_is_asked_for_as_a_forced_function(provider: Provider) -> None:
    provider.script = [use(("Split", TEAMS))]
    assert await Client(provider).fill() == Split.model_validate(TEAMS)
    (asked,) = provider.asked
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "Split"}}
    assert asked["tools"][0]["function"]["parameters"]["properties"]["teams"]["maxItems"] == 100


@pytest.mark.parametrize(
    "wrong",
    [say("I would rather talk."), use(("Split", {"teams": []})), use(("Split", "{not json")), use(("Other", TEAMS))],
    ids=["talk", "breaks the form", "no JSON", "another function"],
)
async def test_an_answer_of_the_wrong_form_is_asked_for_again(wrong: dict[str, Any], provider: Provider) -> None:
    provider.script = [wrong, use(("Split", TEAMS))]
    client = Client(provider)
    assert await client.fill() == Split.model_validate(TEAMS)
    assert client.ledger.used.calls == 2
    provider.script = [wrong]
    with pytest.raises(ModelAnswerInvalid):
        await client.fill()


@pytest.mark.parametrize(("status", "tries"), [(401, 1), (400, 1), (404, 1), (500, 3), (503, 3)])
async def test_a_failing_server_is_asked_again_only_where_that_helps(
    status: int, tries: int, provider: Provider
) -> None:
    provider.script = [fail(status)]
    with pytest.raises(ModelFailed) as failed:
        await Client(provider).turn()
    assert failed.value.message.endswith(f"(HTTP {status})")
    assert len(provider.asked) == tries
    assert KEY not in repr(failed.value.__cause__) + repr(failed.value.__context__) + str(failed.value.as_dict())


async def test_calls_share_connections_and_close_them_in_the_end(provider: Provider) -> None:
    """Over aiohttp, whose cost for each call is a fraction of httpx's own. Proves FR-366."""
    client = Client(provider)
    for _ in range(5):
        await client.turn()
    assert len(provider.ports) == 1
    provider.ports.clear()
    await asyncio.gather(*(client.turn() for _ in range(8)))
    await asyncio.gather(*(client.turn() for _ in range(8)))
    assert len(provider.ports) <= 8
    (model,) = client.models._built.values()  # pyright: ignore[reportPrivateUsage]
    used = cast("Any", model).http_async_client
    await client.models.aclose()
    assert used.is_closed
    assert (await client.turn()).text, "whoever goes on asking gets a connection again"
    await client.models.aclose()


async def test_a_server_that_recovers_is_used(provider: Provider) -> None:
    provider.script = [fail(429), fail(500), say("back")]
    assert (await Client(provider).turn()).text == "back"


async def test_who_is_told_to_wait_waits_and_so_do_the_other_processes(
    provider: Provider, endpoints: Endpoints
) -> None:
    """Proves FR-365: by the header ``Retry-After`` of a real answer, and through Redis."""
    async with Aredis.from_url(endpoints.redis_url) as redis:
        buckets = RedisBuckets(redis, "test:told-to-wait")
        one, other = (Client(provider, ProviderLimits({MODEL: (6_000, 0)}, SystemClock(), buckets)) for _ in range(2))
        provider.script = [fail(429, **{"Retry-After": "4"}), say("back")]
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(one.turn())
        async with asyncio.timeout(20):
            while not (wait := await buckets.take(MODEL, 6_000, 0, 1, 10_000)):  # noqa: ASYNC110 - it calls nobody
                await asyncio.sleep(0.05)
        told_at = loop.time()
        assert (await other.turn()).text == "back"
        assert loop.time() - told_at >= wait - 0.1, "it did not wait, though another process knew"
        assert (await first).text == "back"
        assert len(provider.asked) == 3, "nobody asked in between"


@pytest.mark.parametrize("body", ["{", "[]", "null", "{}", '"text"', "<html>busy</html>"])
async def test_an_answer_that_is_none_is_a_failure(body: str, provider: Provider) -> None:
    provider.script = [Response(body, media_type="application/json")]
    with pytest.raises(ModelFailed):
        await Client(provider, model_retries=1).turn()


async def test_a_wrong_key_is_a_failure_and_not_repeated(provider: Provider) -> None:
    with pytest.raises(ModelFailed, match="HTTP 401"):
        await Client(provider, model_api_key="sk-wrong").turn()
    assert provider.keys == ["Bearer sk-wrong"]


async def test_a_server_that_hangs_times_out_and_the_next_model_is_asked(provider: Provider) -> None:
    provider.script = [HANG, say("from the second")]
    client = Client(provider, model_timeout_s=1.5, model_retries=0, model_fallbacks=["openai:second-model"])
    assert (await client.turn()).text == "from the second"
    assert [asked["model"] for asked in provider.asked] == ["test-model", "second-model"]
    provider.script = [HANG]
    with pytest.raises(ModelTimeout):
        await client.turn()


async def test_a_server_that_is_not_there_is_a_failure(free_port: Callable[[], int]) -> None:
    gone = Provider()
    gone.url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(ModelFailed):
        await Client(gone, model_retries=0).turn()


async def test_a_server_that_counts_nothing_is_estimated(provider: Provider) -> None:
    provider.usage = None
    provider.script = [say("y" * 40)]
    client = Client(provider)
    await client.turn([HumanMessage("x" * 400)])
    assert (client.ledger.used.tokens_in, client.ledger.used.tokens_out) == (100, 10)


# --- a whole mission -------------------------------------------------------------------------------------------------


def request_of(asked: dict[str, Any]) -> dict[str, Any]:
    """What a role was given."""
    return read(asked["messages"][1]["content"])


def play(feed: str, *, garbled: bool = False) -> Callable[[dict[str, Any]], Reply]:
    """A model that does the main job: it splits, plans, calls tools, and writes what they gave."""
    analyze = {
        "id": "t1",
        "title": "Find risers",
        "instruction": "Find what rises",
        "tools": ["trends__analyze_trends"],
    }
    write = {
        "id": "t2",
        "title": "Write",
        "instruction": "Write it",
        "tools": ["files__write_artifact"],
        "depends_on": ["t1"],
    }
    criteria = [{"kind": "nonempty"}, {"kind": "cited"}, {"kind": "text", "value": "It speaks of what rises"}]
    artifact = {"kind": "artifact", "value": "briefing.md"}

    def answer(asked: dict[str, Any]) -> Reply:
        forced = (asked.get("tool_choice") or {}).get("function", {}).get("name")
        request = request_of(asked)
        if forced == "Split":
            return use(("Split", {"teams": [{"name": "research", "goal": request["goal"]}]}))
        if forced == "Plan":
            tasks = [{**analyze, "criteria": criteria}, {**write, "criteria": [*criteria, artifact]}]
            return use(("Plan", {"tasks": tasks, "confidence": 0.9}))
        if forced == "Opinion":
            checks = [{"criterion": text, "passed": True} for text in request["criteria"]]
            return use(("Opinion", {"checks": checks, "confidence": 0.95}))
        results = [read(message["content"]) for message in asked["messages"] if message["role"] == "tool"]
        if request["task"]["id"] == "t1":
            if garbled and not results:
                return use(("trends__analyze_trends", '{"source": '))
            if garbled and len(results) == 1:
                return use(("trends__analyze_trends", {"source": feed}), ("trends__analyze_trends", "[broken"))
            if not results:
                return use(("trends__analyze_trends", {"source": feed}))
            top = next(found["data"] for found in results if "data" in found)["risers"][0]
            return say(f"- {top['term']} rises: {top['now']} now [{top['evidence'][0]}]")
        if not results:
            text = f"# Briefing\n\n{request['earlier'][0]['answer']}\n\n## Sources\n"
            return use(("files__write_artifact", {"name": "briefing.md", "content": text}))
        return say(request["earlier"][0]["answer"])

    return answer


def openai_settings(settings: Settings, provider: Provider, **more: Any) -> Settings:
    given = {
        "model": MODEL,
        "model_base_url": provider.url,
        "model_api_key": KEY,
        "prices": {MODEL: (2_000_000, 10_000_000)},
        "auto_approve": 0.85,
    }
    return Settings.model_validate({**dict(settings), **given, **more})


def left_behind(settings: Settings, endpoints: Endpoints) -> bytes:
    """Everything that an installation keeps: every row of every table, every key of Redis, every file."""
    kept: list[bytes] = []
    assert settings.database_url is not None
    with psycopg.connect(settings.database_url.get_secret_value()) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'.encode()).fetchall():
                kept += [value if isinstance(value, bytes) else str(value).encode() for value in row]
    with Redis.from_url(endpoints.redis_url) as redis:
        for key in cast("list[bytes]", redis.keys("chimera:*")):
            read = redis.xrange(key) if redis.type(key) == b"stream" else None
            kept += [key, cast("bytes", redis.dump(key)), repr(read).encode()]
    kept += [path.read_bytes() for path in settings.home.rglob("*") if path.is_file()]
    return b"\n".join(kept)


async def test_a_whole_mission_runs_through_it(
    settings: Settings, endpoints: Endpoints, provider: Provider, feed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Plan, tool calls, document, opinion: all by the model; the numbers are the server's, the key is nowhere."""
    caplog.set_level(logging.DEBUG)
    provider.script = [play(str(feed))]
    ours = openai_settings(settings, provider)
    async with ChimeraSwarm(ours) as swarm:
        result = await swarm.run(Mission(goal="Find what is rising and write a briefing", inputs={"feed": str(feed)}))
        _, document = swarm.app.context.artifacts.read(result.mission_id, "briefing.md")
        described = await swarm.describe(result.mission_id)
    assert result.status == "done", result.reasons
    assert "comet" in document.decode()
    assert not list(
        uncited_claims(
            [document.decode()],
            result.evidence,
            [found["text"] for task in described["tasks"] for found in task["result"]["observations"]],
        )
    )
    assert result.provider == MODEL
    calls = provider.answered
    assert calls == len(provider.asked) == 8, "split, plan, two turns for each of two tasks, two opinions"
    cost = calls * -(-(TOKENS_IN * 2 + TOKENS_OUT * 10) // 1)
    assert result.usage == Usage(
        calls=calls, tokens_in=calls * TOKENS_IN, tokens_out=calls * TOKENS_OUT, cost=Money(units=cost)
    )
    assert set(provider.keys) == {f"Bearer {KEY}"}
    kept = left_behind(ours, endpoints)
    assert b"comet" in kept, "this looks where things are kept"
    assert KEY.encode() not in kept
    assert KEY not in caplog.text + repr(result) + repr(described) + repr(ours)


async def test_a_mission_stops_before_its_budget_is_exceeded(
    settings: Settings, provider: Provider, feed: Path
) -> None:
    """Proves FR-18: whatever the budget, only what a call says on top of what it was sent can go beyond it."""
    provider.usage = COUNTED
    provider.script = [play(str(feed))]
    stopped = 0
    async with ChimeraSwarm(openai_settings(settings, provider)) as swarm:
        for tokens in (100, 1_000, 3_000, 6_000):
            mission = Mission(goal="Find what is rising", inputs={"feed": str(feed)}, budget=Budget(tokens=tokens))
            result = await swarm.run(mission, reviewer=scripted_reviewer)
            used = result.usage.tokens_in + result.usage.tokens_out
            assert used <= tokens + TOKENS_OUT, result
            stopped += any("CH701" in reason for reason in result.reasons)
    assert stopped >= 3


async def test_a_provider_that_quotes_the_key_does_not_get_it_into_the_record(
    settings: Settings, endpoints: Endpoints, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider.script = [fail(401)]
    ours = openai_settings(settings, provider)
    shown: list[str] = []
    async with ChimeraSwarm(ours) as swarm:
        with pytest.raises(ModelFailed) as failed:
            await swarm.run("Find what is rising")
        error: BaseException | None = failed.value
        while error is not None:
            shown += [str(error), repr(error), *getattr(error, "__notes__", [])]
            error = error.__cause__ or error.__context__
    kept = left_behind(ours, endpoints)
    assert KEY.encode() not in kept
    assert KEY not in caplog.text + "".join(shown)


async def test_arguments_that_are_no_json_are_answered_as_the_protocol_wants(
    settings: Settings, provider: Provider, feed: Path
) -> None:
    """The vendor refuses a conversation in which a call has no answer; a garbled one is a call too."""
    provider.script = [play(str(feed), garbled=True)]
    async with ChimeraSwarm(openai_settings(settings, provider)) as swarm:
        result = await swarm.run(Mission(goal="Find what is rising", inputs={"feed": str(feed)}))
    assert result.status == "done", result.reasons
    told = [message for asked in provider.asked for message in asked["messages"] if message["role"] == "tool"]
    assert any("not valid JSON" in message["content"] for message in told)


async def test_a_mission_that_a_model_failed_in_can_be_resumed(
    settings: Settings, provider: Provider, feed: Path
) -> None:
    provider.script = [play(str(feed)), fail(503), fail(503), fail(503), play(str(feed))]
    async with ChimeraSwarm(openai_settings(settings, provider)) as swarm:
        mission = Mission(goal="Find what is rising", inputs={"feed": str(feed)})
        with pytest.raises(ModelFailed):
            await swarm.run(mission, mission_id="0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11")
        result: MissionResult = await swarm.resume("0b9d5a52-9a5e-4a39-8e0b-4a8d2b6d0c11")
    assert result.status == "done", result.reasons
    splits = [asked for asked in provider.asked if "Split" in repr(asked.get("tool_choice"))]
    assert len(splits) == 1, "what had been answered is not asked again"
