"""The dispatch that hands agents' runs to the fleet and awaits what comes of them.

The id of a run comes from its thread and from the answers it goes on with, so whoever asks again, after a crash too,
comes back to the same run, and finds its outcome if it is over.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chimera.core.contracts import Task
from chimera.core.errors import ChimeraError, GuardRejected, MissionExpired, StoreError, catalogue
from chimera.core.ids import derived_id
from chimera.fleet.dispatch import AgentOutcome, AgentRun
from chimera.fleet.engine import Ended, Engine
from chimera.store.pools import AgentPool, PoolStore
from chimera.store.postgres import Pool
from chimera.store.runs import NewRun, RunStore

TIME_SHARE = 0.9
"""How much of a mission's time that is left an agent may use: the rest is for judging and reporting what there is."""
LOOSE_END_S = 10.0
LEAST_S = 0.1
"""What an agent has of a mission whose time is up."""
FRESH_S = 1.0
_NONE_DEADLINE_S = 86_400.0


class RemoteDispatch:
    """Runs agents on the fleet's workers. ``hedge_after_s``: when a second worker tries a task that only reads."""

    def __init__(self, engine: Engine, pool: Pool, *, hedge_after_s: float | None = None) -> None:
        self._engine = engine
        self._runs = RunStore(pool)
        self._store = PoolStore(pool)
        self._hedge_after_s = hedge_after_s
        self._pools: list[AgentPool] = []
        self._read_at = -FRESH_S
        self._reading = asyncio.Lock()

    async def run(self, run: AgentRun, context: Any, answers: Mapping[str, Any] | None = None) -> AgentOutcome:
        """Have it run, or come back to it.

        Raises:
            MissionExpired: it was not done in time. ChimeraError: what it failed with.
        """
        left_s = await self._left_s(run, context)
        new = await self._new(run, answers, left_s)
        try:
            if not await self._engine.enqueue([new]):
                await self._go_on(new.id, left_s)
            ended = await self._ended(new, context, left_s)
        except asyncio.CancelledError:
            await asyncio.shield(self._let_go(new.id, run, context))
            raise
        if ended is None:
            await self._engine.cancel(new.id)
            raise MissionExpired("the agent was not done in time")
        return outcome_of(ended)

    async def _left_s(self, run: AgentRun, context: Any) -> float:
        """Seconds that the agent has, by the clock of the database that the mission's deadline is by."""
        row = await context.missions.get(str(run.state["mission_id"]))
        left = await self._runs.seconds_until(row["deadline_at"])
        return min(max(left * TIME_SHARE, LEAST_S), _NONE_DEADLINE_S)

    async def _new(self, run: AgentRun, answers: Mapping[str, Any] | None, left_s: float) -> NewRun:
        payload = {"state": run.state, "recursion_limit": run.recursion_limit, "answers": answers}
        given = json.dumps(answers, sort_keys=True, default=str) if answers else ""
        return NewRun(
            id=derived_id("run", run.thread_id, given),
            thread_id=run.thread_id,
            payload=payload,
            pool=await self._choose(Task.model_validate(run.state["task"]).tools),
            tenant=str(run.state["mission"].get("tenant", "default")),
            deadline_s=left_s,
        )

    async def _choose(self, tools: list[str]) -> str:
        """The pool with the most room, of those that are for such tools, or else of those that are for all."""
        async with self._reading:
            if time.monotonic() - self._read_at >= FRESH_S:
                self._pools, self._read_at = await self._store.listed(), time.monotonic()
        able = [pool for pool in self._pools if pool.allows(tools)]
        if not able:
            raise GuardRejected(f"no pool may use all of {', '.join(tools)[:200]}", remedy="`chimera pools ls`")
        special = [pool for pool in able if pool.tools is not None and pool.usable] if tools else []
        usable = special or [pool for pool in able if pool.tools is None and pool.usable and pool.model is None] or able
        chosen = min(usable, key=_fullness)
        chosen.load["queued"] = chosen.load.get("queued", 0) + 1  # until they are read again
        return chosen.name

    async def _go_on(self, run_id: str, left_s: float) -> None:
        """The mission was resumed: what was broken off because of its end goes on."""
        for row in await self._runs.over([run_id]):
            late = row["state"] == "failed" and (row["error"] or {}).get("code") == MissionExpired.code
            if late or row["state"] == "cancelled":
                await self._engine.replay(run_id, left_s)

    async def _ended(self, new: NewRun, context: Any, left_s: float) -> Ended | None:
        if self._hedge_after_s is None or self._hedge_after_s >= left_s or not await only_reads(new, context):
            return await self._engine.ended(new.id, left_s + LOOSE_END_S)
        ended = await self._engine.ended(new.id, self._hedge_after_s)
        return ended or await self._race(new, left_s)

    async def _race(self, new: NewRun, left_s: float) -> Ended | None:
        """Have another worker try the same from the start; whoever is done first is heard, the other is stopped."""
        second = hedge_of(new, left_s)
        await self._engine.enqueue([second])
        waits = {
            asyncio.ensure_future(self._engine.ended(run_id, left_s + LOOSE_END_S)): run_id
            for run_id in (new.id, second.id)
        }
        first = next(iter(waits))
        try:
            while waits:
                done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in done:
                    ended = wait.result()
                    run_id = waits.pop(wait)
                    # A question belongs to a thread that is gone on with, and that is the first one's.
                    if run_id == new.id or (ended is not None and ended.state == "done" and _result(ended)):
                        await self._stop(second.id if run_id == new.id else new.id)
                        return ended
            return first.result()
        finally:
            for wait in waits:
                wait.cancel()

    async def _stop(self, run_id: str) -> None:
        try:
            await self._engine.cancel(run_id)
        except StoreError:
            return  # it ends by itself, and nobody listens

    async def _let_go(self, run_id: str, run: AgentRun, context: Any) -> None:
        """This process stops. The run goes on without it, unless its mission is over or cancelled."""
        try:
            async with asyncio.timeout(LOOSE_END_S):
                row = await context.missions.get(str(run.state["mission_id"]))
                left = await self._runs.seconds_until(row["deadline_at"])
                if row["cancel_requested"] or left <= 0:
                    await self._engine.cancel(run_id)
        except (StoreError, TimeoutError):
            return


