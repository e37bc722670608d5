"""What the lean runner has to know of a compiled graph, found out once: how nodes are called, what it cannot run."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langgraph.constants import START, TAG_HIDDEN
from langgraph.graph._branch import BranchSpec
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import RetryPolicy

from chimera.fleet.lean.internals import (
    PASSTHROUGH,
    PULL,
    TASKS,
    BinaryOperatorAggregate,
    ChannelWrite,
    ChannelWriteEntry,
    ChannelWriteTupleEntry,
    EphemeralValue,
    LastValue,
    NamedBarrierValue,
    PregelNode,
    RunnableCallable,
    Topic,
    task_path_str,
)

Graph = CompiledStateGraph[Any, Any, Any, Any]
Write = tuple[str, Any]
Mapper = Callable[[Any], Sequence[Write] | None]


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the graph's author, and which of LangGraph's keywords it takes."""

    asynchronous: Callable[..., Awaitable[Any]] | None
    synchronous: Callable[..., Any] | None
    accepts: Mapping[str, tuple[str, Any]]
    fixed: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Route:
    """A conditional edge: the state it reads, the function that chooses, and LangGraph's way from there to writes."""

    spec: BranchSpec
    call: Call | None
    select: Sequence[str] | None
    mapper: Callable[[Any], Any] | None
    writer: Callable[[Sequence[Any], bool], Sequence[Any]]


@dataclass(frozen=True, slots=True)
class NodePlan:
    """How one node is run. ``outside``: why it is not run here; then it has no ``call``."""

    name: str
    proc: PregelNode
    call: Call | None
    channels: Sequence[str]
    triggers: tuple[str, ...]
    path: str
    writers: tuple[Write | Mapper | Route, ...]
    retries: Sequence[RetryPolicy]
    metadata: Mapping[str, Any]
    hidden: bool
    outside: str | None

    @property
    def chooses(self) -> bool:
        """Whether a conditional edge leads out of it."""
        return any(isinstance(writer, Route) for writer in self.writers)


class GraphPlan:
    """A compiled graph as the lean runner sees it. ``outside``: why none of its threads runs here."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.folds: dict[str, BinaryOperatorAggregate[Any]] = {}
        self.plain: dict[str, LastValue[Any]] = {}
        self.passing: dict[str, EphemeralValue[Any]] = {}
        self.joins: dict[str, frozenset[str]] = {}
        unknown = [name for name, spec in graph.channels.items() if not self._sorted(name, spec)]
        self.triggers: Mapping[str, Sequence[str]] = graph.trigger_to_nodes
        self.nodes = {name: _node(name, proc, graph) for name, proc in graph.nodes.items()}
        self.output: Sequence[str] = (
            [graph.output_channels] if isinstance(graph.output_channels, str) else graph.output_channels
        )
        self.outputs = frozenset(self.output)
        self.outside = self._why_outside(unknown)

    def _sorted(self, name: str, spec: Any) -> bool:
        kind: Any = type(spec)
        if kind is LastValue:
            self.plain[name] = spec.copy()
        elif kind is BinaryOperatorAggregate:
            self.folds[name] = spec.copy()
        elif kind is EphemeralValue and (name == START or name.startswith("branch:to:")):
            self.passing[name] = spec
        elif kind is NamedBarrierValue:
            self.joins[name] = frozenset(spec.names)
        else:
            return name == TASKS and kind is Topic
        return True

    def _why_outside(self, unknown: Sequence[str]) -> str | None:
        graph = self.graph
        if unknown:
            return f"channel {unknown[0]} is of another kind"
        if isinstance(graph.output_channels, str) or "__root__" in self.plain or "__root__" in self.folds:
            return "its state is one value"
        found = {
            "interrupt_before": graph.interrupt_before_nodes,
            "interrupt_after": graph.interrupt_after_nodes,
            "a cache": graph.cache or graph.cache_policy,
            "a step timeout": graph.step_timeout,
            "debug": graph.debug,
        }
        named = next((name for name, value in found.items() if value), None)
        return None if named is None else f"it has {named}"


def _node(name: str, proc: PregelNode, graph: Graph) -> NodePlan:
    writers, odd = _writers(proc)
    bound = proc.bound
    call = _call(bound) if name != START else None
    policies = proc.retry_policy or graph.retry_policy
    return NodePlan(
        name=name,
        proc=proc,
        call=call,
        channels=[proc.channels] if isinstance(proc.channels, str) else proc.channels,
        triggers=tuple(sorted(proc.triggers)),
        path=task_path_str((PULL, name)),
        writers=writers,
        # A RetryPolicy is a tuple itself.
        retries=[policies] if isinstance(policies, RetryPolicy) else list(policies or ()),
        metadata=proc.metadata or {},
        hidden=TAG_HIDDEN in (proc.tags or ()),
        outside=odd or _why_outside(proc, call, start=name == START),
    )


def _why_outside(proc: PregelNode, call: Call | None, *, start: bool) -> str | None:
    if proc.subgraphs:
        return "is a graph"
    if call is None and not start:
        return "is no function"
    if proc.timeout is not None:
        return "has a timeout"
    if proc.cache_policy is not None:
        return "has a cache policy"
    if proc.error_handler_node is not None or proc.is_error_handler:
        return "has to do with an error handler"
    return None


def _call(runnable: Any) -> Call | None:
    if type(runnable) is not RunnableCallable or runnable.explode_args:
        return None
    function = cast("Any", runnable)
    return Call(
        asynchronous=function.afunc if function.func is None else None,
        synchronous=function.func,
        accepts=function.func_accepts,
        fixed=function.kwargs,
    )


def _writers(proc: PregelNode) -> tuple[tuple[Write | Mapper | Route, ...], str | None]:
    """What a node writes after it has run, in order; and what of it is unknown here."""
    found: list[Write | Mapper | Route] = []
    for writer in cast("list[Any]", proc.flat_writers):
        if isinstance(writer, ChannelWrite):
            for entry in writer.writes:
                made = _entry(entry)
                if made is None:
                    return (), "writes in a way of its own"
                found.append(made)
        elif isinstance(spec := getattr(getattr(writer, "func", None), "__self__", None), BranchSpec):
            found.append(_route(spec, writer))
        else:
            return (), "writes in a way of its own"
    return tuple(found), None


def _entry(entry: Any) -> Write | Mapper | None:
    if isinstance(entry, ChannelWriteTupleEntry) and entry.value is PASSTHROUGH:
        return entry.mapper
    if isinstance(entry, ChannelWriteEntry) and entry.mapper is None and not entry.skip_none:
        return None if entry.value is PASSTHROUGH else (entry.channel, entry.value)
    return None


def _route(spec: BranchSpec, writer: Any) -> Route:
    reader = writer.kwargs["reader"]
    read: Mapping[str, Any] = {} if reader is None else reader.keywords
    return Route(spec, _call(spec.path), read.get("select"), read.get("mapper"), writer.kwargs["writer"])
