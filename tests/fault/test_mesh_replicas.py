"""Proves that replicas of a real server stand in for each other: whatever one of them does, no call that only reads
fails, and no effect happens twice. Proves FR-540, FR-541, FR-542, FR-543, FR-544 and FR-545.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from chimera.bench.mesh.servers import Remote, local, remote
from chimera.core.clock import ManualClock, SystemClock
from chimera.core.errors import SettingsInvalid, StoreUnavailable, ToolFailed, ToolServerDown
from chimera.core.settings import Settings
from chimera.store.circuits import RedisCircuits
from chimera.store.embedded import Endpoints
from chimera.store.redis import open_redis
from chimera.tools.capability import Capability
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.replicas import Call, Replicas
from chimera.tools.mesh.servers import ServerSpec, configured
from chimera.tools.mesh.upkeep import LATE_S, Upkeep

RAW = Path(__file__).parents[1] / "servers" / "raw.py"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[tuple[Remote, Path]]:
    effects = tmp_path_factory.mktemp("replicas") / "effects"
    effects.touch()
    async with remote(effects, endpoints=3) as server:
        yield server, effects


def spec(*urls: str) -> ServerSpec:
    return ServerSpec(name="web", transport="http", url=urls[0], replicas=list(urls[1:]))


async def read(mesh: ToolMesh, count: int, tool: str = "web__read") -> list[str]:
    async def one(number: int) -> str:
        said = await mesh.call(tool, {"text": str(number)}, scope="m1", idempotency_key="k", deadline_s=30)
        return said.text

    return await asyncio.gather(*(one(number) for number in range(count)))


@pytest.mark.parametrize("mood", ["slow", "flaky", "garbage", "hanging"])
async def test_a_replica_that_fails_costs_no_read_and_repeats_no_effect(
    servers: tuple[Remote, Path], tmp_path: Path, mood: str
) -> None:
    server, effects = servers
    async with ToolMesh([spec(*server.urls)], Settings(home=tmp_path)) as mesh:
        await mesh.capabilities()
        await read(mesh, 6)
        await server.mood(mood, 0)
        try:
            for _ in range(4):
                assert await read(mesh, 10) == [str(number) for number in range(10)]
            outcomes = [await write(mesh, f"{mood}-{number}") for number in range(12)]
        finally:
            await server.mood("well", 0)
    done = Counter(line for line in effects.read_text("utf-8").split() if line.startswith(mood))
    assert max(done.values()) == 1
    for number, outcome in enumerate(outcomes):
        assert outcome != "done" or done[f"{mood}-{number}"] == 1
        assert outcome != "not done" or done[f"{mood}-{number}"] == 0
    assert outcomes.count("done") >= 6


async def write(mesh: ToolMesh, key: str) -> str:
    try:
        await mesh.call("web__write", {}, scope="m1", idempotency_key=key, deadline_s=2)
    except ToolFailed as error:
        return str(error.context["outcome"])
    return "done"


async def test_a_killed_replica_is_left_alone_and_without_any_other_no_call_is_made(tmp_path: Path) -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(remote(tmp_path / name)) for name in "ab"]
        async with ToolMesh([spec(*one.urls, *other.urls)], Settings(home=tmp_path), clock) as mesh:
            await mesh.capabilities()
            one.process.kill()
            await one.process.wait()
            assert len(await read(mesh, 20)) == 20
            assert [replica.state for replica in mesh.status()[0].replicas] == ["down", "up"]
            assert mesh.status()[0].state == "up"
            other.process.kill()
            await other.process.wait()
            with pytest.raises(ToolServerDown) as caught:
                await mesh.call("web__write", {}, scope="m1", idempotency_key="k")
            assert caught.value.context["outcome"] == "not done"


async def test_a_replica_with_other_tools_is_not_used(servers: tuple[Remote, Path], tmp_path: Path) -> None:
    server, _ = servers
    async with stranger() as url, ToolMesh([spec(server.urls[0], url)], Settings(home=tmp_path)) as mesh:
        await mesh.capabilities()
        assert await read(mesh, 30) == [str(number) for number in range(30)]


@asynccontextmanager
async def stranger() -> AsyncGenerator[str]:
    """A server whose tool ``read`` is another one."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(RAW.with_name("stranger.py")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}/mcp"
    finally:
        process.kill()
        await process.wait()