def hedge_of(new: NewRun, left_s: float) -> NewRun:
    """The same work from the start, for a second worker."""
    return replace(new, id=derived_id("hedge", new.id), thread_id=f"{new.thread_id}/hedge", deadline_s=left_s)


async def only_reads(new: NewRun, context: Any) -> bool:
    """Whether an agent's task has no tool that changes anything."""
    tools = Task.model_validate(new.payload["state"]["task"]).tools
    readers = {capability.name for capability in await context.tools.capabilities() if capability.read_only}
    return set(tools) <= readers


def _fullness(pool: AgentPool) -> float:
    return (pool.load.get("running", 0) + pool.load.get("queued", 0)) / max(pool.concurrency, 1) / pool.weight


def _result(ended: Ended) -> bool:
    return bool((ended.outcome or {}).get("result"))


def outcome_of(ended: Ended) -> AgentOutcome:
    """What came of an agent's run.

    Raises:
        ChimeraError: what it failed with.
    """
    if ended.state == "done" and ended.outcome is not None:
        return AgentOutcome(result=ended.outcome["result"], questions=ended.outcome["questions"])
    told = ended.error or {"message": f"the run was {ended.state}", "remedy": ChimeraError.remedy}
    kinds = {kind.code: kind for kind in catalogue()}
    kind = kinds.get(str(told.get("code")), ChimeraError)
    if issubclass(kind, StoreError):  # that one worker or its store failed is this task's failure, not the mission's
        kind = ChimeraError
    raise kind(str(told["message"]), remedy=str(told.get("remedy") or kind.remedy))
