"""Random graphs do the same on the lean runner as on stock LangGraph, and either goes on with the other's threads.

Proves FR-300, FR-301, FR-302 and FR-303. A graph is made of a seed: 3 to 8 nodes in a chain with parallel blocks,
joins, conditional edges, loops, Command, Overwrite, retries, failures, nodes that are not async, nodes that return
nothing, pydantic state, the runtime, context variables and questions. Both runners use one database; compared are the
outcome, the history as stock LangGraph tells it, every row of a checkpoint, every blob, and every call of a node.

Planted faults show that the comparison sees what it has to see.
"""

import asyncio
import contextvars
import json
import operator
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, cast

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphRecursionError, InvalidUpdateError
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Interrupt, Overwrite, RetryPolicy, interrupt
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from chimera.fleet.lean import LeanRunner
from chimera.fleet.lean import journal as lean_journal
from chimera.fleet.lean import task as lean_task
from chimera.fleet.lean import thread as lean_thread
from chimera.store.checkpoints import GroupCommitSaver, open_saver
from chimera.store.postgres import Pool, open_pool

Graph = CompiledStateGraph[Any, Any, Any, Any]
GRAPHS = 50
AT_ONCE = 50
LIMIT = 25
NOTE: contextvars.ContextVar[str] = contextvars.ContextVar("note", default="")


