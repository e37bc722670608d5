"""A graph as the LangGraph server runs it: with our services, our saver, and no way past the front door.

The server copies a graph for every request and hands the client's wishes to it. A client may start a run with the
fields of its contract, answer questions, and go on from a checkpoint. It may not write state, jump to a node or bring
its own context: written state is how one would go around a guard.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Self, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command
from pydantic import BaseModel, ValidationError

from chimera.core.contracts import MissionStatus, ReviewDecision, ReviewItem
from chimera.core.errors import ChimeraError, ConflictError, InputError, MissionNotFound
from chimera.nodes.ending import why_stopped
from chimera.server.asked import ReviewAsked, read_asked
from chimera.server.attend import attended
from chimera.server.services import Services
from chimera.store.missions import MissionStore
from chimera.swarm import RECURSION_LIMIT

Graph = CompiledStateGraph[Any, Any, Any, Any]


class RunFailed(ValueError):
    """One of our errors as a client sees it.

    A ``ValueError``, because the server shows what that says, with HTTP status 400; of most others it shows the name.
    """

    def __init__(self, error: ChimeraError) -> None:
        super().__init__(f"{error} | {error.hint}")


class ServedGraph(Graph):
    """A compiled graph behind its contract ``accepts``, run with the services of the process."""

    def __init__(self, *, services: Services, accepts: type[BaseModel], **graph: Any) -> None:
        super().__init__(**graph)
        self.services = services
        self.accepts = accepts

    @classmethod
    def of(cls, graph: Graph, services: Services, accepts: type[BaseModel]) -> Self:
        """The same graph, served."""
        return cls(services=services, accepts=accepts, **vars(graph))

    def get_input_jsonschema(self, config: RunnableConfig | None = None) -> dict[str, Any]:
        """The contract, as clients are shown it."""
        return _on_the_wire(self.accepts.model_json_schema())

    async def astream(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> AsyncGenerator[Any]:  # noqa: A002
        """Run. Of the options of a client, ``context`` and ``durability`` are ours to choose.

        Raises:
            RunFailed: what came in cannot be used, or the run failed in a way that has a code.
        """
        place: dict[str, Any] = (config or {}).get("configurable") or {}
        config = {
            **(config or {}),
            "configurable": {**place, "checkpoint_ns": ""},  # the graph itself, none of its subgraphs
            "recursion_limit": RECURSION_LIMIT,
        }
        try:
            # A run without a thread of the client's is kept as well: a crash must not lose what it has done.
            graph = self if self.checkpointer else self.copy({"checkpointer": self.services.app.saver})
            async with aclosing(graph.running(input, config, options)) as parts:
                async for part in parts:
                    yield part
        except ChimeraError as error:
            raise RunFailed(error) from error

    async def running(self, given: Any, config: RunnableConfig, options: dict[str, Any]) -> AsyncGenerator[Any]:
        """Admit what came in, and run."""
        async with aclosing(self.started(await self.admitted(given, config), config, options)) as parts:
            async for part in parts:
                yield part

    def started(self, admitted: Any, config: RunnableConfig, options: dict[str, Any]) -> AsyncGenerator[Any]:
        """The graph at work, with the services of the process."""
        options = {**options, "context": self.services.app.context, "durability": "sync"}
        return cast("AsyncGenerator[Any]", super().astream(admitted, config, **options))

    async def admitted(self, given: Any, config: RunnableConfig) -> Any:
        """What goes into the graph for what a client sent."""
        if given is None:
            return None
        if isinstance(given, Command):
            if given.goto or given.update or given.resume is None:
                raise InputError("a command may only resume", remedy="Send Command(resume={INTERRUPT_ID: ANSWER}).")
            await self._refuse_strangers(given.resume, config)
            return given
        asked = read_asked(self.accepts, given)
        if isinstance(asked, ReviewAsked):
            await self.services.app.context.missions.get(str(asked.review_item.mission_id))
        return asked.model_dump(mode="json")

    async def _refuse_strangers(self, answers: Any, config: RunnableConfig) -> None:
        """Tell a client at once that an answer is not its author's to give; the graph would only ask again.

        Raises:
            GuardRejected: whoever signs an answer is not enrolled, or may not give it.
        """
        saved = await self.aget_state({"configurable": _configurable(config)})
        for asked in saved.interrupts:
            answer = answers.get(asked.id, answers) if isinstance(answers, Mapping) else answers
            try:
                item = ReviewItem.model_validate(asked.value)
                given = {key: value for key, value in answer.items() if key != "item_id"}
                decision = ReviewDecision.model_validate(given)
            except (AttributeError, ValidationError):  # no answer, and the graph asks again
                continue
            await self.services.app.context.oversight.decisions.allow(item.id, decision)

    async def abulk_update_state(self, config: RunnableConfig, supersteps: Any) -> RunnableConfig:
        """Refuse.

        Raises:
            RunFailed: always.
        """
        raise RunFailed(
            InputError("the state of a served graph cannot be written", remedy="Start a run, or resume one.")
        )


class ServedMission(ServedGraph):
    """A graph whose thread is a mission: held while it runs, stopped when it is cancelled or late, never run twice."""

    async def running(self, given: Any, config: RunnableConfig, options: dict[str, Any]) -> AsyncGenerator[Any]:
        """Hold the mission, admit what came in, and attend to the run."""
        context, mission_id = self.services.app.context, _configurable(config)["thread_id"]
        async with context.missions.running_alone(mission_id):
            work = self.started(await self.admitted(given, config), config, options)
            async with aclosing(attended(mission_id, work, context)) as parts:
                async for part in parts:
                    yield part
            saved = await self.aget_state({"configurable": {"thread_id": mission_id}})
            if saved.interrupts:
                await context.missions.set_status(mission_id, MissionStatus.WAITING)
            elif saved.tasks and not (options.get("interrupt_before") or options.get("interrupt_after")):
                raise await why_stopped(mission_id, context)

    async def admitted(self, given: Any, config: RunnableConfig) -> Any:
        """What goes into the graph: a mission once for each thread, and whatever goes on from its checkpoints."""
        admitted = await super().admitted(given, config)
        missions, place = self.services.app.context.missions, _configurable(config)
        saved = await self.aget_state({"configurable": place})
        if isinstance(admitted, dict):
            if not await _is_known(place["thread_id"], missions):
                return cast("dict[str, Any]", admitted)
            if (config.get("metadata") or {}).get("run_attempt", 1) == 1:
                raise ConflictError("this thread had its mission", remedy="Create a thread for each mission.")
            admitted = None if saved.tasks else admitted  # the server was stopped in the middle, and runs this again
        elif not saved.tasks or saved.values.get("mission_id", place["thread_id"]) != place["thread_id"]:
            # Also a copied thread: what it would go on with is the mission of another one.
            raise MissionNotFound("nothing waits to go on in this thread", remedy="Start a run with an input.")
        if saved.tasks and (not saved.interrupts or isinstance(admitted, Command)):
            await missions.reopen(place["thread_id"])
        return admitted


def _on_the_wire(schema: Any) -> Any:
    """The schema without bounds that no 64-bit number reaches: the server's JSON encoder refuses them."""
    match schema:
        case dict():
            kept = {key: item for key, item in schema.items() if not isinstance(item, int) or abs(item) < 2**63}
            return {key: _on_the_wire(item) for key, item in kept.items()}
        case list():
            return [_on_the_wire(item) for item in schema]
        case _:
            return schema


def _configurable(config: RunnableConfig) -> dict[str, str]:
    given: dict[str, Any] = config.get("configurable") or {}
    return {key: str(given[key]) for key in ("thread_id", "checkpoint_id") if given.get(key)}


async def _is_known(mission_id: str, missions: MissionStore) -> bool:
    try:
        await missions.get(mission_id)
    except MissionNotFound:
        return False
    return True
