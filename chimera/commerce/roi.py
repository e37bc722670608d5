"""What a payment is expected to bring: out of what became of earlier ones, and out of what its mission says of itself.

All sums are atomic units of the payment's asset. What whoever asks says of the value is a claim: it can make a payment
look worse, when it does not even pay for itself as claimed, and never better.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from chimera.commerce.intents import Intent
from chimera.store.postgres import Pool, fetch_one

_HISTORY = """
SELECT count(*) FILTER (WHERE state = 'delivered') AS delivered,
    count(*) FILTER (WHERE state IN ('paid_undelivered', 'refunded')) AS failed
FROM intents WHERE tenant = %s AND category = %s AND lower(payee) = lower(%s) AND state IN
    ('delivered', 'paid_undelivered', 'refunded')
"""
_MISSION = """
SELECT count(*) AS payments, coalesce(sum(amount), 0) AS spent FROM intents
WHERE tenant = %s AND mission = %s AND mission <> '' AND asset = %s AND id <> %s
    AND state NOT IN ('rejected', 'expired', 'released', 'failed', 'refunded')
"""


@dataclass(frozen=True)
class Return:
    """``confidence``: the share of like payments that were delivered, with one of each assumed where there were none.

    ``value``: what is claimed that it brings; ``expected``: that times confidence, rounded down; ``payback_s``: after
    how long it has paid for itself, where the claim says over how long the value comes. ``spent``: what its mission
    asked for besides it, in ``payments``.
    """

    cost: int
    confidence: float
    value: int | None
    expected: int | None
    payback_s: int | None
    payments: int
    spent: int

    @property
    def loses(self) -> bool:
        """Whether it is expected to bring less than it costs, by the claim itself."""
        return self.expected is not None and self.expected < self.cost

    def plain(self) -> dict[str, Any]:
        """The figures as JSON data; units as text."""
        units = {name: getattr(self, name) for name in ("cost", "value", "expected", "spent")}
        told = {name: None if found is None else str(found) for name, found in units.items()}
        return {**told, "confidence": self.confidence, "payback_s": self.payback_s, "payments": self.payments}


async def expected_return(pool: Pool, intent: Intent, value: int | None = None, within_s: int | None = None) -> Return:
    """What a payment is expected to bring. ``value``: as it was claimed, over ``within_s`` seconds if that was said."""
    asked = intent.asked
    history = await fetch_one(pool, _HISTORY, (asked.tenant, asked.category, asked.payee)) or {}
    mission = await fetch_one(pool, _MISSION, (asked.tenant, asked.mission, asked.asset, intent.id)) or {}
    delivered, failed = int(history.get("delivered", 0)), int(history.get("failed", 0))
    share = Fraction(delivered + 1, delivered + failed + 2)
    # Fees are of another asset as a rule; where they are of the same one, they are part of the cost.
    cost = asked.amount + (asked.fee_cap if asked.fee_asset == asked.asset else 0)
    expected = None if value is None else int(value * share)
    payback = None if not value or not within_s else -(-cost * within_s // value)
    return Return(
        cost=cost,
        confidence=float(share),
        value=value,
        expected=expected,
        payback_s=payback,
        payments=int(mission.get("payments", 0)),
        spent=int(mission.get("spent", 0)),
    )
