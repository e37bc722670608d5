"""What agents need of the lean runner, on a real Postgres, each beside stock LangGraph.

Proves FR-304, FR-305, FR-306, FR-307, FR-308 and FR-309: context and store, streams, callbacks; a lease that is lost;
a connection that is lost; a node that blocks; the end of one thread among others; what is handed to stock LangGraph.
"""

import asyncio
import contextvars
import operator
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast

import psycopg
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.errors import EmptyInputError, GraphDrained, NodeCancelledError
from langgraph.func import task
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import RunControl, Runtime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, RetryPolicy, Send, interrupt
from typing_extensions import TypedDict

from chimera.core.errors import LeaseLost, StoreUnavailable
from chimera.fleet.lean import LeanRunner
from chimera.models.scripted import ScriptedModel
from chimera.store.checkpoints import GroupCommit, GroupCommitSaver, Lease, open_saver
from chimera.store.postgres import Pool

Graph = CompiledStateGraph[Any, Any, Any, Any]


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    answer: str


@dataclass(frozen=True)
class Who:
    name: str


@pytest.fixture
async def saver(pool: Pool) -> AsyncGenerator[GroupCommitSaver]:
    async with open_saver(pool) as opened:
        yield opened


def place(thread: str, **more: Any) -> RunnableConfig:
    return cast("RunnableConfig", {"configurable": {"thread_id": thread}, "recursion_limit": 20, **more})


def chain(saver: Any, *nodes: Any, **options: Any) -> Graph:
    """A graph of these nodes, one after the other."""
    builder: Any = StateGraph(State, context_schema=Who)
    for name, node in enumerate(nodes):
        builder.add_node(f"n{name}", node)
        builder.add_edge(START if name == 0 else f"n{name - 1}", f"n{name}")
    builder.add_edge(f"n{len(nodes) - 1}", END)
    return builder.compile(checkpointer=saver, **options)


def wide(saver: Any) -> Graph:
    """Two nodes side by side that use all that a node is given, and one after both."""

    async def left(state: State, runtime: Runtime[Who]) -> State:
        assert runtime.store is not None
        await runtime.store.aput(("notes",), runtime.context.name, {"seen": len(state.get("log", []))})
        runtime.stream_writer({"left": runtime.context.name})
        return {"log": [f"left {runtime.context.name}"]}

    def right(state: State, *, store: BaseStore, config: RunnableConfig) -> State:
        get_stream_writer()("right")
        return {"log": [f"right {config.get('configurable', {})['thread_id'].split('-')[0]} {type(store).__name__}"]}

    async def both(state: State, runtime: Runtime[Who]) -> State:
        assert runtime.store is not None
        found = await runtime.store.aget(("notes",), runtime.context.name)
        info = runtime.execution_info
        return {"answer": f"{found.value if found else None} {info.node_attempt if info else None}"}

    builder: Any = StateGraph(State, context_schema=Who)
    for node in (left, right, both):
        builder.add_node(node)
    builder.add_edge(START, "left")
    builder.add_edge(START, "right")
    builder.add_edge(["left", "right"], "both")
    return builder.compile(checkpointer=saver, store=InMemoryStore())


@pytest.mark.parametrize("modes", ["values", "updates", "custom", ["custom", "updates", "values"]])
async def test_a_run_tells_what_stock_langgraph_tells(saver: GroupCommitSaver, modes: Any) -> None:
    graph = wide(saver)
    told: list[list[str]] = []
    for runner in (graph, LeanRunner(graph)):
        stream: Any = runner.astream
        chunks = stream({"log": ["go"]}, place(f"t-{len(told)}"), context=Who("ada"), stream_mode=modes)
        told.append([repr(chunk) async for chunk in chunks])
    assert told[1][-1] == told[0][-1]
    assert sorted(told[1]) == sorted(told[0])  # two nodes side by side have no order


