"""The one builder of guarded edges, and the check that no graph goes around it.

    worker -> guard_call -> (review ->) tool -> guard_result -> worker

A node that acts carries the metadata ``effect``, a guard carries ``guard``. :func:`compile_guarded` is how every graph
of ours is compiled: it walks the graph and refuses one in which an effect can be entered or left without its guards,
or in which a node reaches for the effects of the runtime context on its own.
"""

import inspect
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any, cast

from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph

from chimera.core.errors import UnguardedEdge
from chimera.core.state import AgentState
from chimera.guards import steps

EFFECT_PORT = "effects"
"""The attribute of the runtime context through which things are done; only the effect nodes built here may touch it."""

_GUARDS_OF = {"tool": ("tool_call", "tool_result"), "payment": ("payment", "payment_result")}


def add_tool_edge(builder: "StateGraph[Any, Any, Any, Any]", *, worker: str, review: str) -> str:
    """Add the guarded tool hop to an agent graph and return the node to enter it by.

    ``worker`` gets the results; ``review`` is the node that puts ``review_item`` to a human.
    """
    builder.add_node("guard_call", steps.guard_call, metadata={"guard": "tool_call"})
    builder.add_node("tool", steps.call_tools, metadata={"effect": "tool"})
    builder.add_node("guard_result", steps.guard_result, metadata={"guard": "tool_result"})

    def after_guard(state: AgentState) -> str:
        decisions = [call["decision"]["action"] for call in state.get("calls", [])]
        return review if "escalate" in decisions else "tool"

    builder.add_conditional_edges("guard_call", after_guard, [review, "tool"])
    builder.add_edge(review, "guard_call")
    builder.add_edge("tool", "guard_result")
    builder.add_edge("guard_result", worker)
    return "guard_call"


def compile_guarded(
    builder: "StateGraph[Any, Any, Any, Any]", **options: Any
) -> "CompiledStateGraph[Any, Any, Any, Any]":
    """Compile a graph, unless it has a hop around the guards.

    Raises:
        UnguardedEdge: names every such hop.
    """
    graph = builder.compile(**options)
    found = list(unguarded_hops(graph))
    if found:
        raise UnguardedEdge(f"graph {graph.name}: {'; '.join(found)}")
    return graph


def unguarded_hops(graph: "CompiledStateGraph[Any, Any, Any, Any]") -> Iterator[str]:
    """Every hop of a compiled graph, its subgraphs included, that reaches an effect without its guards."""
    metadata = {name: dict(spec.metadata or {}) for name, spec in graph.builder.nodes.items()}
    hops = [(edge.source, edge.target) for edge in graph.get_graph().edges]
    for name, meta in metadata.items():
        effect = meta.get("effect")
        if effect is None:
            if _touches_effects(graph, name):
                yield f"{name} uses {EFFECT_PORT} and is no effect node"
            continue
        before, after = _GUARDS_OF.get(effect, ("", ""))
        for source, target in hops:
            if target == name and metadata.get(source, {}).get("guard") != before:
                yield f"{source} -> {name} has no {before or 'known'} guard"
            if source == name and metadata.get(target, {}).get("guard") != after:
                yield f"{name} -> {target} has no {after or 'known'} guard"
    for name, subgraph in graph.get_subgraphs():
        if isinstance(subgraph, CompiledStateGraph):
            inner = cast("CompiledStateGraph[Any, Any, Any, Any]", subgraph)
            yield from (f"{name}/{hop}" for hop in unguarded_hops(inner))


def _touches_effects(graph: "CompiledStateGraph[Any, Any, Any, Any]", name: str) -> bool:
    runnable = graph.builder.nodes[name].runnable
    functions = [getattr(runnable, "func", None), getattr(runnable, "afunc", None)]
    seen: set[CodeType] = set()
    return any(_reaches(_plain(function), seen) for function in functions if function is not None)


def _plain(function: Any) -> Any:
    function = inspect.unwrap(function)
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    return getattr(function, "__func__", function if isinstance(function, FunctionType) else type(function).__call__)


def _reaches(function: Callable[..., Any], seen: set[CodeType]) -> bool:
    """Whether a function's code, or any function of this package that it names, mentions the effect port."""
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType) or code in seen:
        return False
    known = cast("dict[str, Any]", getattr(function, "__globals__", {}))
    return any(_mentions(part, known, seen) for part in _nested(code))


def _mentions(code: CodeType, known: dict[str, Any], seen: set[CodeType]) -> bool:
    seen.add(code)
    if EFFECT_PORT in code.co_names or EFFECT_PORT in code.co_consts:
        return True
    named = (known.get(name) for name in code.co_names)
    return any(
        _reaches(found, seen)
        for found in named
        if isinstance(found, FunctionType) and found.__module__.startswith("chimera.")
    )


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)