async def test_processes_tell_each_other_which_endpoints_fail(endpoints: Endpoints, tmp_path: Path) -> None:
    urls = ["http://127.0.0.1:9/mcp", "http://127.0.0.1:10/mcp"]
    async with open_redis(endpoints.redis_url) as redis:
        circuits = RedisCircuits(redis, key=f"test:{tmp_path}")
        ours, theirs = (replicas(spec(*urls)) for _ in range(2))
        upkeep = [Upkeep([one], Settings(home=tmp_path), SystemClock(), circuits) for one in (ours, theirs)]
        for _ in range(5):
            ours.replicas[0].breaker.failure()
        assert ours.replicas[0].breaker.is_open
        for one in upkeep:
            await one.share()
        assert theirs.replicas[0].breaker.is_open
        assert not theirs.replicas[1].breaker.is_open
        assert await circuits.share({}) != {}


async def test_a_call_that_may_be_made_twice_tries_what_failed_and_no_other_does() -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    two = spec("http://127.0.0.1:9/a", "http://127.0.0.1:9/b")
    web = Replicas(two, Settings(), clock, asyncio.Semaphore(1), Random(1))
    for _ in range(5):
        web.replicas[0].breaker.failure()
    clock.advance(2)
    schema = {"type": "object"}
    reads, writes = (
        Capability(name="web__t", server="web", tool="t", input_schema=schema, read_only=only) for only in (True, False)
    )

    def asked(tool: Capability) -> set[int]:
        found = [web.choose(Call(tool.name, {}, {}, 1, 1, tool)) for _ in range(20)]
        return {one.place for one in found if one is not None}

    assert asked(reads) == {0}
    assert asked(writes) == {1}


def replicas(one: ServerSpec) -> Replicas:
    return Replicas(one, Settings(), SystemClock(), asyncio.Semaphore(1), Random(1))


async def test_without_redis_each_process_knows_what_it_found(tmp_path: Path) -> None:
    async with open_redis("redis://127.0.0.1:1") as redis:
        assert await RedisCircuits(redis).share({"a": 1.0}) == {}


class Book:
    """Writes health down, after it failed a few times."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.noted: list[tuple[str, int, str]] = []

    async def note(self, server: str, number: int, unhealthy: str) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the database is away")
        self.noted.append((server, number, unhealthy))


async def test_the_housekeeping_survives_what_goes_wrong_in_it_and_says_so(
    servers: tuple[Remote, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Proves FR-555."""
    monkeypatch.setattr("chimera.tools.mesh.upkeep.TICK_S", 0.01)
    server, _ = servers
    clock, book = ManualClock(datetime(2026, 1, 1, tzinfo=UTC)), Book(failures=1_000_000)
    async with ToolMesh([spec(server.urls[0])], Settings(home=tmp_path), clock, health=book) as mesh:
        assert mesh.upkeep.problem == ""
        await mesh.capabilities()
        async with asyncio.timeout(40):
            while not mesh.upkeep.problem:  # noqa: ASYNC110 - nothing tells that it failed
                await asyncio.sleep(0.01)
        assert "the database is away" in mesh.upkeep.problem
        assert await read(mesh, 3) == ["0", "1", "2"], "calls go on"
        book.failures = 0
        async with asyncio.timeout(40):
            while mesh.upkeep.problem:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        assert book.noted == [("web", 0, "")]
        assert [record.levelname for record in caplog.records if record.name.endswith("upkeep")] == ["ERROR", "WARNING"]
        monkeypatch.setattr("chimera.tools.mesh.upkeep.TICK_S", 600)
        await asyncio.sleep(0.05)
        clock.advance(LATE_S + 1)
        assert "has not run for" in mesh.upkeep.problem


async def test_health_is_noted_when_it_changes(servers: tuple[Remote, Path], tmp_path: Path) -> None:
    """Proves FR-552."""
    server, _ = servers
    book = Book()
    async with ToolMesh([spec(*server.urls[:2])], Settings(home=tmp_path), health=book) as mesh:
        await mesh.upkeep.note()
        assert book.noted == [], "of what never ran nothing is known"
        await mesh.capabilities()
        await mesh.upkeep.note()
        await mesh.upkeep.note()
        assert book.noted == [("web", 0, ""), ("web", 1, "")]
        await server.mood("garbage", 0)
        try:
            await read(mesh, 12)
        finally:
            await server.mood("well", 0)
        await mesh.upkeep.note()
        assert book.noted[2:] == [("web", 0, "the answer is not a valid MCP message")]
        assert [bool(one.unhealthy) for one in mesh.status()[0].replicas] == [True, False]
        assert mesh.status()[0].unhealthy == "", "one of them is well"


