"""Runs: a mission that begins, or answers to what one asks. Both go the way of every other caller.

A mission begins at the desk; an answer goes to ``Decisions``, in the name of whoever calls and of nobody else. A run is
over for its client when the mission has a result, or asks something that is not answered.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID

from chimera.app import App
from chimera.core.contracts import ReviewDecision, ReviewItem
from chimera.core.errors import ConflictError, InputError, MissionNotFound
from chimera.review.inbox.reading import read_answer
from chimera.server.asked import MissionAsked, read_asked
from chimera.server.callers import Caller
from chimera.server.desk import Desk, Run
from chimera.server.langgraph_api.asked import Format, RunAsked
from chimera.server.langgraph_api.threads import Place, Threads, graph_of
from chimera.server.langgraph_api.views import MISSION, answered_by, begun_by, run_of
from chimera.server.langgraph_api.waiting import Begun
from chimera.store.values import is_uuid

WAY = "langgraph"
Pair = tuple[ReviewItem, ReviewDecision | None]


class Runs:
    """Makes runs, and knows them again."""

    def __init__(self, app: App, desk: Desk, threads: Threads) -> None:
        self._app = app
        self._desk = desk
        self._threads = threads

    # --- making ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def begun(
        self, caller: Caller, asked: RunAsked, thread_id: str | None, form: Format
    ) -> AsyncGenerator[Begun]:
        """Make a run, and hear of its mission.

        Raises:
            InputError: it asks for something that is not carried. MissionNotFound: there is no such thread or graph.
            GuardRejected: the caller may not. ConflictError: it comes too late, or twice.
        """
        graph = graph_of(asked.assistant_id)
        resume = asked.command.resume if asked.command is not None else None
        if (resume is None) == (asked.input is None):
            raise InputError("a run has either an input, or a command that resumes")
        if resume is None:
            where, run_id = _new_id(thread_id, self._app), ""
            work = self._beginning(caller, graph, asked.input, where)
            mission_id: str | None = where
        else:
            place = await self._threads.find(caller, thread_id or "", form)
            where, mission_id = str(place.thread["thread_id"]), place.mission_id
            pairs = await self._answers(caller, place, resume, form)
            run_id = answered_by(pairs[0][0].id)
            work = self._answering(caller, place, pairs, asked.version if place.card is not None else None)
        async with self._app.context.events.listen(mission_id or where) as news:
            yield Begun(where, run_id or begun_by(where), mission_id, news, await work())

    def _beginning(
        self, caller: Caller, graph: str, given: Any, mission_id: str
    ) -> Callable[[], Awaitable[dict[str, Any]]]:
        if graph != MISSION:
            raise InputError("questions are asked by missions", remedy="Start a run of the graph `mission`.")
        asked = read_asked(MissionAsked, given)

        async def work() -> dict[str, Any]:
            about: dict[str, Any] = {}
            if await self._threads.is_taken(caller, mission_id):
                raise ConflictError("this thread had its mission", remedy="Create a thread for each mission.")
            run = Run(asked.mission, 0.0, "", asked.approve_plan, asked.dry_run, mission_id)
            async with self._desk.recorded(caller, WAY, "runs.create", about, reads=False):
                await self._desk.run(caller, run, about)
            return {}

        return work

    async def _answers(self, caller: Caller, place: Place, resume: Any, form: Format) -> list[Pair]:
        """Each question that is answered, with its answer. In the thread of a mission each answer names its question:
        what was meant for one that is answered by now must not count for the next.
        """
        named: dict[str, Any] = cast("dict[str, Any]", resume) if isinstance(resume, dict) else {}
        ids = [key for key in named if is_uuid(key)]
        if place.card is not None and not ids:
            return [(place.card.item, read_answer(place.card.item, cast("object", resume), caller.name))]
        if not ids or len(ids) < len(named):
            raise InputError(
                "an answer in the thread of a mission names its question",
                remedy="Send {INTERRUPT_ID: ANSWER}, or answer in the thread of the question (graph `review`).",
            )
        found: list[Pair] = []
        for key in ids:
            asked = await self._threads.find(caller, key, form)
            if asked.card is None or place.thread["thread_id"] not in (asked.mission_id, asked.card.item.id):
                raise MissionNotFound("this thread asks no such question")
            found.append((asked.card.item, read_answer(asked.card.item, named[key], caller.name)))
        return found

    def _answering(
        self, caller: Caller, place: Place, pairs: list[Pair], version: int | None
    ) -> Callable[[], Awaitable[dict[str, Any]]]:
        decisions = self._app.context.oversight.decisions

        async def work() -> dict[str, Any]:
            about = {"mission_id": place.mission_id, "items": [item.id for item, _ in pairs]}
            said: dict[str, str] = {}
            async with self._desk.recorded(caller, WAY, "runs.resume", about, reads=False):
                for item, decision in pairs:
                    if decision is None:
                        said[item.id] = "ignored"
                        continue
                    answered = await decisions.answer(item.id, decision, version=version)
                    if answered.state == "late":
                        raise ConflictError("the answer came too late; it is kept, and nothing comes of it")
                    said[item.id] = answered.state
            return {"answers": said}

        return work

    # --- those that were made ----------------------------------------------------------------------------------------

    async def outcome(
        self, caller: Caller, thread_id: str, form: Format
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """What a thread holds now, and what it asks. A question tells what became of its mission."""
        place = await self._threads.find(caller, thread_id, form)
        values = await self._threads.values(caller, place)
        if place.card is not None and place.mission_id is not None:
            values = {**values, "mission": await self._desk.status(caller, place.mission_id)}
        return values, [one for each in place.thread["interrupts"].values() for one in each]

    async def listed(self, caller: Caller, thread_id: str, form: Format) -> list[dict[str, Any]]:
        """The runs of a thread, newest first.

        Raises:
            MissionNotFound: there is no such thread.
        """
        place = await self._threads.find(caller, thread_id, form)
        if place.card is not None:
            return [run_of(place.thread, answered_by(place.card.item.id))] if place.card.decision is not None else []
        rows = await self._app.context.reviews.of_mission(str(place.mission_id))
        answered = [answered_by(str(row["id"])) for row in reversed(rows) if row["state"] == "decided"]
        return [run_of(place.thread, one) for one in (*answered, begun_by(str(place.mission_id)))]

    async def one(self, caller: Caller, thread_id: str, run_id: str, form: Format) -> dict[str, Any]:
        """A run of a thread.

        Raises:
            MissionNotFound: there is no such thread, or no such run.
        """
        for run in await self.listed(caller, thread_id, form):
            if run["run_id"] == run_id:
                return run
        raise MissionNotFound("no such run")

    @asynccontextmanager
    async def joined(self, caller: Caller, thread_id: str, run_id: str, form: Format) -> AsyncGenerator[Begun]:
        """A run that was made before, with the news from now on.

        Raises:
            MissionNotFound: there is no such thread, or no such run.
        """
        run = await self.one(caller, thread_id, run_id, form)
        place = await self._threads.find(caller, run["thread_id"], form)
        async with self._app.context.events.listen(place.mission_id or thread_id) as news:
            yield Begun(run["thread_id"], run_id, place.mission_id, news)

    async def cancel(self, caller: Caller, thread_id: str, run_id: str, form: Format) -> None:
        """Stop the mission of a run.

        Raises:
            MissionNotFound: there is no such run. GuardRejected: the caller may not.
            InputError: it is an answer, which is not taken back so.
        """
        run = await self.one(caller, thread_id, run_id, form)
        if run_id != begun_by(run["thread_id"]):
            raise InputError("an answer is not taken back so", remedy="Cancel the run that began the mission.")
        about = {"mission_id": run["thread_id"]}
        async with self._desk.recorded(caller, WAY, "runs.cancel", about, reads=False):
            await self._desk.cancel(caller, run["thread_id"])


def _new_id(thread_id: str | None, app: App) -> str:
    if thread_id is None:
        return app.context.new_id()
    if not is_uuid(thread_id):
        raise InputError("the id of a thread is a UUID")
    return str(UUID(thread_id))