def merged(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """A reducer whose result depends on the order."""
    return {**before, **after}


class Loose(TypedDict, total=False):
    count: Annotated[int, operator.add]
    log: Annotated[list[Any], operator.add]
    by_name: Annotated[dict[str, Any], merged]
    text: str
    box: dict[str, Any]
    number: float


class Strict(BaseModel):
    count: Annotated[int, operator.add] = 0
    log: Annotated[list[Any], operator.add] = Field(default_factory=list[Any])
    by_name: Annotated[dict[str, Any], merged] = Field(default_factory=dict[str, Any])
    text: str = ""
    box: dict[str, Any] = Field(default_factory=dict[str, Any])
    number: float = 0.0


class Flaky(Exception):
    pass


class Fatal(Exception):
    pass


class Killed(BaseException):
    """As if the process had ended here: nothing of ours may catch it."""


@dataclass(frozen=True)
class Factor:
    by: int


@dataclass(frozen=True)
class NodeSpec:
    """What a node does. ``fails``: how often before it succeeds; ``asks``: it puts a question to a human."""

    name: str
    sync: bool
    how: str
    fields: tuple[str, ...]
    goto: tuple[str, ...] = ()
    fails: int = 0
    fatal: bool = False
    asks: bool = False
    runtime: bool = False


@dataclass(frozen=True)
class GraphSpec:
    """A graph, as data."""

    seed: int
    strict: bool
    nodes: tuple[NodeSpec, ...]
    edges: tuple[tuple[str | tuple[str, ...], str], ...]
    choices: tuple[tuple[str, tuple[str, ...]], ...]
    limit: int


@dataclass
class World:
    """What happened outside of a graph: the calls of its nodes. ``kill_at``: the call that it does not survive."""

    kill_at: int = -1
    calls: list[tuple[int, str, int]] = field(default_factory=list[tuple[int, str, int]])
    failed: dict[str, int] = field(default_factory=dict[str, int])

    def call(self, name: str, count: int, length: int) -> None:
        """Note a call; some do not come back."""
        self.calls.append((length, name, count))
        if len(self.calls) - 1 == self.kill_at:
            raise Killed


def made(seed: int) -> GraphSpec:
    """The graph of a seed."""
    pick = random.Random(seed)
    strict = pick.random() < 0.2
    segments: list[list[str]] = []
    names: list[str] = []
    wanted = pick.randint(3, 8)
    while len(names) < wanted:
        wide = pick.choice([2, 2, 3]) if segments and wanted - len(names) >= 3 and pick.random() < 0.35 else 1
        segments.append([f"n{len(names) + place}" for place in range(wide)])
        names += segments[-1]
    if len(segments[-1]) > 1:
        segments.append([f"n{len(names)}"])
    edges: list[tuple[str | tuple[str, ...], str]] = [(START, segments[0][0])]
    choices: list[tuple[str, tuple[str, ...]]] = []
    nodes: list[NodeSpec] = []
    ends = pick.random() < 0.15
    for place, segment in enumerate(segments):
        after = segments[place + 1] if place + 1 < len(segments) else [END]
        lone = len(segment) == 1
        jump: tuple[str, ...] = ()
        if not lone:
            if pick.random() < 0.75:
                edges.append((tuple(segment), after[0]))
            else:
                edges += [(name, after[0]) for name in segment]
        elif pick.random() < 0.3 and len(after) == 1:
            targets = [after[0]]
            if place > 1:
                targets.append(pick.choice([old[0] for old in segments[:place] if len(old) == 1]))
            if pick.random() < 0.3:
                targets.append(END)
            jump = tuple(dict.fromkeys(targets))
        elif pick.random() < 0.5:
            loop = [old[0] for old in segments[: place + 1] if len(old) == 1]
            choices.append((segment[0], (*after, *([pick.choice(loop)] if pick.random() < 0.5 else []))))
        else:
            edges += [(segment[0], name) for name in after]
        # How far its neighbours come before a node fails is a race, on either runner: here only a lone one fails.
        alone = lone and seed % 3 > 0
        nodes += [
            replace(node, fatal=node.fatal and alone) for node in _nodes(pick, segment, jump, lone=lone, ends=ends)
        ]
    limit = pick.choice([4, 7]) if pick.random() < 0.08 else LIMIT
    return GraphSpec(seed, strict, tuple(nodes), tuple(edges), tuple(choices), limit)


def _nodes(pick: random.Random, names: list[str], goto: tuple[str, ...], *, lone: bool, ends: bool) -> list[NodeSpec]:
    return [_node(pick, name, goto, lone=lone, ends=ends) for name in names]


def _node(pick: random.Random, name: str, goto: tuple[str, ...], *, lone: bool, ends: bool) -> NodeSpec:
    shared = ["count", "log", "by_name"]
    own = ["text", "box", "number"] if lone or pick.random() < 0.04 else []
    how = pick.choice(["dict", "dict", "dict", "none", "overwrite"]) if not goto else "command"
    return NodeSpec(
        name=name,
        sync=pick.random() < 0.25,
        how=how,
        fields=tuple(one for one in [*shared, *own] if pick.random() < 0.6),
        goto=goto,
        fails=pick.choice([1, 2]) if pick.random() < 0.15 else 0,
        fatal=ends and pick.random() < 0.2,
        asks=ends and pick.random() < 0.2,
        runtime=pick.random() < 0.3,
    )


def built(spec: GraphSpec, world: World, saver: Any) -> Graph:
    """The compiled graph; its nodes act on ``world``."""
    builder: Any = StateGraph(cast("Any", Strict if spec.strict else Loose), context_schema=Factor)
    for node in spec.nodes:
        again = RetryPolicy(max_attempts=3, initial_interval=0, jitter=False, retry_on=Flaky)
        policy = (RetryPolicy(max_attempts=1, retry_on=ValueError), again) if spec.seed % 2 else again
        builder.add_node(
            node.name,
            _function(node, world),
            retry_policy=policy if node.fails else None,
            destinations=node.goto or None,
        )
    for start, end in spec.edges:
        builder.add_edge(list(start) if isinstance(start, tuple) else start, end)
    for start, ends in spec.choices:
        builder.add_conditional_edges(start, _chooser(ends, several=spec.seed % 3 == 0), list(ends))
    return builder.compile(checkpointer=saver)


def _chooser(ends: tuple[str, ...], *, several: bool) -> Callable[[Any], Any]:
    def choose(state: Any) -> Any:
        length = len(_of(state, "log") or []) + int(_of(state, "count") or 0)
        return list(ends)[:2] if several and length % 3 == 0 else ends[length % len(ends)]

    return choose


def _of(state: Any, name: str) -> Any:
    return state.get(name) if isinstance(state, dict) else getattr(state, name)


def _function(node: NodeSpec, world: World) -> Any:
    def act(state: Any, by: int) -> Any:
        length = len(_of(state, "log") or [])
        world.call(node.name, int(_of(state, "count") or 0), length)
        heard = NOTE.get()
        NOTE.set(node.name)
        if world.failed.get(node.name, 0) < node.fails:
            world.failed[node.name] = world.failed.get(node.name, 0) + 1
            raise Flaky(node.name)
        if node.fatal and length % 2:
            raise Fatal(node.name)
        said = interrupt({"from": node.name}) if node.asks else heard
        return _update(node, state, length, said, by)

    if node.sync and node.runtime:

        def inline(state: Any, runtime: Runtime[Factor]) -> Any:
            return act(state, runtime.context.by)

        return inline
    if node.sync:
        return lambda state: act(state, 1)  # pyright: ignore[reportUnknownLambdaType]

    async def later(state: Any) -> Any:
        await asyncio.sleep(0)
        return act(state, 1)

    async def told(state: Any, runtime: Runtime[Factor]) -> Any:
        assert runtime.execution_info is not None
        assert runtime.execution_info.checkpoint_ns.startswith(f"{node.name}:")
        runtime.stream_writer({"from": node.name})
        return act(state, runtime.context.by)

    return told if node.runtime else later


def _update(node: NodeSpec, state: Any, length: int, said: Any, by: int) -> Any:
    values: dict[str, Any] = {
        "count": by,
        "log": [f"{node.name} at {length}", said, (1, b"two")],
        "by_name": {node.name: length, "last": node.name},
        "text": f"{node.name}:{_of(state, 'text') or ''}"[:40],
        "box": {"from": node.name, "deep": [{"n": length}]},
        "number": length / 2,
    }
    update = {name: values[name] for name in node.fields}
    if node.how == "none":
        return None
    if node.how == "overwrite":
        return {**update, "log": Overwrite([node.name, "anew"])}
    if node.how == "command":
        tries = int(_of(state, "count") or 0) + length
        return Command(update={**update, "count": 1}, goto=node.goto[min(tries % 3, len(node.goto) - 1)])
    return update


# --- running and comparing -------------------------------------------------------------------------------------------


async def outcome(run: Any) -> tuple[Any, ...]:
    """What came of a run: its result, or the error's kind and words."""
    try:
        found = await run
        if isinstance(found, dict) and "__interrupt__" in found:  # their ids come from those of the checkpoints
            found = {**found, "__interrupt__": [one.value for one in found["__interrupt__"]]}
        return ("returned", found)
    except (Flaky, Fatal, GraphRecursionError, Killed) as error:
        return ("raised", type(error).__name__, str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the other runner has to raise the same
        return ("raised", type(error).__name__, str(error).split("\n")[0])


def config(thread: str, spec: GraphSpec) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "colour": "blue"}, "recursion_limit": spec.limit}


