"""No graph goes around the guards: the walk lets ours pass and finds every planted way to a tool.

Proves LAW-1, TR-29 and META-23.
"""

import ast
import functools
import importlib
import operator
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import pytest
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.func import entrypoint
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime
from langgraph.types import Command, Send

import chimera
import chimera.graphs
from chimera.core.errors import UnguardedEdge
from chimera.core.state import AgentState, PaymentState
from chimera.guards import steps
from chimera.guards.edges import add_payment_edge, add_tool_edge, compile_guarded, refuse_ports, unguarded_hops
from chimera.guards.effects import Effects, ToolListing
from chimera.guards.reach import reach
from chimera.nodes.judge import Judge
from chimera.nodes.planner import Planner
from chimera.nodes.worker import Worker
from chimera.tools.mesh.mesh import ToolMesh

Builder = StateGraph[Any, Any, Any, Any]
Node = Callable[..., Any]
PORT = "effects"


async def honest(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    """A node that looks at the tools and calls none."""
    await runtime.context.tools.capabilities()
    return {}


async def ask(state: AgentState) -> dict[str, Any]:
    return {}


def agent_graph(worker: Any = honest) -> Builder:
    """The guarded hop with a worker of the test's own: nothing is wrong with its edges."""
    builder: Builder = StateGraph(AgentState)
    builder.add_node("worker", worker)
    builder.add_node("review", ask)
    guard = add_tool_edge(builder, worker="worker", review="review", spend="review")
    builder.add_edge(START, "worker")
    builder.add_edge("worker", guard)
    return builder


def refusal(builder: Builder) -> str:
    with pytest.raises(UnguardedEdge) as refused:
        compile_guarded(builder, name="planted")
    assert refused.value.code == "CH501"
    return refused.value.message


# --- ours -----------------------------------------------------------------------------------------------------------


def graph_builders() -> list[Callable[..., Any]]:
    """Every ``build_*`` of every module in chimera/graphs."""
    found: list[Callable[..., Any]] = []
    for module in pkgutil.iter_modules(chimera.graphs.__path__):
        loaded = importlib.import_module(f"chimera.graphs.{module.name}")
        own = [getattr(loaded, name) for name in vars(loaded) if name.startswith("build_")]
        made_here = [build for build in own if build.__module__ == loaded.__name__]
        assert made_here, f"chimera/graphs/{module.name}.py builds no graph that this test knows"
        found += made_here
    return found


@pytest.mark.parametrize("build", graph_builders(), ids=lambda build: build.__name__)
def test_our_graphs_pass_the_walk(build: Callable[..., Any]) -> None:
    graph = build()
    assert list(unguarded_hops(graph)) == []


def test_nothing_of_ours_compiles_a_graph_in_another_way() -> None:
    """A graph that is compiled directly, or is no StateGraph, would escape the walk."""
    root = Path(chimera.__file__).parent
    found: list[str] = []
    for path in root.rglob("*.py"):
        source = path.read_text("utf-8")
        if "compile" not in source and "langgraph" not in source:
            continue  # neither can be in there, and parsing the whole package takes seconds
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "compile":
                owner = node.func.value
                if not (isinstance(owner, ast.Name) and owner.id in ("re", "regex", "yara")):
                    found.append(str(path.relative_to(root)))
            if isinstance(node, ast.ImportFrom) and node.module in ("langgraph.func", "langgraph.prebuilt"):
                found.append(str(path.relative_to(root)))
    assert found == ["guards/edges.py"]


@pytest.mark.parametrize("role", [Planner(), Worker(), Judge()], ids=lambda role: type(role).__name__)
def test_the_parts_that_nodes_are_given_do_not_reach_tools(role: Any) -> None:
    refuse_ports(role)


def test_a_worker_of_a_user_that_calls_tools_itself_is_refused() -> None:
    class Eager(Worker):
        async def turn(self, state: AgentState, tools: Any, context: Any) -> Any:
            return await context.effects.perform(state)

    with pytest.raises(UnguardedEdge, match="Eager"):
        refuse_ports(Worker(), Eager())


def test_nodes_see_a_listing_that_cannot_call() -> None:
    listing = ToolListing(ToolMesh([], chimera_settings()))
    assert not hasattr(listing, "call")
    assert {name for name in dir(listing) if name[0] != "_"} == {"capabilities", "finder", "named", "suggested"}


def chimera_settings() -> Any:
    from chimera.core.settings import Settings

    return Settings.model_validate({})


# --- payments -------------------------------------------------------------------------------------------------------


def payment_graph(settled: Any = ask) -> Builder:
    """The guarded payment hop, with steps of the test's own around it."""
    builder: Builder = StateGraph(PaymentState)
    for name in ("begin", "refuse", "settled"):
        builder.add_node(name, settled if name == "settled" else ask)
    builder.add_edge(START, "begin")
    builder.add_edge("begin", add_payment_edge(builder, refused="refuse", paid="settled"))
    return builder


def test_the_guarded_payment_passes() -> None:
    """Proves FR-653."""
    assert list(unguarded_hops(compile_guarded(payment_graph()))) == []


@pytest.mark.threat(26)
def test_a_way_to_a_payer_around_the_guard_is_found() -> None:
    """Proves FR-653. Threat 26: an edge past the guard, one past the receipt, a step that pays by itself."""
    past = payment_graph()
    past.add_edge("begin", "pay")
    assert "begin -> pay has no payment guard" in refusal(past)
    unseen = payment_graph()
    unseen.add_edge("pay", "settled")
    assert "pay -> settled has no receipt guard" in refusal(unseen)

    async def eager(state: PaymentState, runtime: Runtime[Any]) -> dict[str, Any]:
        return {"at": await runtime.context.payments.payer.pay(state["intent_id"])}

    assert "reaches tools by itself (payer)" in refusal(payment_graph(eager))
    fake: Builder = StateGraph(PaymentState)
    fake.add_node("guard_payment", ask, metadata={"guard": "payment"})
    fake.add_edge(START, "guard_payment")
    assert "runs a step of its own" in refusal(fake)


# --- edges ----------------------------------------------------------------------------------------------------------


def test_the_guarded_hop_passes() -> None:
    assert compile_guarded(agent_graph()).name == "LangGraph"


def test_an_edge_around_the_guard_before_is_found() -> None:
    builder = agent_graph()
    builder.add_edge("worker", "tool")
    assert "worker -> tool has no tool_call guard" in refusal(builder)


def test_an_edge_around_the_guard_after_is_found() -> None:
    builder = agent_graph()
    builder.add_edge("tool", "worker")
    assert "tool -> worker has no tool_result guard" in refusal(builder)


def test_a_start_at_the_effect_is_found() -> None:
    builder = agent_graph()
    builder.add_edge(START, "tool")
    assert "__start__ -> tool" in refusal(builder)


def test_a_conditional_edge_around_the_guard_is_found() -> None:
    def choose(state: AgentState) -> str:
        return "conclude" if state.get("calls") else "guard_call"

    builder = agent_graph()
    builder.add_node("other", ask)
    builder.add_conditional_edges("other", choose, {"conclude": "tool", "guard_call": "guard_call"})
    assert "other -> tool has no tool_call guard" in refusal(builder)


def test_a_condition_that_does_not_say_where_it_leads_is_found() -> None:
    def choose(state: AgentState) -> str:
        return state["team"]

    builder = agent_graph()
    builder.add_node("other", ask)
    builder.add_conditional_edges("other", choose)
    assert "other -> tool has no tool_call guard" in refusal(builder)


def test_an_edge_that_waits_for_several_nodes_is_found() -> None:
    builder = agent_graph()
    builder.add_node("other", ask)
    builder.add_edge(["guard_call", "other"], "tool")
    assert "other -> tool has no tool_call guard" in refusal(builder)


def test_an_effect_with_no_guards_at_all_is_found() -> None:
    builder: Builder = StateGraph(AgentState)
    builder.add_node("worker", honest)
    builder.add_node("tool", steps.call_tools, metadata={"effect": "tool"})
    builder.add_edge(START, "worker")
    assert "tool has no tool_call guard" in refusal(builder)


def test_an_effect_that_ends_the_graph_without_its_guard_is_found() -> None:
    builder: Builder = StateGraph(AgentState)
    builder.add_node("guard_call", steps.guard_call, metadata={"guard": "tool_call"})
    builder.add_node("tool", steps.call_tools, metadata={"effect": "tool"})
    builder.add_edge(START, "guard_call")
    builder.add_edge("guard_call", "tool")
    builder.add_edge("tool", END)
    assert "tool -> __end__ has no tool_result guard" in refusal(builder)


def test_a_node_that_only_calls_itself_a_guard_is_found() -> None:
    async def nods(state: AgentState) -> dict[str, Any]:
        return {"calls": [{**call, "decision": {"action": "allow"}} for call in state.get("calls", [])]}

    builder: Builder = StateGraph(AgentState)
    builder.add_node("nods", nods, metadata={"guard": "tool_call"})
    builder.add_node("tool", steps.call_tools, metadata={"effect": "tool"})
    builder.add_node("guard_result", steps.guard_result, metadata={"guard": "tool_result"})
    builder.add_edge(START, "nods")
    builder.add_edge("nods", "tool")
    builder.add_edge("tool", "guard_result")
    assert "nods calls itself the guard tool_call and runs a step of its own" in refusal(builder)


def test_an_effect_with_a_step_of_its_own_is_found() -> None:
    async def acts(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
        return await runtime.context.effects.perform(state)

    builder: Builder = StateGraph(AgentState)
    builder.add_node("guard_call", steps.guard_call, metadata={"guard": "tool_call"})
    builder.add_node("acts", acts, metadata={"effect": "tool"})
    builder.add_node("guard_result", steps.guard_result, metadata={"guard": "tool_result"})
    builder.add_edge(START, "guard_call")
    builder.add_edge("guard_call", "acts")
    builder.add_edge("acts", "guard_result")
    assert "acts calls itself the effect tool" in refusal(builder)


def test_an_effect_of_an_unknown_kind_is_found() -> None:
    builder: Builder = StateGraph(AgentState)
    builder.add_node("fax", ask, metadata={"effect": "fax"})
    builder.add_edge(START, "fax")
    assert "fax is an effect that no guards are known for" in refusal(builder)


# --- jumps ----------------------------------------------------------------------------------------------------------


def test_a_jump_that_is_declared_is_found() -> None:
    async def jumps(state: AgentState) -> Command[Literal["tool"]]:
        return Command(goto="tool")

    assert "worker -> tool has no tool_call guard" in refusal(agent_graph(jumps))


def test_a_jump_that_is_not_declared_is_found() -> None:
    async def jumps(state: AgentState) -> Any:
        return Command(update={"calls": []}, goto="tool")

    assert "worker -> tool is a jump around the guards" in refusal(agent_graph(jumps))


def test_a_send_out_of_a_condition_is_found() -> None:
    """A Send is not bound by the ends that a condition declares."""

    def choose(state: AgentState) -> Any:
        return [Send("tool", state)]

    builder = agent_graph()
    builder.add_node("other", ask)
    builder.add_conditional_edges("other", choose, ["review"])
    assert "the way out of other -> tool is a jump around the guards" in refusal(builder)


def test_a_jump_out_of_a_subgraph_is_found() -> None:
    async def jumps(state: AgentState) -> Any:
        return Command(graph=Command.PARENT, goto="tool")

    inner: Builder = StateGraph(AgentState)
    inner.add_node("inside", jumps)
    inner.add_edge(START, "inside")
    assert "worker/inside -> tool is a jump around the guards" in refusal(agent_graph(inner.compile()))


def test_a_node_that_is_reached_by_a_jump_only_is_looked_at() -> None:
    async def jumps(state: AgentState) -> Command[Literal["aside"]]:
        return Command(goto="aside")

    async def aside(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
        return await runtime.context.effects.perform(state)

    builder = agent_graph(jumps)
    builder.add_node("aside", aside)
    assert "aside reaches tools by itself (effects)" in refusal(builder)


# --- nodes that reach for the tools themselves ----------------------------------------------------------------------


async def helper(runtime: Any, state: Any) -> Any:
    return await runtime.context.effects.perform(state)


def picker(runtime: Any) -> Any:
    return getattr(runtime.context, "effects")  # noqa: B009 - the very thing to find


def decorated(function: Node) -> Node:
    @functools.wraps(function)
    async def around(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
        await runtime.context.effects.perform(state)
        return await function(state)

    return around


class Callable_:  # noqa: N801
    def __init__(self, inner: Any = None) -> None:
        self.inner = inner

    async def __call__(self, state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
        return await self.act(runtime, state)

    async def act(self, runtime: Any, state: Any) -> Any:
        return await runtime.context.effects.perform(state)


class Holder:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
        return await self.inner(state, runtime)


class Slotted:
    __slots__ = ("inner",)

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
        return await self.inner(state, runtime)


async def direct(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    return await runtime.context.effects.perform(state)


async def through_helper(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    return await helper(runtime, state)


async def through_getattr(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    return await picker(runtime).perform(state)


async def through_a_name(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    return await getattr(runtime.context, PORT).perform(state)


async def through_a_default(state: AgentState, runtime: Runtime[Any], port: str = "effects") -> dict[str, Any]:
    return await getattr(runtime.context, port).perform(state)


async def through_attrgetter(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    return await operator.attrgetter("context.effects", "effects")(runtime)[1].perform(state)


async def through_vars(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    return await vars(runtime.context)["effects"].perform(state)


async def through_a_pattern(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    match runtime.context:
        case object(effects=port):
            return await port.perform(state)
        case _:
            return {}


async def through_a_loop(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    return {name: getattr(runtime.context, name) for name in ("tools", "effects")}


async def through_an_inner_function(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    async def inner() -> Any:
        return [await found.perform(state) for found in (lambda: [runtime.context.effects])()]

    return await inner()


async def calls_the_port(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    return await runtime.context.tools.call("shop__buy", {}, scope="", idempotency_key="")


async def calls_the_port_in_two_steps(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    return await call_it(runtime.context.tools)


async def call_it(port: Any) -> Any:
    return await port.call("shop__buy", {}, scope="", idempotency_key="")


async def opens_a_mesh(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    async with ToolMesh([], runtime.context.settings) as mesh:
        return {"raw": await mesh.capabilities()}


async def imports_a_mesh(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    from chimera.tools.mesh import mesh

    return {"raw": [mesh.ToolMesh]}


async def calls_a_session(state: AgentState, runtime: Runtime[Any], session: Any = None) -> dict[str, Any]:
    return await session.call_tool("buy", {})


def closes_over_the_port() -> Node:
    port = ToolMesh([], chimera_settings())

    async def node(state: AgentState) -> dict[str, Any]:
        return {"raw": [await port.capabilities()]}

    return node


def closes_over_a_function() -> Node:
    inner = helper

    async def node(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
        return await inner(runtime, state)

    return node


in_a_lambda: Node = lambda *given: given[1].context.effects.perform(given[0])  # noqa: E731 - the very thing to find


def runnable(function: Any) -> Any:
    return RunnableLambda(function)


@tool
def buy(item: str) -> str:
    """Buy something."""
    return item


PLANTED: dict[str, Any] = {
    "direct": direct,
    "helper": through_helper,
    "getattr": through_getattr,
    "global name": through_a_name,
    "default": through_a_default,
    "attrgetter": through_attrgetter,
    "vars": through_vars,
    "pattern": through_a_pattern,
    "loop": through_a_loop,
    "inner function and lambda": through_an_inner_function,
    "lambda": in_a_lambda,
    "partial": functools.partial(through_a_default, port=PORT),
    "partial of partial": functools.partial(functools.partial(direct)),
    "partial with the port as argument": functools.partial(through_a_default, port="effects"),
    "decorated": decorated(ask),
    "callable object": Callable_(),
    "bound method": Callable_().__call__,
    "object that holds one": Holder(through_helper),
    "slots": Slotted(Holder(direct)),
    "runnable": runnable(direct),
    "sequence": runnable(ask) | runnable(through_helper),
    "tools.call": calls_the_port,
    "tools and call apart": calls_the_port_in_two_steps,
    "mesh": opens_a_mesh,
    "imported mesh": imports_a_mesh,
    "session": calls_a_session,
    "port in a closure": closes_over_the_port(),
    "function in a closure": closes_over_a_function(),
    "LangGraph's tool node": ToolNode([buy]),
    "tool in a closure": functools.partial(cast("Any", ask), buy),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_node_that_reaches_tools_by_itself_is_found(kind: str) -> None:
    assert "worker reaches tools by itself" in refusal(agent_graph(PLANTED[kind]))


@pytest.mark.parametrize("kind", ["direct", "helper", "lambda", "tools.call"])
def test_a_node_inside_a_subgraph_is_found(kind: str) -> None:
    inner: Builder = StateGraph(AgentState)
    inner.add_node("inside", PLANTED[kind])
    inner.add_edge(START, "inside")
    middle: Builder = StateGraph(AgentState)
    middle.add_node("middle", inner.compile())
    middle.add_edge(START, "middle")
    assert "worker/middle/inside reaches tools by itself" in refusal(agent_graph(middle.compile()))


def test_a_graph_that_a_node_runs_is_walked() -> None:
    inner: Builder = StateGraph(AgentState)
    inner.add_node("inside", direct)
    inner.add_edge(START, "inside")
    graph = inner.compile()

    async def runs(state: AgentState) -> Any:
        return await graph.ainvoke(state)

    assert "worker/inside reaches tools by itself" in refusal(agent_graph(runs))


def test_a_graph_that_cannot_be_walked_is_refused() -> None:
    @entrypoint()
    async def flow(state: dict[str, Any]) -> dict[str, Any]:
        return state

    assert "worker runs a graph that cannot be walked" in refusal(agent_graph(flow))


def test_a_condition_that_reaches_tools_is_found() -> None:
    def choose(state: AgentState, runtime: Runtime[Any]) -> str:
        runtime.context.effects.perform(state)
        return "review"

    builder = agent_graph()
    builder.add_node("other", ask)
    builder.add_conditional_edges("other", choose, ["review"])
    assert "the way out of other reaches tools by itself (effects)" in refusal(builder)


def test_a_handler_of_errors_that_reaches_tools_is_found() -> None:
    builder = agent_graph()
    builder.add_node("other", ask, error_handler=direct)
    builder.add_edge("other", END)
    assert "__error_handler__other reaches tools by itself" in refusal(builder)


def test_what_only_sounds_like_it_passes() -> None:
    """A word in a text or a tool list that is looked at is no way to a tool."""

    async def talks(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Side effects are discussed here."""
        tools = await runtime.context.tools.capabilities()
        return {"observations": [{"text": f"the effects of {len(tools)} tools"}]}

    compile_guarded(agent_graph(talks))


def test_the_walk_does_not_enter_libraries() -> None:
    """What a library says is nothing of ours; entering it would find words by chance and take long."""
    found = reach(ast.parse, functools.partial(ToolNode, []), pytest.raises)
    assert found.ports() == []


def test_effects_are_known_by_their_class() -> None:
    async def makes(state: AgentState) -> Any:
        return Effects

    assert "Effects" in refusal(agent_graph(makes))


def test_what_langgraph_wraps_a_plain_function_in_is_not_followed() -> None:
    def plain(state: AgentState) -> dict[str, Any]:
        return {"said": state["mission_id"]}

    async def awaited(state: AgentState) -> dict[str, Any]:
        return {"said": state["mission_id"]}

    wrapped, other = (StateGraph(AgentState).add_node("n", node).nodes["n"].runnable for node in (plain, awaited))
    assert "run_in_executor" not in reach(wrapped).names
    assert reach(wrapped).names - {"plain"} == reach(other).names - {"awaited"}
