"""A server with missions that play, the real client of the LangGraph SDK for it, and its REST interface."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
import uvicorn
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient

from chimera import ChimeraSwarm
from chimera.app import App
from chimera.server.asgi import address_of, compose
from chimera.server.serving import Web

if TYPE_CHECKING:
    from tests.integration.conftest import Play, Stage  # noqa: TID251 - their types alone

Enrol = Callable[..., None]
PLAN = {"mission": {"goal": "go"}, "approve_plan": True}


@dataclass
class House:
    """A server in this process. ``play``: what its missions do."""

    swarm: ChimeraSwarm
    url: str
    play: "Play"
    enrol: Enrol
    database_url: str
    keys: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def key(self, name: str, tenant: str = "default", **how: Any) -> str:
        """A key of somebody, who is enrolled as an operator unless ``how`` says otherwise."""
        if (name, tenant) not in self.keys:
            chief = "ada" if tenant == "default" else f"operator of {tenant}"
            await asyncio.to_thread(self.enrol, self.database_url, chief, tenant=tenant)
            if name != chief:
                await asyncio.to_thread(self.enrol, self.database_url, name, tenant=tenant, **how)
            issued = await self.swarm.app.context.oversight.keys.issue(name, chief, tenant=tenant)
            self.keys[name, tenant] = issued.text
        return self.keys[name, tenant]

    async def client(self, name: str = "ada", tenant: str = "default", **how: Any) -> LangGraphClient:
        """The SDK's client of somebody."""
        made = get_client(url=self.url, api_key=await self.key(name, tenant, **how))
        return await self.stack.enter_async_context(made)

    async def api(self, name: str = "ada", tenant: str = "default", **how: Any) -> httpx.AsyncClient:
        """The REST interface as somebody calls it."""
        headers = {"authorization": f"Bearer {await self.key(name, tenant, **how)}"}
        made = httpx.AsyncClient(base_url=f"{self.url}/api/v1", headers=headers, timeout=30)
        return await self.stack.enter_async_context(made)

    async def waiting(self, client: LangGraphClient, **asked: Any) -> str:
        """The id of a mission that was begun by a client and waits for an answer about its plan."""
        thread = await client.threads.create()
        found = await client.runs.wait(thread["thread_id"], "mission", input={**PLAN, **asked})
        assert isinstance(found, dict)
        assert found["status"] == "waiting"
        return str(thread["thread_id"])

    def calls(self, name: str) -> list[tuple[str, str]]:
        """What somebody's calls were, and what came of each, oldest first."""
        events = [json.loads(body) for (body,) in self.rows("SELECT body FROM audit_events ORDER BY seq")]
        mine = [event for event in events if event["kind"] == "server.called" and event["actor"] == name]
        return [(event["data"]["tool"], event["data"]["outcome"]) for event in mine]

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of the database."""
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(query.encode(), values).fetchall()


@asynccontextmanager
async def opened_house(stage: "Stage", enrol: Enrol, database_url: str, **options: Any) -> AsyncGenerator[House]:
    """A server; ``options`` are those of a swarm, and ``work``: what its workers do."""
    play = stage.play({"go": [stage.plan(stage.task(1))]}, options.pop("work", None))
    async with AsyncExitStack() as stack:
        swarm = await stack.enter_async_context(stage.swarm(play, **options))

        @asynccontextmanager
        async def opened() -> AsyncGenerator[App]:
            yield swarm.app

        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port, settings = listening.getsockname()[1], swarm.app.settings
        app = compose(settings, opened, address_of(settings, "127.0.0.1", port))
        started = asyncio.Event()
        web = Web(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1), started.set)
        running = asyncio.create_task(web.serve([listening]))
        await started.wait()
        house = House(swarm, f"http://127.0.0.1:{port}", play, enrol, database_url)
        try:
            yield house
        finally:
            await house.stack.aclose()
            app.state.house.keeper.closing.set()
            web.should_exit = True
            await running


@pytest.fixture
async def house(stage: "Stage", enrol: Enrol, shared_database_url: str) -> AsyncGenerator[House]:
    """A server whose missions have one task that says that it is done."""
    async with opened_house(stage, enrol, shared_database_url) as made:
        yield made


@pytest.fixture
def houses(stage: "Stage", enrol: Enrol, shared_database_url: str) -> Callable[..., Any]:
    """Opens servers with options."""

    def open_one(**options: Any) -> Any:
        return opened_house(stage, enrol, shared_database_url, **options)

    return open_one
