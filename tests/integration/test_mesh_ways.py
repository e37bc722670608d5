"""Proves the other ways to a tool: HTTP+SSE, tokens by client credentials, quotas, kept results and stand-ins.

Proves FR-546, FR-547, FR-548 and FR-549.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from chimera.core.clock import SystemClock
from chimera.core.errors import SettingsInvalid, ToolBusy, ToolRefused, ToolServerDown
from chimera.core.settings import Settings
from chimera.models.limits import LocalBuckets
from chimera.store.cache import RedisCache
from chimera.store.embedded import Endpoints
from chimera.store.limits import RedisBuckets
from chimera.store.redis import open_redis
from chimera.tools.capability import NOBODY, Capability, Requester
from chimera.tools.mesh.cache import RESULT_MAX_BYTES, KeptResults
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.oauth import ClientCredentials
from chimera.tools.mesh.quotas import Quota, Quotas
from chimera.tools.mesh.servers import ServerSpec, configured
from chimera.tools.mesh.standins import stand_in

WAYS = Path(__file__).parents[1] / "servers" / "ways.py"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with subprocess.Popen([sys.executable, str(WAYS)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


def older(port: int, name: str = "older", **more: Any) -> ServerSpec:
    return ServerSpec(name=name, transport="sse", url=f"http://127.0.0.1:{port}/sse", **more)


def by_token(port: int, secret: str = "canary-secret") -> ServerSpec:
    given = ClientCredentials(
        token_url=f"http://127.0.0.1:{port}/token", client_id=SecretStr("me"), client_secret=SecretStr(secret)
    )
    return ServerSpec(name="closed", transport="http", url=f"http://127.0.0.1:{port}/mcp", oauth=given)


async def page(mesh: ToolMesh, name: str, requester: Requester = NOBODY, **more: Any) -> str:
    found = await mesh.call(name, {"number": 7}, scope="m", idempotency_key="k", requester=requester, **more)
    return found.text


async def test_a_server_over_sse_is_used_like_any_other(port: int, tmp_path: Path) -> None:
    async with ToolMesh([older(port)], Settings(home=tmp_path)) as mesh:
        assert [tool.name for tool in await mesh.capabilities()] == ["older__note", "older__page"]
        assert (await page(mesh, "older__page")).startswith("page 7")
        with pytest.raises(ToolRefused):
            await mesh.call("older__page", {"number": "x"}, scope="m", idempotency_key="k")


async def test_a_message_that_a_server_over_sse_does_not_take_is_an_error_at_once(port: int, tmp_path: Path) -> None:
    """Proves FR-554: long before the deadline, with what is known of the call; the session works on."""
    async with ToolMesh([older(port)], Settings(home=tmp_path)) as mesh, httpx.AsyncClient() as client:
        await mesh.capabilities()
        for mood, told in (
            ("503", "HTTP 503: it refused it"),
            ("307", "HTTP 307: it redirects it, which is not followed"),
            ("silent", "did not take the message within 4 s"),
        ):
            await client.put(f"http://127.0.0.1:{port}/messages-as/{mood}")
            with pytest.raises(ToolServerDown, match=told) as caught:
                await mesh.call("older__note", {"text": "x"}, scope="m", idempotency_key="k", deadline_s=120)
            assert caught.value.context["outcome"] == "unknown"
            assert told in mesh.status()[0].unhealthy
            await client.put(f"http://127.0.0.1:{port}/messages-as/well")
            assert (await page(mesh, "older__page")).startswith("page 7")
            assert mesh.status()[0].unhealthy == ""


async def test_a_server_over_sse_that_names_an_endpoint_elsewhere_is_down_at_once(port: int, tmp_path: Path) -> None:
    spec = ServerSpec(name="older", transport="sse", url=f"http://127.0.0.1:{port}/elsewhere/sse")
    async with ToolMesh([spec], Settings(home=tmp_path, tool_start_timeout_s=600)) as mesh:
        assert await mesh.capabilities() == []
        assert "an endpoint at another address" in mesh.status()[0].unhealthy


async def test_a_token_is_got_renewed_and_never_shown(
    port: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with ToolMesh([by_token(port)], Settings(home=tmp_path)) as mesh:
        for _ in range(5):  # a token is good for two requests: the refused ones are made again with a new one
            assert (await page(mesh, "closed__page")).startswith("page 7")
    async with ToolMesh([by_token(port, "wrong-canary-secret")], Settings(home=tmp_path)) as mesh:
        assert await mesh.capabilities() == []
        assert "HTTP 401" in mesh.status()[0].error
        assert "canary" not in f"{mesh.status()} {by_token(port)!r} {caplog.text}"


async def test_a_quota_is_one_budget_of_all_processes_and_counts_agents_and_tenants_apart(
    port: int, endpoints: Endpoints, tmp_path: Path
) -> None:
    ada, bob, other = Requester("ada"), Requester("bob"), Requester("ada", "acme")
    spec = older(port, quota=Quota(per_agent=1))
    async with open_redis(endpoints.redis_url) as redis:
        buckets = RedisBuckets(redis, prefix=f"test:{tmp_path}")
        async with (
            ToolMesh([spec], Settings(home=tmp_path), buckets=buckets) as here,
            ToolMesh([spec], Settings(home=tmp_path), buckets=buckets) as there,
        ):
            await page(here, "older__page", ada)
            with pytest.raises(ToolBusy, match="1 times a minute") as caught:
                await page(there, "older__page", ada, deadline_s=5)
            assert caught.value.context["outcome"] == "not done"
            await page(there, "older__page", bob)
            await page(there, "older__page", other)


class Slow(LocalBuckets):
    """Has no turn for the first who asks, and tells for how long; then it has."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(SystemClock())
        self.waits = [wait_s, 0.0]
        self.asked: list[str] = []

    async def take(self, name: str, requests: int, tokens: int, wanted: int, burst_ms: int) -> float:
        self.asked.append(name)
        return self.waits.pop(0)