FIRST: Mapping[str, Any] = {"count": 1, "log": ["start"], "text": "go"}
SECOND: Mapping[str, Any] = {"count": 1, "log": ["again"]}


async def lived(runner: Any, graph: Graph, spec: GraphSpec, thread: str, world: World) -> list[Any]:
    """A thread's life: a first input, answers to questions, a second input; and the calls of each part."""
    where, found = config(thread, spec), list[Any]()
    for given in (dict(FIRST), dict(SECOND))[: 2 if spec.seed % 3 == 0 else 1]:
        part = await outcome(runner.ainvoke(given, where, context=Factor(2), durability="sync"))
        found.append([part, sorted(world.calls)])
        for _ in range(3):
            waiting = await questions(graph, where)
            if not waiting:
                break
            answers = Command(resume={one.id: f"answer {place}" for place, one in enumerate(waiting)})
            part = await outcome(runner.ainvoke(answers, where, context=Factor(2), durability="sync"))
            found.append([part, sorted(world.calls)])
    return found


async def questions(graph: Graph, where: RunnableConfig) -> tuple[Interrupt, ...]:
    """What a thread asks; nothing where LangGraph cannot show the state, as two writes meet in it."""
    try:
        return (await graph.aget_state(where)).interrupts
    except InvalidUpdateError:
        return ()


