"""The steps of a payment around its guarded hop. Each goes on from where the database says that the payment is.

Where payments are not configured, every one is refused at the first step: no money can move by accident.
"""

import asyncio
from typing import Any

from langgraph.runtime import Runtime

from chimera.commerce.deciding import BY, DELIVERY_S, Deciding, Payments
from chimera.commerce.intents import IN_FLIGHT, Intent, IntentState
from chimera.core.contracts import ReviewItem, ReviewPoint, Threat
from chimera.core.errors import ChimeraError, PaymentRefused
from chimera.core.ids import derived_id
from chimera.core.state import PaymentState
from chimera.guards.payment import NOT_CONFIGURED
from chimera.nodes.context import Context
from chimera.store.audit import AuditEvent

_S = IntentState


def deciding(runtime: Runtime[Context]) -> Deciding:
    """What decides about payments here.

    Raises:
        PaymentRefused: nothing does.
    """
    if (payments := _payments(runtime)) is None:
        raise PaymentRefused("payments are not configured", remedy="Give Chimera a policy of payments and a wallet.")
    return payments.deciding


async def take_payment(state: PaymentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """See where a payment is, and go on from there; or refuse it where nothing can decide about it."""
    payments = _payments(runtime)
    if payments is None or not (payments.configured or state.get("decide_only")):
        return {"decision": NOT_CONFIGURED.plain(), "at": ""}
    intent = await payments.deciding.ledger.intent(state["intent_id"])
    return {"at": str(intent.state), "decision": None}


async def screen_payment(state: PaymentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Hold it against rules and lists."""
    return {"at": str(await deciding(runtime).screen(state["intent_id"]))}


async def sign_payment(state: PaymentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Have the CFO's key sign it."""
    return {"at": str(await deciding(runtime).sign(state["intent_id"]))}


async def reserve_payment(state: PaymentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Reserve it in its budgets."""
    return {"at": str(await deciding(runtime).reserve(state["intent_id"]))}


async def refuse_payment(state: PaymentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """End a payment that a guard stopped, and give back what is held; one that may be on its way stays as it is."""
    payments, decision = _payments(runtime), state.get("decision") or {}
    if payments is None or not payments.configured:
        return {"at": ""}
    why = "; ".join(map(str, decision.get("reasons", []))) or "no guard allowed it"
    return {"at": str(await payments.deciding.refuse(state["intent_id"], by="guard:payment", why=why))}


async def deliver_payment(state: PaymentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Get what was paid for. When it does not come, that is on the record, and somebody has to see to it."""
    desk, payments = deciding(runtime), _payments(runtime)
    intent = await desk.ledger.intent(state["intent_id"])
    if intent.state is not _S.CAPTURED or payments is None:
        return {"at": str(intent.state)}
    came, why = True, ""
    if payments.delivery is not None:
        try:
            async with asyncio.timeout(DELIVERY_S):
                came = await payments.delivery.deliver(intent)
        except (ChimeraError, TimeoutError, OSError) as error:
            came, why = False, error.message if isinstance(error, ChimeraError) else type(error).__name__
    to = _S.DELIVERED if came else _S.PAID_UNDELIVERED
    await desk.ledger.move(intent.id, to, _S.CAPTURED, by=BY, why=why)
    if not came:
        data = {"intent": intent.id, "digest": intent.digest.hex(), "payee": intent.asked.payee, "reason": why}
        await runtime.context.audit.append(
            AuditEvent(
                kind="money.undelivered",
                actor=BY,
                mission_id=intent.mission_id,
                tenant=intent.asked.tenant,
                data=data,
            )
        )
    return {"at": str(to)}


async def refund_payment(state: PaymentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Ask for the money back; what does not come back is put before a human."""
    desk, payments = deciding(runtime), _payments(runtime)
    intent = await desk.ledger.intent(state["intent_id"])
    if intent.state is not _S.PAID_UNDELIVERED or payments is None:
        return {"at": str(intent.state)}
    back = None
    if payments.refunds is not None:
        try:
            async with asyncio.timeout(DELIVERY_S):
                back = await payments.refunds.refund(intent)
        except (ChimeraError, TimeoutError, OSError):
            back = None
    if back is not None:
        units, key = back
        await desk.ledger.refund(intent.id, units, key, by=BY, why="not delivered")
    else:
        await runtime.context.reviews.open(_dispute(intent))
    return {"at": str((await desk.ledger.intent(intent.id)).state)}


def after_take(state: PaymentState) -> str:
    """Where a payment goes on, by where the database says that it is."""
    at = state.get("at", "")
    way = "guard_payment" if at in _ON_THE_WAY else _WAYS.get(at, "stop")
    return "stop" if way in ("guard_payment", "deliver", "refund") and state.get("decide_only") else way


def after_sign(state: PaymentState) -> str:
    """On to the money; or the end, where only a decision was asked for."""
    return "reserve" if state.get("at") == str(_S.APPROVED) and not state.get("decide_only") else "stop"


def after_reserve(state: PaymentState) -> str:
    """To the guard, once it is reserved."""
    return "guard_payment" if state.get("at") == str(_S.RESERVED) else "stop"


def after_receipt(state: PaymentState) -> str:
    """To the goods, if it is paid; what is still on its way is taken up again later."""
    return {str(_S.CAPTURED): "deliver", str(_S.PAID_UNDELIVERED): "refund"}.get(state.get("at", ""), "stop")


_ON_THE_WAY = frozenset(map(str, IN_FLIGHT))
_WAYS = {
    str(_S.PROPOSED): "screen",
    str(_S.SCREENED): "cfo",
    str(_S.ESCALATED): "quorum",
    str(_S.APPROVED): "sign",
    str(_S.RESERVED): "guard_payment",
    str(_S.CAPTURED): "deliver",
    str(_S.PAID_UNDELIVERED): "refund",
}


def _dispute(intent: Intent) -> ReviewItem:
    asked = intent.asked
    return ReviewItem(
        id=derived_id("payment-dispute", intent.id),
        mission_id=asked.mission,
        point=ReviewPoint.FINANCE,
        question=f"{asked.payee[:100]} was paid by {asked.agent[:100]} and did not deliver. Has it been seen to?",
        payload={
            "kind": "undelivered",
            "blocking": False,
            "intent": intent.id,
            "digest": intent.digest.hex(),
            "payee": asked.payee,
            "purpose": asked.purpose[:1_000],
            "threat": Threat.NONE.value,
        },
        confidence=0.0,
        reasons=["the money went, and what it was for did not come"],
    )


def _payments(runtime: Runtime[Context]) -> Payments | None:
    # A graph that is run with no services at all pays nothing either.
    return getattr(runtime.context, "payments", None)