async def test_whoever_stops_listening_stops_the_run(saver: GroupCommitSaver) -> None:
    ran: list[str] = []

    async def note(state: State) -> State:
        ran.append("ran")
        return {"log": ["x"]}

    graph = chain(saver, note, note, note)
    chunks = LeanRunner(graph).astream({"log": []}, place("stopped"), stream_mode="updates")
    assert await anext(chunks) == {"n0": {"log": ["x"]}}
    await chunks.aclose()
    assert ran == ["ran"]
    assert (await graph.aget_state(place("stopped"))).next
    assert (await LeanRunner(graph).ainvoke(None, place("stopped")))["log"] == ["x", "x", "x"]


class Heard(BaseCallbackHandler):
    """Writes down what it is told: the event, the name, and the name of the run around it."""

    def __init__(self) -> None:
        self.names: dict[Any, str] = {}
        self.events: list[tuple[str, str, str]] = []

    def _note(self, event: str, run_id: Any, parent: Any, name: str) -> None:
        self.names.setdefault(run_id, name)
        self.events.append((event, self.names[run_id], self.names.get(parent, "")))

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: Any, parent_run_id: Any = None, **kw: Any) -> Any:
        self._note("start", run_id, parent_run_id, str(kw.get("name")))

    def on_chain_end(self, outputs: Any, *, run_id: Any, parent_run_id: Any = None, **kw: Any) -> Any:
        self._note("end", run_id, parent_run_id, "")

    def on_chain_error(self, error: BaseException, *, run_id: Any, parent_run_id: Any = None, **kw: Any) -> Any:
        self._note(f"error {type(error).__name__}", run_id, parent_run_id, "")

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: Any, parent_run_id: Any = None, **kw: Any
    ) -> Any:
        self._note("model", run_id, parent_run_id, f"model in {kw['metadata']['langgraph_node']}")


async def test_callbacks_are_told_what_stock_langgraph_tells_them(saver: GroupCommitSaver) -> None:
    model = ScriptedModel(script=[AIMessage(content="hello")])

    async def ask(state: State) -> State:
        return {"log": [str((await model.ainvoke("hi")).content)]}

    async def fail(state: State) -> State:
        raise ValueError("no")

    for number, nodes in enumerate([(ask, ask), (ask, fail)]):
        graph, heard = chain(saver, *nodes), [Heard(), Heard()]
        for runner, one in ((graph, heard[0]), (LeanRunner(graph), heard[1])):
            where = place(f"heard-{number}-{type(runner).__name__}", callbacks=[one])
            await asyncio.gather(runner.ainvoke({"log": []}, where), return_exceptions=True)
        assert heard[1].events == heard[0].events
        assert ("model", "model in n0", "n0") in heard[1].events


NOTE: contextvars.ContextVar[str] = contextvars.ContextVar("note", default="nobody")


async def test_a_node_sees_the_callers_context_and_leaves_none_behind(saver: GroupCommitSaver) -> None:
    def inline(state: State) -> State:
        found = NOTE.get()
        NOTE.set("inline")
        return {"log": [found]}

    async def later(state: State) -> State:
        found = NOTE.get()
        NOTE.set("later")
        return {"log": [found]}

    NOTE.set("caller")
    found = await LeanRunner(chain(saver, inline, later, inline)).ainvoke({"log": []}, place("context"))
    assert found["log"] == ["caller", "caller", "caller"]
    assert NOTE.get() == "caller"


