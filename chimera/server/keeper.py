"""The missions that callers asked for: begun here, going on when nobody waits, taken up again when they can go on.

A mission belongs to no connection. Whoever asked may leave; the server may be stopped, and what it ran goes on from its
checkpoint when a server starts again. A mission that waits for humans goes on as soon as one of its questions is
answered: whoever answers notifies (``DECIDED``), and as a notification can be lost, the server looks by itself too.
"""

import asyncio
import contextvars
import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from chimera.app import App
from chimera.core.contracts import Mission, MissionResult, MissionStatus
from chimera.core.errors import CallerBusy, ChimeraError, ConflictError, MissionBusy, StoreUnavailable
from chimera.core.ids import derived_id, digest
from chimera.core.tasks import stop
from chimera.nodes.ending import FINAL
from chimera.nodes.intake import read_mission
from chimera.review.closing import DECIDED
from chimera.review.sweeper import Sweeper
from chimera.server.callers import Caller
from chimera.store.listening import heard, open_listener
from chimera.swarm import ChimeraSwarm

_LOG = logging.getLogger(__name__)
LOOK_S = 2.0
"""How often the server looks for missions that can go on."""
SETTLE_S = 10.0
SWEEP_S = 15.0
"""How often questions are looked for that nobody answered in time."""
GRACE_MAX_S = 3_600.0


