"""An agent's call that has to be paid for: proposed as a payment, and taken up again when that came to an end.

Between the two is the graph of payments. What came of it is looked up by the call itself (``tools/spending.py``).
"""

from typing import Any

from langgraph.runtime import Runtime

from chimera.commerce.transactions import Requester
from chimera.core.contracts import Mission
from chimera.core.errors import ChimeraError
from chimera.core.state import AgentState, Plain
from chimera.guards.steps import is_unpaid
from chimera.nodes.briefing import name_of
from chimera.nodes.context import Context
from chimera.tools.spending import PURPOSE_MAX


async def propose(state: AgentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Propose the payment of the first call that needs one; a call whose payment cannot be meant has an answer at once.

    The payment's key is that of the call's effect, so the same call, tried again or after a crash, is one payment.
    """
    context = runtime.context
    call = next(filter(is_unpaid, state.get("calls", [])))
    mission = Mission.model_validate(state["mission"])
    # The wallet is the team's: an agent is there for one task, and money that it leaves behind would be lost with it.
    by = Requester(mission.tenant, f"team:{state['team']}", state["mission_id"], team=state["team"])
    try:
        if context.payments is None or context.payments.spending is None:
            return {"calls": _marked(state, call, refused="payments are not configured"), "intent_id": ""}
        arguments = {"purpose": state["task"]["instruction"][:PURPOSE_MAX], **call["args"]}
        intent = await context.payments.spending.propose(call["name"], arguments, by, call["key"])
    except ChimeraError as error:
        return {"calls": _marked(state, call, refused=error.message), "intent_id": ""}
    asset = await context.payments.deciding.ledger.assets.get(intent.asked.asset)
    await _tell(state, context, intent=intent.id, status="proposed", amount=asset.shown(intent.asked.amount))
    return {"intent_id": intent.id, "at": str(intent.state), "decision": None}


def after_propose(state: AgentState) -> str:
    """To the payment; or back, where there is none."""
    return "payment" if state.get("intent_id") else "paid"


async def paid(state: AgentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Mark the call whose payment was tried, however that ended: it is made now, and says what came of it."""
    if intent_id := state.get("intent_id"):
        await _tell(state, runtime.context, intent=intent_id, status=state.get("at", ""))
    done: Plain = {"intent_id": "", "at": "", "decision": None, "review_item": {}, "review_decision": None}
    waiting = next(filter(is_unpaid, state.get("calls", [])), None)
    return done if waiting is None else {**done, "calls": _marked(state, waiting)}


async def _tell(state: AgentState, context: Context, **data: str) -> None:
    await context.events.publish(
        state["mission_id"], "payment", team=state["team"], task=state["task"]["id"], by=name_of(state), **data
    )


def _marked(state: AgentState, paid_for: Plain, refused: str = "") -> list[Plain]:
    """The calls, with one of them marked as tried; ``refused``: why it cannot be paid for, which is its answer."""
    mark: Plain = {"paid": True}
    if refused:
        decision = {**paid_for["decision"], "action": "reject", "reasons": [refused], "rules": ["payment.proposed"]}
        mark["decision"] = decision
    return [{**call, **mark} if call["id"] == paid_for["id"] else call for call in state.get("calls", [])]