async def test_a_node_that_blocks_does_not_stall_its_neighbours(saver: GroupCommitSaver) -> None:
    door = threading.Event()

    def blocked(state: State) -> State:
        return {"answer": "in time" if door.wait(30) else "too late"}

    async def opens(state: State) -> State:
        door.set()
        return {"answer": "opened"}

    blocking, opening = LeanRunner(chain(saver, blocked)), LeanRunner(chain(saver, opens, opens))
    waiting = [asyncio.create_task(blocking.ainvoke({"log": []}, place(f"blocked-{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    assert (await opening.ainvoke({"log": []}, place("opens")))["answer"] == "opened"
    assert {found["answer"] for found in await asyncio.gather(*waiting)} == {"in time"}


async def test_one_of_many_threads_is_cancelled_and_goes_on_later(saver: GroupCommitSaver) -> None:
    door, inside = asyncio.Event(), asyncio.Semaphore(0)

    async def wait(state: State) -> State:
        inside.release()
        await door.wait()
        return {"log": ["waited"]}

    async def first(state: State) -> State:
        return {"log": ["first"]}

    runner = LeanRunner(chain(saver, first, wait))
    running = [asyncio.create_task(runner.ainvoke({"log": []}, place(f"many-{n}"))) for n in range(30)]
    for _ in running:
        await inside.acquire()
    running[7].cancel()
    await asyncio.wait({running[7]})
    door.set()
    found = await asyncio.gather(*running, return_exceptions=True)
    assert [n for n, one in enumerate(found) if isinstance(one, BaseException)] == [7]
    assert isinstance(found[7], asyncio.CancelledError)
    assert (await runner.ainvoke(None, place("many-7")))["log"] == ["first", "waited"]


async def test_a_node_that_cancels_itself_has_failed(saver: GroupCommitSaver) -> None:
    """It is not tried again, whatever its retry policy says, as with stock LangGraph."""
    ran: list[str] = []

    async def cancels(state: State) -> State:
        ran.append("ran")
        raise asyncio.CancelledError

    builder: Any = StateGraph(State)
    builder.add_node("n", cancels, retry_policy=RetryPolicy(initial_interval=0, retry_on=Exception))
    builder.add_edge(START, "n")
    graph = builder.compile(checkpointer=saver)
    for runner in (graph, LeanRunner(graph)):
        with pytest.raises(NodeCancelledError):
            await runner.ainvoke({"log": []}, place(f"cancels-{type(runner).__name__}"))
    assert ran == ["ran", "ran"]


async def test_a_failure_beside_others_keeps_what_is_done_and_ends_the_rest(saver: GroupCommitSaver) -> None:
    found: list[Any] = []
    for kind in ("stock", "lean"):
        ran: list[str] = []
        broken, done = [True], asyncio.Event()

        async def first(state: State, ran: list[str] = ran, done: asyncio.Event = done) -> State:
            ran.append("first")
            asyncio.get_running_loop().call_later(0.2, done.set)
            return {"log": ["first"]}

        async def fails(
            state: State, ran: list[str] = ran, done: asyncio.Event = done, broken: list[bool] = broken
        ) -> State:
            ran.append("fails")
            await done.wait()
            if broken:
                raise ValueError("broken")
            return {"log": ["mended"]}

        async def waits(state: State, ran: list[str] = ran, broken: list[bool] = broken) -> State:
            ran.append("waits")
            if broken:
                await asyncio.Event().wait()
            return {"log": ["waited"]}

        builder: Any = StateGraph(State)
        for node in (first, fails, waits):
            builder.add_node(node)
            builder.add_edge(START, node.__name__)
        graph = builder.compile(checkpointer=saver)
        runner = graph if kind == "stock" else LeanRunner(graph)
        with pytest.raises(ValueError, match="broken"):
            await runner.ainvoke({"log": []}, place(f"beside-{kind}"))
        state = await graph.aget_state(place(f"beside-{kind}"))
        broken.clear()
        ended = await runner.ainvoke(None, place(f"beside-{kind}"))
        found.append((sorted((task.name, str(task.error)) for task in state.tasks), sorted(ran), sorted(ended["log"])))
    assert found[1] == found[0]
    assert found[0][1].count("first") == 1


async def test_a_run_is_drained_at_the_end_of_a_step(saver: GroupCommitSaver) -> None:
    control = RunControl()

    async def asks(state: State) -> State:
        control.request_drain("update")
        return {"log": ["asked"]}

    async def more(state: State) -> State:
        return {"log": ["more"]}

    runner = LeanRunner(chain(saver, asks, more))
    with pytest.raises(GraphDrained, match="update"):
        await runner.ainvoke({"log": []}, place("drained"), control=control)
    assert (await runner.aget_state(place("drained"))).next == ("n1",)
    assert (await runner.ainvoke(None, place("drained")))["log"] == ["asked", "more"]
    with pytest.raises(GraphDrained, match="update"):  # before its first step: the input is kept
        await runner.ainvoke({"log": ["kept"]}, place("drained at once"), control=control)
    assert (await runner.ainvoke(None, place("drained at once")))["log"] == ["kept", "asked", "more"]


async def test_a_worker_without_its_lease_saves_no_step(pool: Pool) -> None:
    ran: list[str] = []
    async with pool.connection() as connection:
        await connection.execute("DROP TABLE IF EXISTS workers CASCADE")  # here they are only what a lease looks at
        await connection.execute("CREATE TABLE workers (id text PRIMARY KEY, epoch bigint NOT NULL)")
        await connection.execute("INSERT INTO workers (id, epoch) VALUES ('w', 1)")

    async def taken_over(state: State) -> State:
        ran.append("n0")
        async with pool.connection() as connection:
            await connection.execute("UPDATE workers SET epoch = 2 WHERE id = 'w'")
        return {"log": ["lost"]}

    async def never(state: State) -> State:
        ran.append("n1")
        return {}

    graph = chain(GroupCommitSaver(pool, GroupCommit(pool, lease=Lease("w", 1))), taken_over, never)
    with pytest.raises(LeaseLost):
        await LeanRunner(graph).ainvoke({"log": []}, place("leased"))
    assert ran == ["n0"]
    after = await chain(GroupCommitSaver(pool), taken_over, never).aget_state(place("leased"))
    assert (after.next, after.values["log"]) == (("n0",), [])


async def test_steps_are_sent_again_when_connections_are_lost(pool: Pool, database_url: str) -> None:
    lost: list[str] = []
    one_at_a_time = asyncio.Lock()  # two that cut at once would cut each other

    async def cut(state: State) -> State:
        if len(lost) < 3 and len(lost) <= len(state.get("log", [])):
            lost.append("all")
            async with one_at_a_time, await psycopg.AsyncConnection.connect(database_url) as connection:
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
        return {"log": ["step"]}

    async with open_saver(pool) as saver:
        runner = LeanRunner(chain(saver, cut, cut, cut, cut))
        found = await asyncio.gather(*(runner.ainvoke({"log": []}, place(f"cut-{n}")) for n in range(20)))
        history = [one async for one in runner.graph.aget_state_history(place("cut-3"))]
    assert [one["log"] for one in found] == [["step"] * 4] * 20
    assert len(history) == 6
    assert len(lost) == 3


# --- what stock LangGraph does ---------------------------------------------------------------------------------------


@task
async def double(text: str) -> str:
    return text * 2


def odd_graphs(ran: list[str]) -> dict[str, Callable[[Any], Graph]]:
    """Builders of graphs with something that only stock LangGraph does, after a step that the lean runner does."""

    async def first(state: State) -> State:
        ran.append("first")
        return {"log": ["first"]}

    async def last(state: State) -> State:
        ran.append("last")
        return {"answer": "-".join(state.get("log", []))}

    async def sends(state: State) -> Command[Any]:
        ran.append("sends")
        return Command(goto=[Send("one", {"log": [str(n)]}) for n in range(3)])

    async def one(state: State) -> State:
        ran.append("one")
        return {"log": [f"one {state.get('log', [''])[-1]}"]}

    async def asks(state: State) -> State:
        ran.append("asks")
        return {"log": [str(interrupt("well?"))]}

    async def calls(state: State) -> State:
        return {"log": [await double("ab")]}

    inner: Any = StateGraph(State)
    inner.add_node("asks", asks)
    inner.add_edge(START, "asks")

    def built(middle: Any, saver: Any, *, fan: bool = False, options: Any = None, **node: Any) -> Graph:
        builder: Any = StateGraph(State, context_schema=Who)
        builder.add_node(first)
        builder.add_node("middle", middle, **node)
        builder.add_node(last)
        builder.add_edge(START, "first")
        builder.add_edge("first", "middle")
        if fan:
            builder.add_node(one)
            builder.add_edge("one", "last")
        else:
            builder.add_edge("middle", "last")
        return builder.compile(checkpointer=saver, **(options or {}))

    made: dict[str, Callable[[Any], Graph]] = {
        "send": lambda saver: built(sends, saver, fan=True, destinations=("one",)),
        "subgraph": lambda saver: built(inner.compile(), saver),
        "timeout": lambda saver: built(one, saver, timeout=20),
        "task": lambda saver: built(calls, saver),
        "interrupt": lambda saver: built(asks, saver),
        "defer": lambda saver: built(one, saver, defer=True),
        "interrupt_before": lambda saver: built(one, saver, options={"interrupt_before": ["middle"]}),
    }
    return made


@pytest.mark.parametrize("kind", sorted(odd_graphs([])))
async def test_what_is_not_supported_goes_to_stock_and_nothing_runs_twice(saver: GroupCommitSaver, kind: str) -> None:
    ran: list[str] = []
    graph = odd_graphs(ran)[kind](saver)
    told: list[Any] = []
    for runner in (graph, LeanRunner(graph)):
        where = place(f"odd-{kind}-{type(runner).__name__}")
        ran.clear()
        found: list[Any] = [await runner.ainvoke({"log": ["go"]}, where)]
        state = await graph.aget_state(where)
        if state.interrupts:
            answer = Command(resume={state.interrupts[0].id: "good"})
            found.append(await runner.ainvoke(answer, where))
        elif state.next:
            found.append(await runner.ainvoke(None, where))
        shown = [{name: value for name, value in one.items() if name != "__interrupt__"} for one in found]
        steps = [one.metadata.get("step") async for one in graph.aget_state_history(where) if one.metadata]
        told.append((shown, list(ran), steps))
    assert told[1] == told[0]
    assert told[0][0][-1]["answer"]


async def test_a_stream_goes_on_over_a_hand_over(saver: GroupCommitSaver) -> None:
    graph = odd_graphs([])["send"](saver)
    told: list[Any] = []
    for runner in (graph, LeanRunner(graph)):
        chunks = runner.astream({"log": ["go"]}, place(f"over-{len(told)}"), stream_mode=["updates", "values"])
        told.append(sorted([repr(chunk) async for chunk in chunks]))
    assert told[1] == told[0]


async def test_threads_are_looked_up_together(saver: GroupCommitSaver, pool: Pool) -> None:
    async def node(state: State) -> State:
        return {"log": ["x"]}

    runner = LeanRunner(chain(saver, node))
    for turn in (1, 2):  # every other one is there from the first round on
        numbers = range(0, 40, 3 - turn)
        await asyncio.gather(*(runner.ainvoke({"log": []}, place(f"looked-{number}")) for number in numbers))
    logs = [(await runner.aget_state(place(f"looked-{number}"))).values["log"] for number in range(40)]
    assert [len(log) for log in logs] == [2, 1] * 20
    await pool.close()
    found = await asyncio.gather(*(runner.last(place(f"new-{number}")) for number in range(5)), return_exceptions=True)
    assert [type(one) for one in found] == [StoreUnavailable] * 5


async def test_a_thread_that_is_not_there_cannot_go_on(saver: GroupCommitSaver) -> None:
    async def node(state: State) -> State:
        return {}

    with pytest.raises(EmptyInputError):
        await LeanRunner(chain(saver, node)).ainvoke(None, place("nowhere"))
