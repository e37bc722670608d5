"""A worker: claims runs, carries them out side by side, keeps its lease, and tells what became of them.

A worker has turns. A turn begins with a lease and ends when the worker is drained, or when the lease is lost: because
the worker stalled, or Postgres was away for longer than the lease lasts. Then everything it carries is dropped, as
others may have it by now, and the next turn begins with a lease of its own.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Any

from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl

from chimera.core.errors import ChimeraError, ConflictError, LeaseLost, MissionExpired, StoreError
from chimera.core.seats import Seats
from chimera.core.tasks import STOP_AGAIN_S, stop
from chimera.fleet.awake import Awake
from chimera.fleet.engine import Engine
from chimera.fleet.measuring import Measuring
from chimera.fleet.parking import Parked
from chimera.fleet.telling import Telling
from chimera.store.checkpoints.group import Lease
from chimera.store.runs import Claim, Ending, How, fits

log = logging.getLogger(__name__)
Body = Callable[[Claim, RunControl], Awaitable[Mapping[str, Any]]]
"""Carries out one run and gives its outcome. Drained: GraphDrained, at a place from which another worker goes on."""
TTL_S = 15.0
POLL_S = 2.0
DRAIN_S = 30.0
CLAIM_MOST = 500
"""The most runs in one claim, so that one worker does not take what others have room for."""
_BREATH_S = 0.01
_PAUSE_MOST_S = 5.0
_CONFLICTS = 4


@dataclass(frozen=True)
class WorkerPlan:
    """What a worker takes on. ``ttl_s``: after that long without a sign of it, others take over what it carries."""

    id: str
    concurrency: int = 100
    pools: Sequence[str] | None = None
    ttl_s: float = TTL_S
    poll_s: float = POLL_S
    drain_s: float = DRAIN_S


@dataclass(eq=False)
class _Carried:
    claim: Claim
    control: RunControl
    task: "asyncio.Task[None] | None" = None
    stop: How | None = None


class Worker:
    """Carries out runs until it is drained. ``open_body``: what a turn needs to carry out runs under its lease."""

    def __init__(
        self,
        engine: Engine,
        open_body: Callable[[Lease], AbstractAsyncContextManager[Body]],
        plan: WorkerPlan,
        measuring: Measuring | None = None,
        seats: Seats | None = None,
    ) -> None:
        """``seats``: those of the agents that it carries. It takes on no more while many wait for one."""
        self._measuring = measuring
        self._seats = seats or Seats()
        self._engine = engine
        self._open_body = open_body
        self._plan = plan
        self._drain = asyncio.Event()
        self._broken_off: Lease | None = None
        self.turns = 0
        """How many turns were begun."""

    def drain(self) -> None:
        """Stop soon: finish the steps under way, give back the rest."""
        self._drain.set()

    async def run(self) -> None:
        """Work until drained.

        Raises:
            ConflictError: another worker of that id is alive. StoreError: Postgres is away before the first turn.
        """
        pause, patience = _BREATH_S, _CONFLICTS
        while not self._drain.is_set():
            turns = self.turns
            try:
                await self._turn()
            except* ConflictError as taken:
                # A renewal whose answer was lost keeps our own last turn alive for the length of a lease.
                patience -= 1
                if not self.turns or patience < 0:
                    raise taken.exceptions[0] from None
                await asyncio.sleep(self._plan.ttl_s / 2)
            except* LeaseLost as lost:
                log.warning("%s; what it carried goes to others", lost.exceptions[0])
            except* StoreError as error:
                if not self.turns:
                    raise error.exceptions[0] from None
                log.warning("the worker %s waits for Postgres: %s", self._plan.id, error.exceptions[0])
                await asyncio.sleep(pause)
                pause = min(2 * pause + 0.1, _PAUSE_MOST_S)
            if self.turns > turns:
                pause, patience = _BREATH_S, _CONFLICTS

    async def _turn(self) -> None:
        plan = self._plan
        lease = await self._engine.register(plan.id, plan.concurrency, plan.pools, plan.ttl_s)
        self.turns += 1
        if self._broken_off is not None:
            await self._engine.excuse(self._broken_off)
            self._broken_off = None
        async with self._open_body(lease) as body:
            turn = Turn(self._engine, lease, body, plan, self._drain, self._seats, self._measuring)
            try:
                await turn.run()
            except BaseException:
                # This process lives and was never held up, so it was the store that failed, and no run is to blame.
                self._broken_off = lease if turn.awake.always else None
                raise


@dataclass(eq=False)
class Turn:
    """One turn of a worker."""

    engine: Engine
    lease: Lease
    body: Body
    plan: WorkerPlan
    drain: asyncio.Event
    seats: Seats
    measuring: Measuring | None = None
    carried: dict[str, _Carried] = field(default_factory=dict[str, _Carried])
    freed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.telling = Telling(self.engine)
        self.awake = Awake(self.plan.ttl_s / 3)
        self._group = asyncio.TaskGroup()
        self._keeping: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Work until the worker is drained.

        Raises:
            ExceptionGroup: of LeaseLost, and what broke the turn.
        """
        insisting = asyncio.create_task(self._insist())
        try:
            async with self._group as group:
                work = (self._take, self._keep_lease, self._heed, self._sweep, self.telling.tell_all, self.awake.watch)
                self._keeping += [group.create_task(each()) for each in work]
                await self.drain.wait()
                taking = self._keeping[0]
                taking.cancel()
                await asyncio.wait([taking])
                await self._give_back()
                for task in self._keeping:
                    task.cancel()
        finally:
            await stop(insisting)
        if self.measuring is not None:
            with suppress(StoreError):
                await self.measuring.tell(self.lease)
        await self.engine.leave(self.lease)

    async def _insist(self) -> None:
        """Cancel again what was cancelled and goes on: the turn could not end.

        Before Python 3.12 a cancellation is lost where ``asyncio.wait_for`` has its result in that moment. psycopg
        waits with it, and after a stall everything happens in one moment.
        """
        while True:
            await asyncio.sleep(STOP_AGAIN_S)
            for task in [*self._keeping, *(each.task for each in self.carried.values())]:
                if task is not None and not task.done() and task.cancelling():
                    task.cancel()

    async def _give_back(self) -> None:
        """Let every run come to the end of its step; what does not in time is broken off, and repeats that step."""
        for each in self.carried.values():
            each.control.request_drain()
        tasks = {each.task for each in self.carried.values() if each.task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=self.plan.drain_s)
        for each in self.carried.values():
            _stop(each, "release")
        late = {each.task for each in self.carried.values() if each.task is not None}
        if late:
            await asyncio.wait(late, timeout=self.plan.drain_s)
        for stray in await self.engine.strays(self.lease, []):
            await self.telling.tell(Ending(stray, "release"))
        await self.telling.told()

    # --- keeping -------------------------------------------------------------------------------------------------

    async def _keep_lease(self) -> None:
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await asyncio.sleep(self.plan.ttl_s / 3)
            try:
                async with asyncio.timeout_at(renewed + self.plan.ttl_s):
                    if await self.engine.renew(self.lease, self.plan.ttl_s) == "draining":
                        self.drain.set()
                renewed = loop.time()
                if self.measuring is not None:
                    async with asyncio.timeout(self.plan.ttl_s / 3):
                        await self.measuring.tell(self.lease)
            except (StoreError, TimeoutError) as error:
                if isinstance(error, LeaseLost):
                    raise
                if loop.time() >= renewed + self.plan.ttl_s:
                    raise LeaseLost(f"the worker {self.lease.worker} could not renew its lease in time") from error

    async def _heed(self) -> None:
        """Let go of runs that somebody cancelled, and of those whose agent is gone."""
        while True:
            await self.engine.asked(self.lease.worker, self.plan.ttl_s / 3)
            try:
                for run_id, fence, stop in await self.engine.stops(self.lease.worker):
                    each = self.carried.get(run_id)
                    if each is not None and each.claim.fence == fence:
                        _stop(each, "cancel" if stop == "cancel" else "release")
                if await self.engine.renew(self.lease, self.plan.ttl_s) == "draining":
                    self.drain.set()
            except StoreError as error:
                if isinstance(error, LeaseLost):
                    raise

    async def _sweep(self) -> None:
        while True:
            try:
                await self.engine.sweep()
            except StoreError as error:
                log.info("nothing was swept: %s", error)
            await asyncio.sleep(self.plan.ttl_s / 3)

    # --- carrying ------------------------------------------------------------------------------------------------

    async def _take(self) -> None:
        """Claim whenever there is room, and look again when something came, went or could have been missed."""
        loop = asyncio.get_running_loop()
        pause, look_at = _BREATH_S, loop.time() + self.plan.ttl_s / 3
        while True:
            places = self.plan.concurrency - len(self.carried)
            self.freed.clear()
            if places <= 0:
                await self.freed.wait()
                continue
            # What is claimed and gets no step done before this worker dies has lost a try: so a worker that is behind,
            # or has just begun with a long queue, claims no more than it can begin with.
            room = min(places, CLAIM_MOST, self.seats.room)
            if not room:
                await asyncio.sleep(_BREATH_S)
                continue
            try:
                if loop.time() >= look_at:
                    self._start(await self.engine.strays(self.lease, list(self.carried)))
                    look_at = loop.time() + self.plan.ttl_s / 3
                claims = await self.engine.claim(self.lease, room, self.plan.pools)
                pause = _BREATH_S
            except StoreError as error:
                log.info("nothing was claimed: %s", error)
                look_at = loop.time()  # an answer may have been lost
                await asyncio.sleep(pause)
                pause = min(2 * pause, _PAUSE_MOST_S)
                continue
            self._start(claims)
            if len(claims) < room:
                await self._news(room - len(claims))
            await asyncio.sleep(_BREATH_S)  # what comes within a moment is claimed together

    def _start(self, claims: Sequence[Claim]) -> None:
        if self.measuring is not None:
            self.measuring.claimed(claims)
        for claim in claims:
            each = _Carried(claim, RunControl())
            carrying = self._carry(each)
            try:
                each.task = self._group.create_task(carrying)
            except RuntimeError:  # the turn is ending, and its cancellation was lost: see _insist
                carrying.close()
                raise asyncio.CancelledError from None
            self.carried[claim.id] = each

    async def _news(self, room: int) -> None:
        """Wait for something to claim, or for an end here, which may have made room under somebody's limit."""
        waits = [
            asyncio.ensure_future(self.engine.arrival(room, self.plan.pools, self.plan.poll_s)),
            asyncio.ensure_future(self.freed.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.wait(waits)

    async def _carry(self, each: _Carried) -> None:
        claim = each.claim
        try:
            ending = await self._ending(each)
            await self.telling.tell(ending)
        finally:
            if self.carried.get(claim.id) is each:
                del self.carried[claim.id]
            self.freed.set()

    async def _ending(self, each: _Carried) -> Ending:
        claim = each.claim
        limit = asyncio.timeout(claim.left_s)
        try:
            async with limit:
                if claim.losses:
                    await self._begin(claim)
                outcome = await self.body(claim, each.control)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if each.stop is None or task is None or task.uncancel():
                raise
            return Ending(claim, each.stop)
        except GraphDrained:
            return Ending(claim, "release")
        except Parked as parked:
            return Ending(claim, "wait", others=parked.runs, wake_s=parked.wake_s)
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever broke, it is this run that failed, not its neighbours
            return _failure(claim, error, late=limit.expired())
        if not fits(outcome):
            return _failure(claim, ChimeraError("the outcome is too large to be recorded"))
        return Ending(claim, "done", outcome=outcome)

    async def _begin(self, claim: Claim) -> None:
        """Put on record that a run begins under which a worker was lost, when its turn to compute has come."""
        async with self.seats.taken():
            await self.engine.begin(claim)


def _stop(each: _Carried, how: How) -> None:
    """Break off a run, once."""
    if each.stop is None and each.task is not None:
        each.stop = how
        each.task.cancel()


def _failure(claim: Claim, error: Exception, *, late: bool = False) -> Ending:
    if late:
        return Ending(claim, "failed", error=MissionExpired("the run did not end before its deadline").as_dict())
    if isinstance(error, ChimeraError):
        return Ending(claim, "retry" if error.retryable else "failed", error=error.as_dict())
    log.error("the run %s broke", claim.id, exc_info=error)
    return Ending(claim, "retry", error=ChimeraError(f"the run broke: {type(error).__name__}").as_dict())