async def test_a_call_waits_for_its_turn_if_there_is_one_before_its_deadline() -> None:
    until = asyncio.get_running_loop().time() + 30
    soon, late = Slow(0.01), Slow(60.0)
    await Quotas(soon).admit("web", Quota(per_minute=60), NOBODY, until)
    assert soon.asked == ["web:all"] * 2
    with pytest.raises(ToolBusy, match="next turn is in 60 s"):
        await Quotas(late).admit("web", Quota(per_minute=60), NOBODY, until)
    assert late.asked == ["web:all"]


async def test_results_of_reads_are_kept_for_their_tenant_alone(
    port: int, endpoints: Endpoints, tmp_path: Path
) -> None:
    async with open_redis(endpoints.redis_url) as redis:
        cache = RedisCache(redis, prefix=f"test:{tmp_path}")
        async with ToolMesh([older(port, cache_s=60)], Settings(home=tmp_path), cache=cache) as mesh:
            await mesh.capabilities()
            first = await page(mesh, "older__page")
            assert await page(mesh, "older__page") == first
            assert await page(mesh, "older__page", Requester(tenant="acme")) != first
            said = [
                (await mesh.call("older__note", {"text": "x"}, scope="m", idempotency_key=key)).text for key in "ab"
            ]
            assert said == ["x, note 1", "x, note 2"], "what writes is done each time"
        await cache.put("large", "x" * (RESULT_MAX_BYTES + 1), 60)
        await cache.put("strange", "{}x", 60)
        assert await KeptResults(cache).get("strange") is None
    async with open_redis("redis://127.0.0.1:1") as gone:
        nothing = RedisCache(gone, prefix="x")
        await nothing.put("a", "b", 1)
        assert await nothing.get("a") is None


async def test_a_server_that_is_named_for_it_stands_in(port: int, tmp_path: Path) -> None:
    first = older(port, "first", fallbacks=["second"])
    second = older(port, "second")
    async with ToolMesh([first, second], Settings(home=tmp_path)) as mesh:
        await mesh.capabilities()
        broken = mesh._servers["first"].replicas[0].breaker  # pyright: ignore[reportPrivateUsage]
        broken.open_for(60)
        assert (await page(mesh, "first__page")).startswith("page 7")
        noted = await mesh.call("first__note", {"text": "x"}, scope="m", idempotency_key="k")
        assert noted.text.startswith("x")
    async with ToolMesh([older(port, "first"), second], Settings(home=tmp_path)) as mesh:
        await mesh.capabilities()
        mesh._servers["first"].replicas[0].breaker.open_for(60)  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(ToolServerDown, match="failed too often"):
            await page(mesh, "first__page")


def tool(**more: Any) -> Capability:
    schema = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    return Capability.model_validate({"name": "a__t", "server": "a", "tool": "t", "input_schema": schema, **more})


@pytest.mark.parametrize(
    ("other", "may"),
    [
        (tool(), True),
        (tool(read_only=True, destructive=False), True),
        (tool(tool="u", name="a__u"), False),
        (tool(input_schema={"type": "object", "properties": {"q": {"type": "integer"}}}), False),
        (tool(input_schema={"type": "object", "properties": {"q": {}, "k": {}}, "required": ["k"]}), False),
    ],
)
def test_only_a_tool_that_takes_the_same_may_stand_in(other: Capability, may: bool) -> None:
    assert (stand_in(tool(), {"q": "x"}, [other]) is not None) is may


@pytest.mark.parametrize(
    "wanted",
    [
        tool(read_only=True, destructive=False),
        tool(idempotent=True),
        tool(destructive=False),
        tool(output_schema={"type": "object", "required": ["rows"]}),
    ],
)
def test_a_stand_in_does_no_more_and_gives_no_less(wanted: Capability) -> None:
    assert stand_in(wanted, {"q": "x"}, [tool()]) is None
    assert stand_in(wanted, {"q": "x"}, [wanted]) is not None


def test_what_the_file_says_of_quotas_results_stand_ins_and_tokens_is_read(tmp_path: Path) -> None:
    entry = {
        "url": "https://example.com/mcp",
        "quota": {"per_agent": 3},
        "cache_s": 60,
        "fallbacks": ["other"],
        "oauth": {"token_url": "https://example.com/token", "client_id": "me", "client_secret": "${SECRET}"},
    }
    file = tmp_path / "servers.json"
    file.write_text(json.dumps({"mcpServers": {"a": entry}}))
    (found,) = configured(Settings(home=tmp_path, servers=file), {"SECRET": "canary"})
    assert (found.quota.per_agent, found.cache_s, found.fallbacks) == (3, 60, ["other"])
    assert found.oauth is not None
    assert found.oauth.client_secret.get_secret_value() == "canary"
    assert "canary" not in repr(found)
    file.write_text(json.dumps({"mcpServers": {"a": {**entry, "oauth": {"token_url": "x"}}}}))
    with pytest.raises(SettingsInvalid):
        configured(Settings(home=tmp_path, servers=file), {"SECRET": "canary"})
