"""Finds what a thread's id stands for: a mission, or a question; shows both to those who may see them."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from chimera.app import App
from chimera.core.contracts import ReviewItem
from chimera.core.errors import InputError, MissionNotFound
from chimera.guards.permissions.values import Entity, Uid
from chimera.review.queue import Asked
from chimera.review.work import Card
from chimera.server.callers import Caller
from chimera.server.desk import Desk
from chimera.server.langgraph_api.asked import FORMAT, PAGE_MAX, PLACES_MAX, Format, SearchAsked, format_of
from chimera.server.langgraph_api.views import (
    MISSION,
    REVIEW,
    assistant_id,
    has_ended,
    is_open,
    state_of,
    thread_of_mission,
    thread_of_question,
    values_of_question,
)
from chimera.store.values import is_uuid

_GRAPHS = {name: name for name in (MISSION, REVIEW)} | {assistant_id(name): name for name in (MISSION, REVIEW)}
_STATUS = {"busy": ["running", "waiting"], "interrupted": ["waiting"], "error": ["failed", "rejected"]}
_STATUS["idle"] = ["done", "partial", "cancelled"]


def graph_of(named: object) -> str:
    """The graph of an assistant, by its name or id.

    Raises:
        MissionNotFound: there is none.
    """
    graph = _GRAPHS.get(named) if isinstance(named, str) else None
    if graph is None:
        raise MissionNotFound("no such assistant or graph", remedy="There are `mission` and `review`.")
    return graph


@dataclass(frozen=True)
class Place:
    """What a thread is: the mission with that id, or the question."""

    thread: dict[str, Any]
    mission_id: str | None
    items: list[ReviewItem]
    card: Card | None = None
    row: dict[str, Any] | None = None


class Threads:
    """Threads, as a caller may see them."""

    def __init__(self, app: App, desk: Desk) -> None:
        self._app = app
        self._desk = desk

    @property
    def otherwise(self) -> Format:
        """The format where nobody names one."""
        return self._app.settings.server_inbox_format

    async def find(self, caller: Caller, thread_id: str, form: Format) -> Place:
        """A thread by its id.

        Raises:
            MissionNotFound: the caller's tenant has none. GuardRejected: the caller may not see it.
        """
        if is_uuid(thread_id):
            whole = str(UUID(thread_id))
            if (row := await self._mission(whole)) is not None and row["tenant"] == caller.tenant:
                await self._desk.mission(caller, "mission.read", whole)
                items = await self._open(caller, whole)
                return Place(thread_of_mission(row, items, form), whole, items, row=row)
            if (card := await self._card(caller, whole)) is not None:
                items = [card.item] if is_open(card) else []
                return Place(thread_of_question(card, form), card.item.mission_id, items, card)
        raise MissionNotFound("no such thread", remedy="Search for the threads that there are.")

    async def is_taken(self, caller: Caller, thread_id: str) -> bool:
        """Whether there is a mission with that id.

        Raises:
            MissionNotFound: another tenant's; it is no thread of the caller's.
        """
        row = await self._mission(thread_id)
        if row is not None and row["tenant"] != caller.tenant:
            raise MissionNotFound("no such thread", remedy="Create a thread.")
        return row is not None

    async def state(self, caller: Caller, place: Place) -> dict[str, Any]:
        """The present state of a thread."""
        return state_of(place.thread, await self.values(caller, place))

    async def values(self, caller: Caller, place: Place) -> dict[str, Any]:
        """What a thread holds: how far a mission is or its result, past the guard for what leaves; or a question."""
        if place.card is not None:
            return values_of_question(place.card)
        told = await self._desk.status(caller, str(place.mission_id))
        ended = place.row is not None and has_ended(place.row)
        found = {"result": told} if ended else {"progress": told}
        return {**place.thread["values"], "status": told["status"], **found}

    async def search(self, caller: Caller, asked: SearchAsked) -> list[dict[str, Any]]:
        """Threads: of the graph ``review`` the open questions, the most urgent first; else missions, newest first."""
        metadata = dict(asked.metadata or {})
        form = format_of(metadata.pop(FORMAT, None), self.otherwise)
        named = [metadata.pop(name) for name in ("graph_id", "assistant_id") if name in metadata]
        graphs = {graph for name in named if (graph := _GRAPHS.get(name) if isinstance(name, str) else None)}
        if len(graphs) > 1 or (named and not graphs) or asked.offset >= PLACES_MAX:
            return []
        limit = min(asked.limit, PAGE_MAX)
        if asked.ids is not None:
            found = [await self._known(caller, one, form) for one in asked.ids]
            threads = [one for one in found if one is not None and (not asked.status or one["status"] == asked.status)]
            threads = threads[asked.offset : asked.offset + limit]
        elif graphs == {REVIEW}:
            threads = await self._questions(caller, asked, limit, form)
        else:
            threads = await self._missions(caller, asked, limit, form)
        wanted = metadata.items()
        kept = [one for one in threads if all(one["metadata"].get(key) == value for key, value in wanted)]
        return _sorted(kept, asked)

    async def _known(self, caller: Caller, thread_id: str, form: Format) -> dict[str, Any] | None:
        try:
            return (await self.find(caller, thread_id, form)).thread
        except MissionNotFound:
            return None

    async def _questions(self, caller: Caller, asked: SearchAsked, limit: int, form: Format) -> list[dict[str, Any]]:
        if asked.status not in (None, "interrupted"):
            return []
        work = self._app.context.oversight.decisions.desk.work
        cards = await work.listed(caller.tenant, limit=min(asked.offset + limit, PLACES_MAX))
        seen = [await self._seen(caller, card) for card in cards[asked.offset :]]
        return [thread_of_question(card, form) for card in seen if card is not None]

    async def _missions(self, caller: Caller, asked: SearchAsked, limit: int, form: Format) -> list[dict[str, Any]]:
        missions, people = self._app.context.missions, self._app.context.oversight.people
        statuses = _STATUS[asked.status] if asked.status else None
        rows = await missions.newest(caller.tenant, limit, statuses=statuses, offset=asked.offset)
        found: list[dict[str, Any]] = []
        for row in rows:
            mission_id = str(row["id"])
            entity = Entity(Uid("Mission", mission_id), {"tenant": caller.tenant})
            if await people.may(caller.name, "mission.read", entity, caller.tenant):
                items = await self._open(caller, mission_id) if row["status"] == "waiting" else []
                thread = thread_of_mission(row, items, form)
                found += [thread] if asked.status in (None, thread["status"]) else []
        return found

    async def _open(self, caller: Caller, mission_id: str) -> list[ReviewItem]:
        found = await self._app.context.reviews.open_items(mission_id=mission_id, tenant=caller.tenant, limit=PAGE_MAX)
        seen = [await self._desk.seen(caller, asked) for asked in found]
        return [item for item in seen if item is not None]

    async def _mission(self, mission_id: str) -> dict[str, Any] | None:
        try:
            return await self._app.context.missions.get(mission_id)
        except MissionNotFound:
            return None

    async def _card(self, caller: Caller, item_id: str) -> Card | None:
        try:
            card = await self._app.context.oversight.decisions.desk.card(item_id)
        except InputError:
            return None
        return await self._seen(caller, card) if card.tenant == caller.tenant else None

    async def _seen(self, caller: Caller, card: Card) -> Card | None:
        item = await self._desk.seen(caller, Asked(card.item, card.tenant, card.decision))
        return replace(card, item=item) if item is not None else None


def _sorted(threads: list[dict[str, Any]], asked: SearchAsked) -> list[dict[str, Any]]:
    """A page in another order, if one is asked for. Which threads are on it is decided before."""
    if asked.sort_by is None:
        return threads
    key = asked.sort_by
    return sorted(threads, key=lambda one: str(one[key]), reverse=asked.sort_order != "asc")
