"""MCPIntegrationLayer: find and call tools from Python, through the same guards as agents do."""

import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, cast

from pydantic import Field

from chimera.app import App, Roles, open_app
from chimera.core.clock import Clock
from chimera.core.contracts import GOAL_MAX, Evidence, Mission, MissionResult, MissionStatus, Task
from chimera.core.errors import (
    CallWaits,
    ChimeraError,
    ConflictError,
    GuardRejected,
    InputError,
    MissionNotFound,
    ToolFailed,
    ToolServerDown,
    ToolUnknown,
    catalogue,
)
from chimera.core.ids import NewId, canonical_id
from chimera.core.money import Money
from chimera.core.settings import Settings
from chimera.graphs.call import build_call
from chimera.guards.request import texts
from chimera.nodes.calling import CALL, OneCall, failure, shown
from chimera.nodes.context import Context
from chimera.nodes.ending import ANSWERED
from chimera.review.reviewers import Reviewer
from chimera.swarm.driving import Driver
from chimera.tools.capability import Capability, Requester, ToolResult
from chimera.tools.toolbox import LEARNT_MOST, RISKS, Wanted

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from chimera.nodes.calling import CallState

FOUND_MOST = 50


class FoundCapability(Capability):
    """A tool that was found. ``is_known``: its server said itself what it takes; else that shows when it is called."""

    score: float = Field(description="compares the tools of one search alone")
    why: str = Field(default="", description="words of the need that it speaks of")
    risk: str = "medium"
    cost: Money | None = Field(default=None, description="of one call, as far as the registry says")
    is_known: bool = True