async def test_unused_sessions_are_ended_and_come_back_at_need(servers: tuple[Remote, Path], tmp_path: Path) -> None:
    server, effects = servers
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    settings = Settings(home=tmp_path, tool_idle_s=100, tool_sessions_max=2)
    some = [spec(server.urls[0]), local("piped", effects), spec(server.urls[1]).model_copy(update={"name": "third"})]
    async with ToolMesh(some, settings, clock) as mesh:
        offered = await mesh.capabilities()
        clock.advance(1)
        await read(mesh, 1)
        clock.advance(1)
        await read(mesh, 1, "piped__read")
        mesh.upkeep.end_idle()
        assert {one.name: one.state for one in mesh.status()} == {"third": "idle", "web": "up", "piped": "up"}
        clock.advance(101)
        mesh.upkeep.end_idle()
        assert {one.state for one in mesh.status()} == {"idle"}
        assert await read(mesh, 1, "piped__read") == ["0"]
        assert await mesh.capabilities() == offered


async def test_a_session_in_use_is_not_ended(servers: tuple[Remote, Path], tmp_path: Path) -> None:
    server, _ = servers
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    async with ToolMesh([spec(server.urls[0])], Settings(home=tmp_path, tool_idle_s=1), clock) as mesh:
        await mesh.capabilities()
        await server.mood("slow", 0)
        try:
            (used,) = mesh._servers["web"].replicas  # pyright: ignore[reportPrivateUsage]
            calls = asyncio.ensure_future(read(mesh, 1))
            async with asyncio.timeout(40):
                while used.keeper.idle_since is not None:  # noqa: ASYNC110 - nothing tells that a call was sent
                    await asyncio.sleep(0)
            clock.advance(50)
            mesh.upkeep.end_idle()
            assert mesh.status()[0].state == "up", "else the read would be repeated on a new session, and not fail"
            assert await calls == ["0"]
            clock.advance(50)
            mesh.upkeep.end_idle()
            assert mesh.status()[0].state == "idle"
        finally:
            await server.mood("well", 0)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is the Linux kernel's")
async def test_a_server_that_takes_too_much_memory_ends_alone(tmp_path: Path) -> None:
    def raw(name: str) -> ServerSpec:
        return ServerSpec(name=name, transport="stdio", command=sys.executable, args=["-S", "-E", str(RAW)])

    async with ToolMesh([raw("greedy"), raw("modest")], Settings(home=tmp_path, tool_memory_mb=200)) as mesh:
        modest = await mesh.call("modest__meta", {}, scope="m", idempotency_key="k")
        with pytest.raises(ToolServerDown, match="ended by itself"):
            await mesh.call("greedy__eat", {"mb": 400}, scope="m", idempotency_key="k")
        again = await mesh.call("modest__meta", {}, scope="m", idempotency_key="k")
        assert json.loads(again.text)["pid"] == json.loads(modest.text)["pid"]


def test_replicas_and_instances_are_read_from_the_file(tmp_path: Path) -> None:
    file = tmp_path / "servers.json"
    entries = {
        "many": {"url": "https://a.example.com/mcp", "replicas": ["https://${HOST}/mcp"]},
        "twice": {"command": "x", "instances": 2},
    }
    file.write_text(json.dumps({"mcpServers": entries}))
    many, twice = configured(Settings(home=tmp_path, servers=file), {"HOST": "b.example.com"})
    assert [one.url for one in many.endpoints()] == ["https://a.example.com/mcp", "https://b.example.com/mcp"]
    assert [one.command for one in twice.endpoints()] == ["x", "x"]
    for wrong in ({"url": "https://a.example.com", "instances": 2}, {"command": "x", "replicas": ["https://b"]}):
        file.write_text(json.dumps({"mcpServers": {"a": wrong}}))
        with pytest.raises(SettingsInvalid):
            configured(Settings(home=tmp_path, servers=file))
