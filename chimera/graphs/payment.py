"""A payment: take -> screen -> cfo -> (review) -> sign -> reserve -> guard -> pay -> guard -> deliver, or refund."""

from collections.abc import Hashable
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from chimera.core.state import PaymentState
from chimera.graphs.review import build_review
from chimera.guards.edges import add_payment_edge, compile_guarded
from chimera.nodes.cfo import after_cfo, cfo, quorum
from chimera.nodes.pay import (
    after_receipt,
    after_reserve,
    after_sign,
    after_take,
    deliver_payment,
    refund_payment,
    refuse_payment,
    reserve_payment,
    screen_payment,
    sign_payment,
    take_payment,
)


def build_payment(**options: Any) -> "CompiledStateGraph[Any, Any, Any, Any]":
    """The payment graph. It goes on from the state of its intent, so it may be begun again at any time."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(PaymentState)
    builder.add_node("take", take_payment)
    builder.add_node("screen", screen_payment)
    builder.add_node("cfo", cfo)
    builder.add_node("quorum", quorum)
    builder.add_node("review", build_review())
    builder.add_node("sign", sign_payment)
    builder.add_node("reserve", reserve_payment)
    builder.add_node("refuse", refuse_payment)
    builder.add_node("deliver", deliver_payment)
    builder.add_node("refund", refund_payment)
    guard = add_payment_edge(builder, refused="refuse", paid="receive")
    builder.add_node("receive", take_payment)
    ways: dict[Hashable, str] = {
        "screen": "screen",
        "cfo": "cfo",
        "quorum": "quorum",
        "review": "review",
        "sign": "sign",
        "stop": END,
    }
    places: dict[Hashable, str] = {**ways, "guard_payment": guard, "deliver": "deliver", "refund": "refund"}
    builder.add_edge(START, "take")
    builder.add_conditional_edges("take", after_take, places)
    for name in ("screen", "cfo", "quorum"):
        builder.add_conditional_edges(name, after_cfo, ways)
    builder.add_edge("review", "quorum")
    builder.add_conditional_edges("sign", after_sign, {"reserve": "reserve", "stop": END})
    builder.add_conditional_edges("reserve", after_reserve, {"guard_payment": guard, "stop": END})
    builder.add_edge("refuse", END)
    builder.add_conditional_edges("receive", after_receipt, {"deliver": "deliver", "refund": "refund", "stop": END})
    builder.add_conditional_edges("deliver", after_receipt, {"deliver": END, "refund": "refund", "stop": END})
    builder.add_edge("refund", END)
    return compile_guarded(builder, name="payment", **options)
