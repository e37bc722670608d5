"""Paying: refused until payments are configured; no money can move by accident."""

from typing import Any

from chimera.core.contracts import Decision, Threat
from chimera.core.state import PaymentState


async def refuse_payment(state: PaymentState) -> dict[str, Any]:
    """Reject the intent."""
    decision = Decision(
        action="reject", threat=Threat.NONE, reasons=["payments are not configured"], rules=["payment.not-configured"]
    )
    return {"decision": decision.plain()}
