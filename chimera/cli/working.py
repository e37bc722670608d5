"""What a worker's turn is made of: a saver that writes under its lease, the agents' graph on it, contexts of pools."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

from chimera.app import App
from chimera.core.contracts import Usage
from chimera.fleet.carrying import agent_body
from chimera.fleet.dispatch import LocalDispatch
from chimera.fleet.worker import Body
from chimera.graphs.agent import build_agent
from chimera.nodes.context import Context
from chimera.store.checkpoints import GroupCommit, Lease, open_saver
from chimera.store.pools import AgentPool, PoolStore
from chimera.store.usage import UsageLog

FRESH_S = 1.0


def session(app: App, concurrency: int) -> Callable[[Lease], AbstractAsyncContextManager[Body]]:
    """What opens a turn's graph, under the lease of that turn."""
    pools = Pools(app)

    @asynccontextmanager
    async def open_body(lease: Lease) -> AsyncGenerator[Body]:
        async with open_saver(app.pool, GroupCommit(app.pool, lease=lease)) as saver:
            graph = build_agent(checkpointer=saver)
            yield agent_body(LocalDispatch(graph, concurrency), pools.named, pools.context_of)

    return open_body


class Pools:
    """The pools as they were a moment ago, and the services of each."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._store = PoolStore(app.pool)
        self._known: dict[str, tuple[float, AgentPool]] = {}
        self._contexts: dict[tuple[str, str | None, bool], Context] = {}
        self._reading = asyncio.Lock()

    async def named(self, name: str) -> AgentPool:
        """A pool, at most a second old."""
        async with self._reading:
            read_at, pool = self._known.get(name, (-FRESH_S, None))
            if pool is None or time.monotonic() - read_at >= FRESH_S:
                pool = await self._store.get(name)
                self._known[name] = (time.monotonic(), pool)
            return pool

    def context_of(self, pool: AgentPool) -> Any:
        """The services with the pool's model, and its budget charged, where it has these."""
        key = (pool.name, pool.model, pool.budget_units is not None)
        if key not in self._contexts:
            self._contexts[key] = self._made(pool)
        return self._contexts[key]

    def _made(self, pool: AgentPool) -> Context:
        context = self._app.context
        if pool.model is None and pool.budget_units is None:
            return context
        settings, meter = context.settings, context.usage
        if pool.model is not None:
            settings = settings.model_copy(update={"models": {**settings.models, "worker": pool.model}})
        if pool.budget_units is not None:
            meter = PoolMeter(self._app.pool, self._store, pool.name)
        return replace(context, settings=settings, usage=meter, models=context.models.with_settings(settings, meter))


class PoolMeter(UsageLog):
    """Records what a mission uses, and charges the pool."""

    def __init__(self, pool: Any, pools: PoolStore, name: str) -> None:
        super().__init__(pool)
        self._pools = pools
        self._name = name

    async def add(self, call_id: str, mission_id: str, role: str, model: str, usage: Usage) -> None:
        """Record one model call, and take its cost from the pool's budget."""
        await super().add(call_id, mission_id, role, model, usage)
        if usage.cost.units:
            await self._pools.spend(self._name, usage.cost.units)