async def history(graph: Graph, where: RunnableConfig) -> list[Any]:
    """The history of a thread as stock LangGraph tells it."""
    found: list[Any] = []
    if (await outcome(graph.aget_state(where)))[0] == "raised":
        return found
    async for state in graph.aget_state_history(where):
        metadata = cast("dict[str, Any]", state.metadata)
        tasks = sorted(
            (task.name, str(task.error), str([one.value for one in task.interrupts])) for task in state.tasks
        )
        found.append((metadata["step"], metadata["source"], repr(state.values), sorted(state.next), tasks))
    return found


async def rows(pool: Pool, thread: str) -> list[Any]:
    """Every row of the thread's checkpoints and blobs, but for what chance and time have put there."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT checkpoint_id, parent_checkpoint_id, checkpoint, metadata FROM checkpoints WHERE thread_id = %s "
            "ORDER BY checkpoint_id",
            (thread,),
        )
        saved = await cursor.fetchall()
        cursor = await connection.execute(
            "SELECT channel, version, type, blob FROM checkpoint_blobs WHERE thread_id = %s ORDER BY channel, version",
            (thread,),
        )
        blobs = await cursor.fetchall()
    order = {row["checkpoint_id"]: place for place, row in enumerate(saved)}
    found: list[Any] = []
    for row in saved:
        checkpoint = {key: value for key, value in row["checkpoint"].items() if key not in ("id", "ts")}
        parent = order.get(row["parent_checkpoint_id"])
        found.append([parent, json.dumps(_counted(checkpoint), sort_keys=True), row["metadata"]])
    return [
        *found,
        *([blob["channel"], _counted(blob["version"]), blob["type"], bytes(blob["blob"])] for blob in blobs),
    ]


def _counted(value: Any) -> Any:
    """Versions by their number, without the random rest."""
    if isinstance(value, dict):
        return {key: _counted(one) for key, one in cast("dict[str, Any]", value).items()}
    if isinstance(value, str) and len(value) > 33 and value[32] == "." and value[:32].isdigit():
        return int(value[:32])
    return value


async def differences(pool: Pool, saver: GroupCommitSaver, seed: int, name: str) -> list[str]:
    """What is not the same for one seed."""
    spec = made(seed)
    worlds = World(), World()
    stock, graph = built(spec, worlds[0], saver), built(spec, worlds[1], saver)
    lean = LeanRunner(graph)
    threads = f"{name}-stock-{seed}", f"{name}-lean-{seed}"
    lives = (
        await lived(stock, stock, spec, threads[0], worlds[0]),
        await lived(lean, stock, spec, threads[1], worlds[1]),
    )
    told = [await history(stock, config(thread, spec)) for thread in threads]
    kept = [await rows(pool, thread) for thread in threads]
    asked = any(node.asks for node in spec.nodes)
    found: list[str] = []
    for what, (ours, theirs) in {"life": lives, "history": told, "rows": kept}.items():
        if repr(ours) != repr(theirs) and not (asked and what == "rows" and repr(told[0]) == repr(told[1])):
            found.append(f"seed {seed}: {what}\n  stock {ours!r}\n  lean  {theirs!r}")
    return found


@pytest.fixture
async def saver(shared_database_url: str) -> AsyncGenerator[tuple[Pool, GroupCommitSaver]]:
    async with open_pool(shared_database_url, 8) as pool, open_saver(pool) as opened:
        yield pool, opened


async def compared(pool: Pool, opened: GroupCommitSaver, seeds: range, name: str) -> list[str]:
    found: list[str] = []
    for first in range(seeds.start, seeds.stop, AT_ONCE):
        some = range(first, min(first + AT_ONCE, seeds.stop))
        for differ in await asyncio.gather(*(differences(pool, opened, seed, name) for seed in some)):
            found += differ
    return found


async def test_random_graphs_are_the_same_on_both(saver: tuple[Pool, GroupCommitSaver]) -> None:
    found = await compared(*saver, range(GRAPHS), "same")
    assert not found, f"{len(found)} differences; the first:\n" + "\n".join(found[:2])


@pytest.mark.long
@pytest.mark.timeout(1_200)
async def test_thousands_of_random_graphs_are_the_same_on_both(saver: tuple[Pool, GroupCommitSaver]) -> None:
    found = await compared(*saver, range(1_000, 3_000), "many")
    assert not found, f"{len(found)} differences; the first:\n" + "\n".join(found[:2])


# --- planted faults --------------------------------------------------------------------------------------------------


def _reversed_reducers(patch: pytest.MonkeyPatch) -> None:
    folded = lean_thread.Thread._folded  # pyright: ignore[reportPrivateUsage]
    patch.setattr(lean_thread.Thread, "_folded", lambda self, name, given: folded(self, name, given[::-1]))  # pyright: ignore


def _applied(
    patch: pytest.MonkeyPatch, after: Callable[[lean_thread.Thread, dict[str, Any], dict[str, Any]], None]
) -> None:
    """Do ``after`` each step, with the versions and joins before it."""
    apply = lean_thread.Thread.apply

    def faulty(self: lean_thread.Thread, tasks: Any, version: Any) -> set[str]:
        versions, joins = dict(self.versions), {name: set(seen) for name, seen in self.joins.items()}
        updated = apply(self, tasks, version)
        after(self, versions, joins)
        return updated

    patch.setattr(lean_thread.Thread, "apply", faulty)


def _no_bump(patch: pytest.MonkeyPatch) -> None:
    def after(thread: lean_thread.Thread, versions: dict[str, Any], _: dict[str, Any]) -> None:
        for name in thread.plan.passing.keys() - thread.passing & versions.keys():
            thread.versions[name] = versions[name]

    _applied(patch, after)


def _joins_kept(patch: pytest.MonkeyPatch) -> None:
    def after(thread: lean_thread.Thread, _: dict[str, Any], joins: dict[str, Any]) -> None:
        for name, seen in joins.items():
            thread.joins[name] |= seen

    _applied(patch, after)


def _no_parent(patch: pytest.MonkeyPatch) -> None:
    take = lean_journal.Journal.take

    def faulty(self: lean_journal.Journal, source: str, updated: set[str] | None) -> None:
        thread = self._thread  # pyright: ignore[reportPrivateUsage]
        thread.parent = thread.parent if thread.step < 2 else None
        take(self, source, updated)

    patch.setattr(lean_journal.Journal, "take", faulty)


def _no_retry(patch: pytest.MonkeyPatch) -> None:
    def never(policy: RetryPolicy, error: Exception) -> bool:
        return False

    patch.setattr(lean_task.lg, "may_retry", never)


def _other_order(patch: pytest.MonkeyPatch) -> None:
    done = cast("Any", lean_task.Task.done).fget

    def faulty(self: lean_task.Task) -> lean_thread.Done:
        return replace(done(self), path="".join(chr(200 - ord(letter)) for letter in self.name))

    patch.setattr(lean_task.Task, "done", property(faulty))


def _unseen(patch: pytest.MonkeyPatch) -> None:
    def after(thread: lean_thread.Thread, _: dict[str, Any], __: dict[str, Any]) -> None:
        thread.seen = {name: {} for name in thread.seen}

    _applied(patch, after)


def _no_overwrite(patch: pytest.MonkeyPatch) -> None:
    folded = lean_thread.Thread._folded  # pyright: ignore[reportPrivateUsage]

    def faulty(self: lean_thread.Thread, name: str, given: list[Any]) -> Any:
        return folded(self, name, [one.value if isinstance(one, Overwrite) else one for one in given])

    patch.setattr(lean_thread.Thread, "_folded", faulty)


def _telling() -> list[int]:
    """Seeds whose graphs have all that a planted fault can touch: a join, a second turn, a retry, no question."""
    found = [seed for seed in range(0, 900, 3) if _has_all(made(seed))]
    return found[:6]


def _has_all(spec: GraphSpec) -> bool:
    wide = [start for start, _ in spec.edges if isinstance(start, tuple)]
    by_name = {node.name: node for node in spec.nodes}
    logs = any(
        sum("log" in by_name[name].fields and by_name[name].how == "dict" for name in start) > 1 for start in wide
    )
    anew = any(node.how == "overwrite" for node in spec.nodes)
    return logs and anew and any(node.fails for node in spec.nodes) and not any(n.asks or n.fatal for n in spec.nodes)


@pytest.mark.parametrize(
    "plant",
    [_reversed_reducers, _no_bump, _joins_kept, _no_parent, _no_retry, _other_order, _unseen, _no_overwrite],
    ids=lambda plant: plant.__name__.strip("_"),
)
async def test_a_planted_fault_is_noticed(
    plant: Callable[[pytest.MonkeyPatch], None], saver: tuple[Pool, GroupCommitSaver]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        found = await asyncio.gather(*(differences(*saver, seed, plant.__name__) for seed in _telling()))
    assert any(found)


# --- one runner dies, another goes on --------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """A value as it comes back from the database, where a tuple is a list."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in cast("dict[str, Any]", value).items()}
    return [_plain(one) for one in cast("list[Any]", value)] if isinstance(value, list | tuple) else value