class MCPIntegrationLayer(Driver):
    """All tool servers of an installation behind two calls.

    Usage::

        async with MCPIntegrationLayer() as layer:
            found = await layer.discover_capabilities("what is rising in a feed of posts")
            result = await layer.execute_capability(found[0], {"feed": "posts.csv"})

    A call is a mission of one task: it passes the guards of agents' calls, is on the record, and one that changes
    something is made once. ``reviewer`` answers what a human is asked; without one, such a call raises CallWaits.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        reviewer: Reviewer | None = None,
        clock: Clock | None = None,
        new_id: NewId | None = None,
    ) -> None:
        super().__init__(reviewer)
        self._opening = open_app(settings, Roles(), clock=clock, new_id=new_id)
        self._stack = AsyncExitStack()
        self._built: CompiledStateGraph[Any, Any, Any, Any] | None = None

    @classmethod
    def on(cls, app: App, reviewer: Reviewer | None = None) -> Self:
        """A layer on an app that is open, and that whoever opened it closes."""
        made = cls(app.settings, reviewer=reviewer)
        made._app = app
        return made

    async def __aenter__(self) -> Self:
        self._app = await self._stack.enter_async_context(self._opening)
        return self

    async def __aexit__(self, *raised: Any) -> None:
        self._app = None
        await self._stack.__aexit__(*raised)

    # --- finding -------------------------------------------------------------------------------------------------

    async def discover_capabilities(
        self,
        query: str,
        k: int = 5,
        for_agent: str | None = None,
        *,
        max_risk: str = "high",
        max_cost: Money | None = None,
        tenant: str = "default",
        start: bool = True,
    ) -> list[FoundCapability]:
        """The ``k`` tools that fit a need best, best first, among those that may be called and whose servers are well.

        ``for_agent``: whose permissions count, a principal's name; without one, those of a worker. ``start``: a few
        servers may be started of which nothing is known yet.

        Raises:
            InputError: the query, ``k`` or the risk cannot be used.
        """
        if not query.strip() or not 0 < k <= FOUND_MOST or max_risk not in RISKS:
            raise InputError(
                f"a search has words, 1 to {FOUND_MOST} results, and a risk of {', '.join(RISKS)}",
                remedy="Say in plain words what the tool is to do.",
            )
        wanted = Wanted(
            most=k,
            requester=Requester(for_agent or "", tenant),
            max_risk=max_risk,
            max_cost=max_cost,
            start=LEARNT_MOST if start else 0,
        )
        return [
            FoundCapability(
                **match.tool.model_dump(),
                score=match.score,
                why=match.why,
                risk=match.risk,
                cost=match.cost,
                is_known=match.is_known,
            )
            for match in await self.app.toolbox.search(query, wanted)
        ]

    # --- calling -------------------------------------------------------------------------------------------------

    async def execute_capability(
        self,
        capability: Capability | str,
        params: Mapping[str, Any],
        *,
        call_id: str | None = None,
        tenant: str = "default",
        reviewer: Reviewer | None = None,
    ) -> ToolResult:
        """Call a tool, named by its full name or as it was found, and return what the guards let through of its answer.

        ``call_id``: an id of the caller's. The same call with the same id is made once: again it returns the result,
        or goes on where it was left, such as at a human's answer.

        Raises:
            InputError: the parameters are not plain JSON. ConflictError: the id belongs to another call.
            ToolUnknown, ToolServerDown: the tool cannot be called now. GuardRejected: the guards refuse it.
            CallWaits: a human has to agree first. ToolFailed: the tool gave no usable result.
        """
        name = capability if isinstance(capability, str) else capability.name
        task = _task(name, params)
        start = {"mission": _mission(task, tenant).plain(), "task": task.plain()}
        call_id = canonical_id(call_id) if call_id else self.app.context.new_id()
        if not await self._is_known(call_id, task, tenant):
            await self._must_be_there(name)
            await self.app.context.missions.create(call_id, _mission(task, tenant))
            if not await self._is_known(call_id, task, tenant):
                raise ConflictError(f"the id {call_id} belongs to another call or mission")
        await self._go_on(call_id, start, reviewer)
        return await self._outcome(call_id)

    async def resume(
        self, call_id: str, *, reviewer: Reviewer | None = None, deadline_s: float | None = None
    ) -> MissionResult:
        """Go on with a call that waits or was left; how it stands then, as of any mission.

        Raises:
            MissionNotFound: there is none. InputError: it never began; make it again with its id.
        """
        return await self._go_on(canonical_id(call_id), None, reviewer, deadline_s)

    @property
    def _context(self) -> Context:
        return replace(self.app.context, worker=OneCall())

    @property
    def _graph(self) -> "CompiledStateGraph[Any, Any, Any, Any]":
        if self._built is None:
            self._built = build_call(checkpointer=self.app.saver)
        return self._built

    async def _is_known(self, call_id: str, task: Task, tenant: str) -> bool:
        """Whether there is this call with that id.

        Raises:
            ConflictError: there is something else with it.
        """
        missions = self.app.context.missions
        try:
            row = await missions.get(call_id)
        except MissionNotFound:
            return False
        planned = [found["plan"] for found in await missions.tasks(call_id) if found["team"] == CALL]
        same = planned == [task.plain()] if planned else row["mission"] == _mission(task, tenant).plain()
        if not same or row["tenant"] != tenant:
            raise ConflictError(f"the id {call_id} belongs to another call or mission")
        return True

    async def _go_on(
        self,
        call_id: str,
        start: dict[str, Any] | None,
        reviewer: Reviewer | None,
        deadline_s: float | None = None,
    ) -> MissionResult:
        missions = self.app.context.missions
        async with missions.running_alone(call_id):
            row = await missions.get(call_id)
            begun, over = await self._place(call_id)
            if row["result"] and (over or row["status"] in ANSWERED):
                return MissionResult.model_validate(row["result"])
            if not begun and start is None:
                raise InputError(f"the call {call_id} never began", remedy="Make it again, with the same id.")
            await missions.reopen(call_id, deadline_s)
            return await self._watch(call_id, None if begun else start, reviewer)

    async def _must_be_there(self, name: str) -> None:
        """Start the tool's server, and see that it offers the tool."""
        if await self.app.toolbox.named([name]):
            return
        server = name.partition("__")[0]
        status = next((one for one in self.app.mesh.status() if one.name == server), None)
        if status is not None and status.state in ("down", "starting"):
            raise ToolServerDown(f"{name[:120]}: its server {server} does not run: {status.error or 'it still starts'}")
        held = [why for why in (status.dropped if status else []) if why.startswith(f"{name.partition('__')[2]}:")]
        raise ToolUnknown(held[0] if held else f"no server offers {name[:120]}")

    async def _outcome(self, call_id: str) -> ToolResult:
        state = cast("CallState", (await self._graph.aget_state(self._config(call_id))).values)
        row = await self.app.context.missions.get(call_id)
        status = row["status"]
        if status == MissionStatus.WAITING:
            items = await self.app.context.reviews.of_mission(call_id)
            item = next((str(found["id"]) for found in items if found["state"] == "open"), "")
            raise CallWaits(f"a human has to agree to the call {call_id}", call=call_id, review=item)
        if status == MissionStatus.REJECTED:
            raise GuardRejected("; ".join((state.get("refusal") or {}).get("reasons", [])) or "the call was refused")
        if status != MissionStatus.DONE:
            reasons = cast("list[str]", (row["result"] or {}).get("reasons") or [])
            raise _error(failure(state) if state.get("messages") else {}, reasons)
        told = shown(state)
        if "withheld" in told:  # typed values in the place of a text that gives orders
            return ToolResult(text=str(told.get("text") or ""), data={key: told[key] for key in ("data", "withheld")})
        evidence = [Evidence.model_validate(item) for item in told.get("evidence") or []]
        return ToolResult(text=str(told.get("text") or ""), data=told.get("data"), evidence=evidence)


def _task(name: str, params: Mapping[str, Any]) -> Task:
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(params), allow_nan=False))
        said = f"Call {name} with {json.dumps(plain, ensure_ascii=False, sort_keys=True)}"[:GOAL_MAX]
        return Task(id="t1", title=f"Call {name}"[:200], instruction=said, tools=[name], arguments={name: plain})
    except (TypeError, ValueError, RecursionError):
        raise InputError(
            f"{name[:120]!r} is no tool's name, or its parameters are not plain JSON",
            remedy="Tools are named SERVER__TOOL; parameters are an object.",
        ) from None


def _mission(task: Task, tenant: str) -> Mission:
    """What was asked: every value is the caller's own word."""
    (given,) = task.arguments.values()
    said = {f"value-{place}": text for place, text in enumerate(texts(list(given.values())), 1)}
    return Mission(goal=task.instruction, inputs=said, tenant=tenant)


def _error(told: Mapping[str, Any], reasons: list[str]) -> ChimeraError:
    kind = next((known for known in catalogue() if known.code == told.get("code")), ToolFailed)
    message = str(told.get("message") or "; ".join(reasons) or "the call gave nothing")
    return kind(message, **{key: value for key, value in dict(told.get("context") or {}).items() if key != "message"})
