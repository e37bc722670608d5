"""The CFO's step, and the people who have to agree: each is asked by a question of its own, about the exact payment."""

from typing import Any

from langgraph.runtime import Runtime

from chimera.commerce.cfo import CfoVerdict
from chimera.commerce.deciding import Deciding
from chimera.commerce.intents import Intent, IntentState
from chimera.core.contracts import ReviewDecision, ReviewItem, ReviewPoint, Threat
from chimera.core.errors import InputError
from chimera.core.ids import derived_id
from chimera.core.state import PaymentState
from chimera.nodes.context import Context
from chimera.nodes.pay import deciding

_PURPOSE_MAX = 1_000


async def cfo(state: PaymentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Judge the risk and have the CFO's verdict."""
    return {"at": str(await deciding(runtime).verdict(state["intent_id"]))}


async def quorum(state: PaymentState, runtime: Runtime[Context]) -> dict[str, Any]:
    """See who has agreed, by the database; ask the next one, or go on."""
    desk, intent_id = deciding(runtime), state["intent_id"]
    missing = await desk.missing(intent_id)
    intent = await desk.ledger.intent(intent_id)
    if not missing:
        return {"at": str(intent.state), "review_item": {}, "review_decision": None}
    verdict = await desk.kept_verdict(intent_id)
    if verdict is None:
        return {"at": str(await desk.refuse(intent_id, by="chimera:payments", why="there is no verdict"))}
    item = await question(desk, intent, verdict, missing)
    if (said := await _answer(runtime.context, item)) is None:
        return {"at": "asking", "review_item": item.plain(), "review_decision": None}
    # It is answered, and nobody agreed by that.
    why = f"{said.action} by {said.reviewer}: {said.reason}".rstrip(": ")
    return {
        "at": str(await desk.refuse(intent_id, by=said.reviewer, why=why)),
        "review_item": {},
        "review_decision": None,
    }


async def question(desk: Deciding, intent: Intent, verdict: CfoVerdict, missing: int) -> ReviewItem:
    """What the next person is asked. Its id is that of the payment, as it is, and of how many agreed before."""
    asked, before = intent.asked, await desk.approvals.of(intent)
    asset = await desk.ledger.assets.get(asked.asset)
    payee = await desk.payees.at(asked.tenant, asked.payee, asked.chain_id)
    who = payee.name if payee else asked.payee
    return ReviewItem(
        id=derived_id("payment-review", intent.id, intent.digest.hex(), len(before)),
        mission_id=asked.mission,
        point=ReviewPoint.FINANCE,
        question=f"May {asked.agent[:100]} pay {asset.shown(asked.amount)} to {who[:100]}?",
        payload={
            "kind": "payment",
            "intent": intent.id,
            "digest": intent.digest.hex(),
            "agent": asked.agent,
            "payee": who,
            "address": asked.payee,
            "asset": asked.asset,
            "amount": {"units": asked.amount, "asset": asked.asset},
            "shown": asset.shown(asked.amount),
            "purpose": asked.purpose[:_PURPOSE_MAX],
            "category": asked.category,
            "expires_at": intent.expires_at.isoformat(),
            "counts_s": desk.policy.approval_s,
            "missing": missing,
            "agreed": [one.approver for one in before],
            "threat": Threat.NONE.value,
            "risk": verdict.risk,
            "warnings": verdict.warnings,
            "rehearsal": desk.policy.scripted,
        },
        confidence=verdict.confidence,
        reasons=verdict.reasons,
    )


async def _answer(context: Context, item: ReviewItem) -> ReviewDecision | None:
    try:
        return await context.reviews.decision(item.id)
    except InputError:  # nobody was asked yet
        return None


def after_cfo(state: PaymentState) -> str:
    """By where the database says that the payment is now."""
    return _WAYS.get(state.get("at", ""), "stop")


_WAYS = {
    str(IntentState.PROPOSED): "screen",
    str(IntentState.SCREENED): "cfo",
    str(IntentState.ESCALATED): "quorum",
    "asking": "review",
    str(IntentState.APPROVED): "sign",
}
