"""What a worker's turn is made of: a saver that writes under its lease, the agents' graph on it, contexts of pools."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

from langgraph.runtime import RunControl

from chimera.app import App
from chimera.core.contracts import Usage
from chimera.core.errors import ChimeraError, MissionBusy
from chimera.core.seats import Seats
from chimera.fleet.carrying import agent_body
from chimera.fleet.dispatch import LocalDispatch
from chimera.fleet.engine import Engine
from chimera.fleet.measuring import Measuring
from chimera.fleet.parking import Parked, ParkingDispatch
from chimera.fleet.worker import Body
from chimera.graphs.agent import build_agent
from chimera.graphs.mission import build_mission
from chimera.nodes.context import Context
from chimera.store.checkpoints import GroupCommit, Lease, open_saver
from chimera.store.pools import AgentPool, PoolStore
from chimera.store.runs import Claim, RunStore
from chimera.store.usage import UsageLog
from chimera.swarm import ChimeraSwarm

FRESH_S = 1.0
BUSY_S = 2.0
"""How long a mission is left alone that another process still holds."""


def session(
    app: App,
    concurrency: int,
    measuring: Measuring | None = None,
    engine: Engine | None = None,
    seats: Seats | None = None,
) -> Callable[[Lease], AbstractAsyncContextManager[Body]]:
    """What opens a turn's graphs, under the lease of that turn. ``engine``: where agents of missions are asked for."""
    pools = Pools(app)
    latencies = measuring.latencies if measuring is not None else None

    @asynccontextmanager
    async def open_body(lease: Lease) -> AsyncGenerator[Body]:
        async with open_saver(app.pool, GroupCommit(app.pool, lease=lease)) as saver:
            graph = build_agent(checkpointer=saver)
            agents = agent_body(LocalDispatch(graph, concurrency, seats), pools.named, pools.context_of, latencies)
            on_lease = replace(app, saver=saver, agent=graph, mission=build_mission(checkpointer=saver))

            async def body(claim: Claim, control: RunControl) -> Mapping[str, Any]:
                if claim.kind == "agent":
                    return await agents(claim, control)
                if engine is None:
                    raise ChimeraError("this worker carries out agents, and no missions")
                context = pools.context_of(await pools.named(claim.pool))
                return await carry_mission(replace(on_lease, context=context), engine, claim)

            yield body

    return open_body


async def carry_mission(app: App, engine: Engine, claim: Claim) -> Mapping[str, Any]:
    """Go on with a mission until it ends, waits for a human, or waits for its agents.

    Raises:
        Parked: there is nothing to do for now.
    """
    since = (await RunStore(app.pool).get(claim.id))["created_at"]
    hedge_after_s = app.context.settings.hedge_after_s
    dispatch = ParkingDispatch(engine, app.pool, since=since, hedge_after_s=hedge_after_s)
    swarm = ChimeraSwarm.on(replace(app, context=replace(app.context, dispatch=dispatch)))
    try:
        result = await swarm.carry(claim.payload["mission_id"], claim.payload["start"])
    except MissionBusy:  # a worker that lost it and has not noticed yet, or a human who looks after it
        raise Parked((), BUSY_S) from None
    return {"result": result.plain()}


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
        context = replace(context, gateway=context.gateway.within(pool.name))
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
