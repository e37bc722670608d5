"""ChimeraSwarm: run missions from Python. The CLI is a thin layer over it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from chimera import timetravel
from chimera.app import App, Roles, open_app
from chimera.core.clock import Clock
from chimera.core.contracts import Event, Mission, MissionResult, MissionStatus, ReviewDecision, ReviewItem
from chimera.core.errors import CheckpointNotFound, MissionError
from chimera.core.ids import NewId, canonical_id
from chimera.core.settings import Settings
from chimera.core.tasks import stop
from chimera.nodes.calling import CALL
from chimera.nodes.ending import ANSWERED
from chimera.nodes.judge import Judge
from chimera.nodes.planner import Planner
from chimera.nodes.review import tell_decision
from chimera.nodes.worker import Worker
from chimera.review.reviewers import Reviewer
from chimera.store.runs import RunStore
from chimera.swarm.layer import MCPIntegrationLayer
from chimera.swarm.submitting import Submitter

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class ChimeraSwarm(Submitter):
    """A running Chimera.

    Usage::

        async with ChimeraSwarm() as swarm:
            result = await swarm.run(Mission(goal="...", inputs={"feed": "feed.xml"}))

    ``planner``, ``worker`` and ``judge`` replace the built-in ones; ``models`` replaces chat models by role name.
    ``reviewer`` answers what a human is asked; without one, such a mission comes back as ``waiting``. The name that it
    signs with has to be enrolled (``chimera principal add``); on an embedded installation the local user is.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        planner: Planner | None = None,
        worker: Worker | None = None,
        judge: Judge | None = None,
        models: "Mapping[str, BaseChatModel] | None" = None,
        reviewer: Reviewer | None = None,
        clock: Clock | None = None,
        new_id: NewId | None = None,
    ) -> None:
        super().__init__(reviewer)
        self._opening = open_app(settings, Roles(planner, worker, judge, models), clock=clock, new_id=new_id)
        self._stack = AsyncExitStack()

    @classmethod
    def on(cls, app: App) -> Self:
        """A swarm on an app that is open, and that whoever opened it closes."""
        made = cls(app.settings)
        made._app = app
        return made

    async def __aenter__(self) -> Self:
        self._app = await self._stack.enter_async_context(self._opening)
        return self

    async def __aexit__(self, *raised: Any) -> None:
        self._app = None
        await self._stack.__aexit__(*raised)

    # --- missions ------------------------------------------------------------------------------------------------

    async def run(
        self,
        mission: Mission | str,
        *,
        reviewer: Reviewer | None = None,
        approve_plan: bool = False,
        dry_run: bool = False,
        mission_id: str | None = None,
    ) -> MissionResult:
        """Run a mission until it ends, or waits for a human.

        ``approve_plan`` asks about the plan first; ``dry_run`` stops after it. The result's status says how it ended.

        Raises:
            InputError: the mission or its id cannot be used. ConflictError: there is a mission with that id.
            StoreError, ModelError: it stopped and can be resumed.
        """
        mission_id, start = await self._recorded(mission, mission_id, approve_plan=approve_plan, dry_run=dry_run)
        return await self._attend(mission_id, start, reviewer)

    async def stream(self, mission: Mission | str, **options: Any) -> AsyncGenerator[Event]:
        """Run a mission and yield its events; the last one has the kind ``result`` and the result as its data."""
        given = options.pop("mission_id", None)
        mission_id = canonical_id(given) if given else self.app.context.new_id()
        async with self.app.context.events.listen(mission_id) as queue:
            running = asyncio.create_task(self.run(mission, mission_id=mission_id, **options))
            waiting: asyncio.Task[Event] | None = None
            try:
                while True:
                    waiting = asyncio.create_task(queue.get())
                    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
                    if waiting.done():
                        yield waiting.result()
                        continue
                    await stop(waiting)
                    while not queue.empty():
                        yield queue.get_nowait()
                    result = await running
                    at = self.app.context.clock.now().isoformat()
                    yield Event(mission_id=mission_id, kind="result", at=at, data=result.plain())
                    return
            finally:
                for task in (waiting, running):
                    if task is not None:
                        await stop(task)

    async def resume(
        self, mission_id: str, *, reviewer: Reviewer | None = None, deadline_s: float | None = None
    ) -> MissionResult:
        """Go on with a mission from its last checkpoint, in this process; one that has ended is returned as it is.

        Raises:
            MissionNotFound: there is none. MissionBusy: another process runs it.
        """
        missions = self.app.context.missions
        mission_id = str((await missions.get(mission_id))["id"])  # as threads are named, however it was written
        if any(row["team"] == CALL for row in await missions.tasks(mission_id)):
            layer = MCPIntegrationLayer.on(self.app, self._reviewer)
            return await layer.resume(mission_id, reviewer=reviewer, deadline_s=deadline_s)
        async with missions.running_alone(mission_id):
            await self._refuse_carried(mission_id)
            row = await missions.get(mission_id)
            begun, over = await self._place(mission_id)
            if row["result"] and (over or row["status"] in ANSWERED):
                return MissionResult.model_validate(row["result"])
            await missions.reopen(mission_id, deadline_s)
            start = None if begun else {"mission": row["mission"], **row["options"]}
            return await self._watch(mission_id, start, reviewer)

    async def cancel(self, mission_id: str) -> bool:
        """Stop a mission, wherever it runs; False when it has ended already.

        Raises:
            MissionNotFound: there is none.
        """
        missions = self.app.context.missions
        mission_id = str((await missions.get(mission_id))["id"])
        if not await missions.request_cancel(mission_id):
            return False
        try:
            async with missions.running_alone(mission_id):  # nobody runs it: it ends here and now
                ended = await self._end(mission_id, MissionStatus.CANCELLED, "cancelled on request")
                for run in await self._carrying(mission_id):
                    await RunStore(self.app.pool).cancel(run)
        except MissionError:
            return True  # whoever runs it has seen the request, or will within half a second
        return ended.status == MissionStatus.CANCELLED

    async def answer(self, item_id: str, decision: ReviewDecision) -> ReviewItem:
        """Answer a review item. The mission goes on when it is resumed, or at once if it is attended.

        Raises:
            InputError: there is no such item. ConflictError: it was answered differently.
            GuardRejected: the reviewer is not enrolled, or may not answer it.
        """
        context = self.app.context
        answered = await context.oversight.decisions.answer(item_id, decision)
        item = answered.item
        if answered.first and item.mission_id and not item.payload.get("blocking", True):
            await tell_decision(context, item, decision)  # no work waits for it that would tell
        return item

    async def amend(self, mission_id: str, mission: Mission) -> None:
        """Change what a running mission asks. Results made from the old context are void and planned anew.

        Raises:
            MissionNotFound: there is none. InputError: it has ended, or belongs to another tenant.
        """
        mission_id = str((await self.app.context.missions.get(mission_id))["id"])
        await self.app.context.missions.amend(mission_id, mission)
        await self.app.context.record(
            mission_id, mission, "mission.amended", "user", context_version=mission.context_version
        )

    # --- going back ----------------------------------------------------------------------------------------------

    async def describe(self, mission_id: str) -> dict[str, Any]:
        """Everything about a mission: keys mission, tasks, reviews, usage, trail, artifacts."""
        return await timetravel.describe(self.app, mission_id)

    async def history(self, mission_id: str) -> list[timetravel.Checkpoint]:
        """Every checkpoint of a mission and its teams, oldest first."""
        return await timetravel.history(self.app, mission_id)

    async def replay(self, mission_id: str, checkpoint_id: str, *, reviewer: Reviewer | None = None) -> MissionResult:
        """Run a mission again from one of its own checkpoints; agents that finished are not run again.

        Raises:
            CheckpointNotFound: it is no checkpoint of the mission itself (those of teams can be forked).
        """
        mission_id = str((await self.app.context.missions.get(mission_id))["id"])
        snapshot = await self.app.mission.aget_state(self._config(mission_id, checkpoint_id))
        if not snapshot.tasks and not snapshot.values:
            raise CheckpointNotFound(f"mission {mission_id} has no checkpoint {checkpoint_id[:40]} of its own")
        async with self.app.context.missions.running_alone(mission_id):
            await self._refuse_carried(mission_id)
            await self.app.context.missions.reopen(mission_id)
            return await self._watch(mission_id, None, reviewer, checkpoint_id)

    async def fork(
        self,
        mission_id: str,
        checkpoint_id: str | None = None,
        *,
        mission: Mission | None = None,
        reviewer: Reviewer | None = None,
    ) -> MissionResult:
        """Run a new mission that starts with what an older one had finished by a checkpoint.

        With another ``mission`` only results that fit what it asks are kept: that is decided by their context version.

        Raises:
            CheckpointNotFound: the older mission has no such checkpoint.
        """
        finished = await timetravel.finished_by(self.app, mission_id, checkpoint_id)
        asked = mission or await self.app.context.missions.context(mission_id)
        new_id = self.app.context.new_id()
        await self.app.context.missions.create(new_id, asked)
        await timetravel.copy_artifacts(self.app, mission_id, new_id)
        await self.app.context.record(new_id, asked, "mission.forked", "user", source=mission_id, at=checkpoint_id)
        return await self._attend(new_id, {"mission": asked.plain(), "finished": finished}, reviewer)