class Keeper:
    """Runs missions in this process."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._swarm = ChimeraSwarm.on(app)
        self._running: dict[str, asyncio.Task[MissionResult]] = {}
        self._callers: Counter[tuple[str, str]] = Counter()
        self._wake = asyncio.Event()
        self._decided: set[str] = set()
        self._sweeper = Sweeper(app.pool, app.context.audit, app.context.reviews.rules)
        self.closing = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Take up what was left, and look after it until the server stops; missions then stay at their checkpoint."""
        async with open_listener(self._app.database_url, [DECIDED]) as listener:
            with listener.calls(DECIDED, self._heard):
                looking = asyncio.create_task(self._look(), name="missions of callers")
                sweeping = asyncio.create_task(self._sweep(), name="late questions")
                try:
                    yield
                finally:
                    self.closing.set()
                    for task in (looking, sweeping, *self._running.values()):
                        await stop(task)

    # --- for callers -------------------------------------------------------------------------------------------------

    async def begin(
        self,
        mission: Mission,
        caller: Caller,
        *,
        key: str = "",
        approve_plan: bool = False,
        dry_run: bool = False,
        mission_id: str = "",
    ) -> str:
        """Put a mission on the record and begin it; with a ``key`` that the caller has used, return that mission.

        ``mission_id``: the id that a new mission is to have.

        Raises:
            ConflictError: the key was used for another request, or there is a mission of that id.
            CallerBusy: too many of the caller's are running.
            GoalInvalid: the mission cannot be used. StoreUnavailable: the server is being stopped.
        """
        if self.closing.is_set():
            raise StoreUnavailable("this server is being stopped", remedy="Call again in a moment.")
        missions, whose = self._app.context.missions, (caller.tenant, caller.name)
        asked = read_mission({**mission.plain(), "tenant": caller.tenant})
        options = {"approve_plan": approve_plan, "dry_run": dry_run}
        request = digest(json.dumps({**asked.plain(), **options}, sort_keys=True))
        own_id = mission_id
        mission_id = own_id or (derived_id("asked", *whose, key) if key else self._app.context.new_id())
        if key and await self._was_asked(mission_id, request):
            return mission_id
        limit = self._app.settings.server_missions
        if self._callers[whose] >= limit:
            raise CallerBusy(f"{limit} missions of this caller are running", remedy="Wait until one has ended.")
        self._callers[whose] += 1
        try:
            if await missions.create(mission_id, asked, options, asked_by=caller.name, asked=request):
                self._run(mission_id, whose)
                return mission_id
        except BaseException:
            self._callers[whose] -= 1
            raise
        self._callers[whose] -= 1
        if own_id:
            raise ConflictError("this thread had its mission", remedy="Create a thread for each mission.")
        await self._was_asked(mission_id, request)  # the same call came twice at once
        return mission_id

    async def _was_asked(self, mission_id: str, request: str) -> bool:
        row = await self._app.context.missions.find_asked(mission_id)
        if row is None:
            return False
        if row["asked"] != request:
            raise ConflictError(
                "the idempotency key was used for another request", remedy="Use a new key for a new mission."
            )
        return True

    async def wait(self, mission_id: str, seconds: float) -> None:
        """Return when a mission has ended or waits for a human, when the time is up, or when the server stops.

        Raises:
            ChimeraError: it stopped, and can be resumed.
        """
        until = asyncio.get_running_loop().time() + seconds
        closing = asyncio.create_task(self.closing.wait())
        try:
            while (left := until - asyncio.get_running_loop().time()) > 0 and not closing.done():
                running = self._running.get(mission_id)
                if running is None and await self._is_still(mission_id):
                    return
                awaited = {closing, *([running] if running is not None else [])}
                await asyncio.wait(awaited, timeout=min(left, LOOK_S), return_when=asyncio.FIRST_COMPLETED)
                if running is not None and running.done() and not running.cancelled():
                    if isinstance(error := running.exception(), MissionBusy):
                        continue  # another server has taken it up
                    if error is not None:
                        raise error
                    return
        finally:
            await stop(closing)

    async def _is_still(self, mission_id: str) -> bool:
        """Whether nothing more happens to a mission unless somebody does something."""
        row = await self._app.context.missions.get(mission_id)
        return row["status"] in FINAL or not await self._app.context.missions.attended(mission_id)

    def has(self, mission_id: str) -> bool:
        """Whether this process runs the mission, or is about to."""
        return mission_id in self._running

    async def cancel(self, mission_id: str) -> bool:
        """Stop a mission, wherever it runs; False when it had ended."""
        task = self._running.get(mission_id)
        stopped = await self._swarm.cancel(mission_id)
        async with asyncio.timeout(SETTLE_S):
            while task is not None and not task.done():
                # What is asked before a mission has begun is forgotten as it begins: then it is asked again.
                await asyncio.wait({task}, timeout=1.0)
                stopped = await self._swarm.cancel(mission_id) or stopped
        return stopped

    # --- running -----------------------------------------------------------------------------------------------------

    def _run(self, mission_id: str, whose: tuple[str, str] | None = None) -> None:
        work = self._swarm.resume(mission_id)
        # An empty context: the mission outlives the call, with its tracing, that asked for it.
        task = asyncio.create_task(work, name=f"mission {mission_id}", context=contextvars.Context())
        self._running[mission_id] = task

        def forget(done: asyncio.Task[MissionResult]) -> None:
            del self._running[mission_id]
            if mission_id in self._decided:  # while it ran: what it waits for now may be answered
                self._decided.discard(mission_id)
                self._wake.set()
            if whose is not None:
                self._callers[whose] -= 1
            if not done.cancelled() and (error := done.exception()) is not None and not isinstance(error, MissionBusy):
                _LOG.warning(
                    "mission %s stopped: %s", mission_id, error if isinstance(error, ChimeraError) else repr(error)
                )

        task.add_done_callback(forget)

    async def _look(self) -> None:
        """Take up missions: at the start those that a server left, then those whose questions were answered."""
        status = MissionStatus.RUNNING
        while True:
            try:
                for mission_id in await self._app.context.missions.left(status):
                    if mission_id not in self._running:
                        self._run(mission_id)
                status = MissionStatus.WAITING
            except ChimeraError as error:  # the store is away: it is asked again
                _LOG.warning("cannot look for missions that could go on: %s", error)
            await heard(self._wake, LOOK_S)

    def _heard(self, told: str | None) -> None:
        """Somebody has decided: look now, or when the decision acts."""
        mission_id, _, after = (told or "").partition(" ")
        if mission_id in self._running:
            self._decided.add(mission_id)
        try:
            after_s = float(after) if after else 0.0
        except ValueError:
            after_s = 0.0
        if after_s > 0:
            asyncio.get_running_loop().call_later(min(after_s, GRACE_MAX_S), self._wake.set)
        else:
            self._wake.set()

    async def _sweep(self) -> None:
        """Hand up what nobody answers in time."""
        while True:
            try:
                await self._sweeper.sweep()
            except ChimeraError as error:
                _LOG.warning("cannot look for questions that are late: %s", error)
            await asyncio.sleep(SWEEP_S)
