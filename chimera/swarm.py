"""ChimeraSwarm: run missions from Python. The CLI is a thin layer over it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Self

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphRecursionError
from langgraph.types import Command

from chimera import timetravel
from chimera.app import App, Roles, open_app
from chimera.core.clock import Clock
from chimera.core.contracts import Event, Mission, MissionResult, MissionStatus, ReviewDecision, ReviewItem
from chimera.core.errors import (
    CheckpointNotFound,
    ConfigError,
    ConflictError,
    InputError,
    MissionBusy,
    MissionError,
    MissionExpired,
)
from chimera.core.ids import NewId, canonical_id, derived_id
from chimera.core.settings import Settings
from chimera.core.tasks import stop
from chimera.fleet.parking import is_parked, parked_for
from chimera.nodes.ending import ANSWERED, FINAL, end, why_stopped
from chimera.nodes.intake import read_mission
from chimera.nodes.judge import Judge
from chimera.nodes.planner import Planner
from chimera.nodes.review import tell_decision
from chimera.nodes.worker import Worker
from chimera.review.answers import why_unusable
from chimera.review.reviewers import Reviewer
from chimera.store.runs import OPEN, NewRun, RunStore

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

RECURSION_LIMIT = 10_000
"""Supersteps of a mission or a team; several times what the largest plan takes with every retry and every question."""
WATCH_S = 0.5


class ChimeraSwarm:
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
        self._opening = open_app(settings, Roles(planner, worker, judge, models), clock=clock, new_id=new_id)
        self._reviewer = reviewer
        self._stack = AsyncExitStack()
        self._app: App | None = None

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

    @property
    def app(self) -> App:
        """The services and graphs behind this swarm.

        Raises:
            ConfigError: it is not open.
        """
        if self._app is None:
            raise ConfigError("the swarm is not open", remedy="Use it as `async with ChimeraSwarm() as swarm:`.")
        return self._app

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
        mission_id, asked = await self._recorded(mission, mission_id)
        start = {"mission": asked.plain(), "approve_plan": approve_plan, "dry_run": dry_run}
        return await self._attend(mission_id, start, reviewer)

    async def _recorded(self, mission: Mission | str, mission_id: str | None) -> tuple[str, Mission]:
        asked = read_mission(mission.plain() if isinstance(mission, Mission) else {"goal": mission})
        mission_id = canonical_id(mission_id) if mission_id else self.app.context.new_id()
        if not await self.app.context.missions.create(mission_id, asked):
            raise ConflictError(f"mission {mission_id} exists", remedy="Resume it, or leave the id to us.")
        return mission_id, asked

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
        async with missions.running_alone(mission_id):
            await self._refuse_carried(mission_id)
            row = await missions.get(mission_id)
            begun, over = await self._place(mission_id)
            if row["result"] and (over or row["status"] in ANSWERED):
                return MissionResult.model_validate(row["result"])
            await missions.reopen(mission_id, deadline_s)
            start = None if begun else {"mission": row["mission"]}
            return await self._watch(mission_id, start, reviewer)

    async def _place(self, mission_id: str) -> tuple[bool, bool]:
        """Whether a mission's graph has begun, and whether it is at its end."""
        snapshot = await self.app.mission.aget_state(self._config(mission_id))
        begun = bool(snapshot.values or snapshot.tasks)
        return begun, begun and not snapshot.tasks and not snapshot.interrupts

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

    # --- on the fleet --------------------------------------------------------------------------------------------

    async def submit(
        self,
        mission: Mission | str,
        *,
        approve_plan: bool = False,
        dry_run: bool = False,
        mission_id: str | None = None,
        pool: str = "default",
    ) -> str:
        """Hand a mission to the fleet and return its id. Its workers carry it out, whatever becomes of this process.

        It waits for its agents without holding a worker. One that waits for a human is over for the fleet: answer it,
        and hand it over again with :meth:`resubmit`.

        Raises:
            InputError: the mission, its id or the pool cannot be used. ConflictError: there is a mission with that id.
        """
        mission_id, asked = await self._recorded(mission, mission_id)
        start = {"mission": asked.plain(), "approve_plan": approve_plan, "dry_run": dry_run}
        await self._hand_over(mission_id, asked.tenant, start, pool)
        return mission_id

    async def resubmit(self, mission_id: str, *, deadline_s: float | None = None, pool: str = "default") -> str:
        """Hand a mission to the fleet that was left, or whose question was answered; return its id.

        Raises:
            MissionNotFound: there is none. MissionBusy: a process runs it, or the fleet has it.
        """
        missions = self.app.context.missions
        row = await missions.get(mission_id)
        mission_id = str(row["id"])
        async with missions.running_alone(mission_id):
            await self._refuse_carried(mission_id)
            await missions.reopen(mission_id, deadline_s)
            await self._hand_over(mission_id, row["tenant"], {"mission": row["mission"]}, pool)
        return mission_id

    async def carry(self, mission_id: str, start: Mapping[str, Any]) -> MissionResult:
        """Go on with a mission of the fleet, as its workers do.

        Raises:
            Parked: it waits for its agents. MissionBusy: another process runs it.
        """
        missions = self.app.context.missions
        async with missions.running_alone(mission_id):
            row = await missions.get(mission_id)
            begun, over = await self._place(mission_id)
            if row["result"] and (over or row["status"] in FINAL):
                return MissionResult.model_validate(row["result"])
            return await self._watch(mission_id, None if begun else dict(start), None)

    async def _hand_over(self, mission_id: str, tenant: str, start: dict[str, Any], pool: str) -> None:
        runs = RunStore(self.app.pool)
        number = len(await runs.of_mission(mission_id))
        payload = {"mission_id": mission_id, "start": start}
        run_id = derived_id("mission-run", mission_id, number)
        await runs.enqueue([NewRun(run_id, mission_id, payload, pool=pool, tenant=tenant, kind="mission")])

    async def _carrying(self, mission_id: str) -> list[str]:
        """The runs by which the fleet has a mission now; there is one at most."""
        runs = await RunStore(self.app.pool).of_mission(mission_id)
        return [run["id"] for run in runs if run["state"] in OPEN]

    async def _refuse_carried(self, mission_id: str) -> None:
        if await self._carrying(mission_id):
            raise MissionBusy(f"the fleet has mission {mission_id}")

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

    # --- running -------------------------------------------------------------------------------------------------

    def _config(self, mission_id: str, checkpoint_id: str | None = None) -> RunnableConfig:
        place = {"thread_id": mission_id, **({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}
        return {"configurable": place, "recursion_limit": RECURSION_LIMIT}

    async def _attend(self, mission_id: str, start: Any, reviewer: Reviewer | None) -> MissionResult:
        """Hold a new mission while it is driven."""
        async with self.app.context.missions.running_alone(mission_id):
            return await self._watch(mission_id, start, reviewer)

    async def _watch(
        self, mission_id: str, start: Any, reviewer: Reviewer | None, checkpoint_id: str | None = None
    ) -> MissionResult:
        """Drive a mission that is held, and stop it when it is cancelled or its time is up."""
        missions = self.app.context.missions
        driving = asyncio.create_task(self._drive(mission_id, start, reviewer or self._reviewer, checkpoint_id))
        try:
            while not driving.done():
                await asyncio.wait({driving}, timeout=WATCH_S)
                if driving.done():
                    break
                row = await missions.get(mission_id)
                if driving.done():
                    break
                if row["cancel_requested"]:
                    await stop(driving)
                    return await self._end(mission_id, MissionStatus.CANCELLED, "cancelled on request")
                if row["deadline_at"] <= self.app.context.clock.now():
                    await stop(driving)
                    late = MissionExpired(f"the mission did not finish within {row['mission']['deadline_s']:g} s")
                    return await self._end(mission_id, MissionStatus.FAILED, f"{late} | {late.hint}")
            return driving.result()
        except MissionError as error:
            return await self._end(mission_id, MissionStatus.FAILED, f"{error} | {error.hint}")
        finally:
            await stop(driving)
            await self.app.context.settled()  # whoever was stopped in the middle of a write leaves nothing running

    async def _drive(
        self, mission_id: str, start: Any, reviewer: Reviewer | None, checkpoint_id: str | None
    ) -> MissionResult:
        config = self._config(mission_id)
        await self._invoke(start, self._config(mission_id, checkpoint_id))
        while True:
            snapshot = await self.app.mission.aget_state(config)
            if not snapshot.interrupts and snapshot.tasks:
                raise await why_stopped(mission_id, self.app.context)
            if not snapshot.interrupts:
                return MissionResult.model_validate(snapshot.values["result"])
            answers: dict[str, Any] = {}
            asking = [asked for asked in snapshot.interrupts if not is_parked(asked.value)]
            for asked in asking:
                item = ReviewItem.model_validate(asked.value)
                decision = await self.app.context.reviews.decision(item.id)
                if decision is None and reviewer is not None:
                    decision = await self._ask(reviewer, item)
                if decision is not None:
                    answers[asked.id] = {**decision.plain(), "item_id": item.id}
            parked = parked_for([asked.value for asked in snapshot.interrupts])
            if not answers and parked is not None:
                raise parked
            if not answers:
                return await self._waiting(mission_id, [asked.value for asked in asking])
            await self._invoke(Command(resume=answers), config)

    async def _ask(self, reviewer: Reviewer, item: ReviewItem) -> ReviewDecision | None:
        """What whoever attends answers, or somebody else before him; None when nobody does.

        Raises:
            InputError: it is no answer. GuardRejected: it is not his to give. The question stays open either way.
        """
        given = await reviewer(item)
        if given is None:
            return None
        if (why := why_unusable(item, given)) is not None:
            raise InputError(why, remedy="The reviewer has to answer otherwise; the question stays open.")
        try:
            return (await self.app.context.oversight.decisions.answer(item.id, given)).decision
        except ConflictError:
            return await self.app.context.reviews.decision(item.id)

    async def _invoke(self, given: Any, config: RunnableConfig) -> None:
        try:
            await self.app.mission.ainvoke(given, config, context=self.app.context, durability="sync")
        except GraphRecursionError:
            raise MissionError(f"the mission took more than {RECURSION_LIMIT:,} steps") from None

    async def _waiting(self, mission_id: str, items: list[dict[str, Any]]) -> MissionResult:
        await self.app.context.missions.set_status(mission_id, MissionStatus.WAITING)
        return MissionResult(
            mission_id=mission_id,
            status=MissionStatus.WAITING,
            reasons=[f"{item['id'][:8]}: {item['question']}" for item in items],
            usage=await self.app.context.usage.total(mission_id),
        )

    async def _end(self, mission_id: str, status: MissionStatus, reason: str) -> MissionResult:
        return await end(mission_id, status, reason, self.app.context, by="swarm")
