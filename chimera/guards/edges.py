"""The one builder of guarded edges, and the check that no graph goes around it.

    worker -> guard_call -> (review, or payment ->) tool -> guard_result -> worker

A node that acts carries the metadata ``effect``, a guard carries ``guard``; at a tool hop they run the steps of this
package and no others. :func:`compile_guarded` is how every graph of ours is compiled: it walks the graph and refuses
one in which an effect can be entered or left without its guards, or in which a node finds a way to tools on its own.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from langgraph.graph import END, StateGraph
from langgraph.graph.state import CompiledStateGraph

from chimera.core.errors import UnguardedEdge
from chimera.core.state import AgentState, PaymentState
from chimera.guards import payment, steps
from chimera.guards.reach import Reach, reach

_GUARDS_OF = {"tool": ("tool_call", "tool_result"), "payment": ("payment", "receipt")}
_STEP_OF = {
    ("effect", "tool"): steps.call_tools,
    ("guard", "tool_call"): steps.guard_call,
    ("guard", "tool_result"): steps.guard_result,
    ("effect", "payment"): payment.make_payment,
    ("guard", "payment"): payment.guard_payment,
    ("guard", "receipt"): payment.guard_receipt,
}
_JUMPS = frozenset({"Command", "Send"})


def add_tool_edge(builder: "StateGraph[Any, Any, Any, Any]", *, worker: str, review: str, spend: str) -> str:
    """Add the guarded tool hop to an agent graph and return the node to enter it by.

    ``worker`` gets the results; ``review`` is the node that puts ``review_item`` to a human; ``spend`` is where an
    allowed call goes that has to be paid for, before it is made. It has to come back to the node that is returned.
    """
    builder.add_node("guard_call", steps.guard_call, metadata={"guard": "tool_call"})
    builder.add_node("tool", steps.call_tools, metadata={"effect": "tool"})
    builder.add_node("guard_result", steps.guard_result, metadata={"guard": "tool_result"})

    def after_guard(state: AgentState) -> str:
        decisions = [call["decision"]["action"] for call in state.get("calls", [])]
        if "escalate" in decisions:
            return review
        return spend if any(map(steps.is_unpaid, state.get("calls", []))) else "tool"

    builder.add_conditional_edges("guard_call", after_guard, [review, spend, "tool"])
    builder.add_edge(review, "guard_call")
    builder.add_edge("tool", "guard_result")
    builder.add_edge("guard_result", worker)
    return "guard_call"


def add_payment_edge(builder: "StateGraph[Any, Any, Any, Any]", *, refused: str, paid: str) -> str:
    """Add the guarded payment hop to a graph and return the node to enter it by.

    ``refused`` is where a payment goes that no guard allows, ``paid`` where it goes once it was tried.
    """
    builder.add_node("guard_payment", payment.guard_payment, metadata={"guard": "payment"})
    builder.add_node("pay", payment.make_payment, metadata={"effect": "payment"})
    builder.add_node("guard_receipt", payment.guard_receipt, metadata={"guard": "receipt"})

    def after_guard(state: PaymentState) -> str:
        return "pay" if (state.get("decision") or {}).get("action") == "allow" else refused

    builder.add_conditional_edges("guard_payment", after_guard, ["pay", refused])
    builder.add_edge("pay", "guard_receipt")
    builder.add_edge("guard_receipt", paid)
    return "guard_payment"


def compile_guarded(
    builder: "StateGraph[Any, Any, Any, Any]", **options: Any
) -> "CompiledStateGraph[Any, Any, Any, Any]":
    """Compile a graph, unless it has a hop around the guards.

    Raises:
        UnguardedEdge: names every such hop.
    """
    graph = builder.compile(**options)
    found = list(dict.fromkeys(unguarded_hops(graph)))
    if found:
        raise UnguardedEdge(f"graph {graph.name}: {'; '.join(found)}")
    return graph


def refuse_ports(*parts: Any) -> None:
    """Let pass what cannot reach tools on its own: parts that nodes are given, such as a user's own worker.

    Raises:
        UnguardedEdge: names the part and its way.
    """
    for part in parts:
        ports = reach(part).ports()
        if ports:
            raise UnguardedEdge(f"{type(part).__name__} reaches tools by itself ({', '.join(ports)})")


def unguarded_hops(
    graph: "CompiledStateGraph[Any, Any, Any, Any]", outer: frozenset[str] = frozenset()
) -> Iterator[str]:
    """Every hop of a compiled graph, its subgraphs included, that reaches an effect without its guards.

    ``outer``: the effect nodes of the graphs around it, to which its nodes could jump.
    """
    builder = graph.builder
    metadata: dict[str, dict[str, Any]] = {name: dict(spec.metadata or {}) for name, spec in builder.nodes.items()}
    effects = {name: str(meta["effect"]) for name, meta in metadata.items() if "effect" in meta}
    hops = set(_hops(builder))
    for name, effect in effects.items():
        yield from _unguarded_effect(name, effect, hops, metadata)
    for name, spec in builder.nodes.items():
        if kind := next((key for key in metadata[name].items() if key in _STEP_OF), None):
            if _function(spec.runnable) is not _STEP_OF[kind]:
                yield f"{name} calls itself the {kind[0]} {kind[1]} and runs a step of its own"
            continue
        found = reach(spec.runnable)
        yield from _ways(name, found, {*effects, *outer}, metadata)
        for inner in found.graphs:
            if isinstance(inner, CompiledStateGraph):
                subgraph = cast("CompiledStateGraph[Any, Any, Any, Any]", inner)
                yield from (f"{name}/{hop}" for hop in unguarded_hops(subgraph, outer | effects.keys()))
            else:
                yield f"{name} runs a graph that cannot be walked"
    for source, branches in builder.branches.items():
        for branch in branches.values():
            yield from _ways(f"the way out of {source}", reach(branch.path), {*effects, *outer}, metadata)


def _ways(name: str, found: Reach, effects: set[str], metadata: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong with the code of one node or path: it calls tools, or it jumps to a node that does."""
    if "effect" in metadata.get(name, {}):
        yield f"{name} is an effect that no guards are known for"
    if ports := found.ports():
        yield f"{name} reaches tools by itself ({', '.join(ports)})"
    if found.names & _JUMPS:
        yield from (f"{name} -> {effect} is a jump around the guards" for effect in sorted(effects & found.names))


