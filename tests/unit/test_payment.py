"""Payments are refused, and say why, until they are configured. Proves META-24, FR-37."""

from chimera.graphs.payment import build_payment


async def test_every_payment_is_refused() -> None:
    """The decision is a rejection with the reason, whatever the intent."""
    state = await build_payment().ainvoke({"intent_id": "any"})
    assert state["decision"]["action"] == "reject"
    assert state["decision"]["reasons"] == ["payments are not configured"]
    assert state["decision"]["rules"] == ["payment.not-configured"]
