"""What carries out missions on an open app: driven, watched, asked about, and ended when nothing is left to do."""

import asyncio
from contextlib import suppress
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphRecursionError
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from chimera.app import App
from chimera.core.contracts import MissionResult, MissionStatus, ReviewDecision, ReviewItem
from chimera.core.errors import ConfigError, ConflictError, InputError, MissionError, MissionExpired
from chimera.core.tasks import stop
from chimera.fleet.parking import is_parked, parked_for
from chimera.nodes.context import Context
from chimera.nodes.ending import end, why_stopped
from chimera.review.answers import why_unusable
from chimera.review.reviewers import Reviewer

RECURSION_LIMIT = 10_000
"""Supersteps of a mission or a team; several times what the largest plan takes with every retry and every question."""
WATCH_S = 0.5


class Driver:
    """Runs the graph of a mission until it ends, waits for a human, or waits for its agents on the fleet."""

    def __init__(self, reviewer: Reviewer | None) -> None:
        self._reviewer = reviewer
        self._app: App | None = None

    @property
    def app(self) -> App:
        """The services and graphs behind this swarm.

        Raises:
            ConfigError: it is not open.
        """
        if self._app is None:
            raise ConfigError("the swarm is not open", remedy="Use it as `async with ChimeraSwarm() as swarm:`.")
        return self._app

    @property
    def _graph(self) -> "CompiledStateGraph[Any, Any, Any, Any]":
        """What is driven: the graph of missions."""
        return self.app.mission

    @property
    def _context(self) -> Context:
        """What its nodes are given."""
        return self.app.context

    async def _place(self, mission_id: str) -> tuple[bool, bool]:
        """Whether a mission's graph has begun, and whether it is at its end."""
        snapshot = await self._graph.aget_state(self._config(mission_id))
        begun = bool(snapshot.values or snapshot.tasks)
        return begun, begun and not snapshot.tasks and not snapshot.interrupts

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
            snapshot = await self._graph.aget_state(config)
            if not snapshot.interrupts and snapshot.tasks:
                raise await why_stopped(mission_id, self.app.context)
            if not snapshot.interrupts:
                return MissionResult.model_validate(snapshot.values["result"])
            answers: dict[str, Any] = {}
            asking = [asked for asked in snapshot.interrupts if not is_parked(asked.value)]
            for asked in asking:
                item = ReviewItem.model_validate(asked.value)
                if (answer := await self._answer_to(item, reviewer)) is not None:
                    answers[asked.id] = {**answer, "item_id": item.id}
            parked = parked_for([asked.value for asked in snapshot.interrupts])
            if not answers and parked is not None:
                raise parked
            if not answers:
                return await self._waiting(mission_id, [asked.value for asked in asking])
            await self._invoke(Command(resume=answers), config)

    async def _answer_to(self, item: ReviewItem, reviewer: Reviewer | None) -> dict[str, Any] | None:
        """What the graph that asks goes on with: an answer, or what a reviewer asked back; None while there is none."""
        decision = await self.app.context.reviews.hand_over(item.id)
        if decision is None and await self.app.context.reviews.asked_back(item.id):
            return {"asks": True}
        if decision is None and reviewer is not None:
            decision = await self._ask(reviewer, item)
        return decision.plain() if decision is not None else None

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
        with suppress(ConflictError):  # somebody else was first, or works on it
            await self.app.context.oversight.decisions.answer(item.id, given)
        return await self.app.context.reviews.hand_over(item.id)

    async def _invoke(self, given: Any, config: RunnableConfig) -> None:
        try:
            await self._graph.ainvoke(given, config, context=self._context, durability="sync")
        except GraphRecursionError:
            raise MissionError(f"the mission took more than {RECURSION_LIMIT:,} steps") from None

    async def _waiting(self, mission_id: str, items: list[dict[str, Any]]) -> MissionResult:
        context, asking = self.app.context, [str(item["id"]) for item in items]
        await context.reviews.passed(mission_id, asking)
        await context.missions.set_status(mission_id, MissionStatus.WAITING)
        return MissionResult(
            mission_id=mission_id,
            status=MissionStatus.WAITING,
            reasons=[f"{item['id'][:8]}: {item['question']}" for item in items],
            usage=await context.usage.total(mission_id),
        )

    async def _end(self, mission_id: str, status: MissionStatus, reason: str) -> MissionResult:
        return await end(mission_id, status, reason, self.app.context, by="swarm")