def _unguarded_effect(
    name: str, effect: str, hops: set[tuple[str, str]], metadata: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    before, after = _GUARDS_OF.get(effect, ("known", "known"))
    into = [source for source, target in hops if target == name]
    out = [target for source, target in hops if source == name]
    yield from (
        f"{source} -> {name} has no {before} guard"
        for source in sorted(into)
        if metadata.get(source, {}).get("guard") != before
    )
    yield from (
        f"{name} -> {target} has no {after} guard"
        for target in sorted(out)
        if metadata.get(target, {}).get("guard") != after
    )
    if not into or not out:
        yield f"{name} has no {after if into else before} guard"


def _hops(builder: "StateGraph[Any, Any, Any, Any]") -> Iterator[tuple[str, str]]:
    """Every hop that the graph declares; a condition without declared ends may lead anywhere."""
    yield from builder.edges
    yield from ((start, end) for starts, end in builder.waiting_edges for start in starts)
    for source, branches in builder.branches.items():
        for branch in branches.values():
            ends = branch.ends.values() if branch.ends is not None else [*builder.nodes, END]
            yield from ((source, end) for end in ends)
    for name, spec in builder.nodes.items():
        yield from ((name, end) for end in spec.ends or ())
        if spec.error_handler_node:
            yield name, spec.error_handler_node


def _function(runnable: Any) -> Any:
    """The one function behind a node that was added as a coroutine function; None for anything else."""
    return getattr(runnable, "afunc", None) if getattr(runnable, "func", None) is None else None