async def killed_and_resumed(opened: GroupCommitSaver, seed: int, before: str, after: str) -> list[str]:
    """What is wrong with a thread that one runner began and another one, in another process, ended."""
    spec, whole = made(seed), World()
    stock = built(spec, whole, opened)
    wanted = await outcome(
        stock.ainvoke(dict(FIRST), config(f"whole-{seed}-{before}-{after}", spec), context=Factor(2))
    )
    if wanted[0] != "returned":  # where it ends depends on how often it was begun
        return []
    at = random.Random(seed).randrange(len(whole.calls))
    world = World(kill_at=at)
    where = config(f"killed-{seed}-{before}-{after}", spec)
    for name, given in ((before, dict(FIRST)), (after, None)):
        graph = built(spec, world, opened)
        runner = LeanRunner(graph) if name == "lean" else graph
        found = await outcome(runner.ainvoke(given, where, context=Factor(2), durability="sync"))
        if given is not None and found[1] != "Killed":
            return [f"seed {seed}: not killed at {at}, but {found}"]
    again = Counter(world.calls) - Counter(whole.calls)
    wrong = [] if _plain(found) == _plain(wanted) else [f"seed {seed} {before} {after}: {wanted}\n{found}"]
    width = max((len(start) for start, _ in spec.edges if isinstance(start, tuple)), default=1)
    return wrong + ([f"seed {seed}: {again} ran again"] if again.total() > max(width, 3) else [])


@pytest.mark.parametrize(("before", "after"), [("lean", "stock"), ("stock", "lean"), ("lean", "lean")])
async def test_after_a_kill_the_other_goes_on(before: str, after: str, saver: tuple[Pool, GroupCommitSaver]) -> None:
    seeds = [seed for seed in range(500, 560) if _can_die(made(seed))][:20]
    found = await asyncio.gather(*(killed_and_resumed(saver[1], seed, before, after) for seed in seeds))
    assert [one for some in found for one in some] == []


def _can_die(spec: GraphSpec) -> bool:
    """Whether what comes of it does not depend on how often its nodes run."""
    return spec.limit == LIMIT and not any(node.asks or node.fatal for node in spec.nodes)
