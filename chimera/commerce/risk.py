"""Risk: what else was asked for lately, by whom and for whom, so that many small payments count as the large one they
are.

The sums are those of the payment's window: of its agent, of whoever is behind its payee whatever the name, address or
agent, and of its mission. The level of approval is that of the largest of them, so neither cutting a payment into
pieces nor spreading it over agents and payees makes it any smaller. What was only proposed counts too.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from chimera.commerce.findings import Finding, strictest
from chimera.commerce.intents import Intent
from chimera.commerce.payment_policy import Level, PaymentPolicy
from chimera.commerce.scoring import Scorer
from chimera.store.postgres import Pool, fetch_one

_GONE = ["rejected", "expired", "released", "failed", "refunded"]
_PAID = ["captured", "delivered", "paid_undelivered"]
_AROUND = """
WITH me AS (
    SELECT n.*, coalesce(o.owner, lower(n.payee)) AS owner FROM intents AS n LEFT JOIN LATERAL (
        SELECT p.owner FROM payees AS p WHERE p.tenant = n.tenant AND p.chain_id = coalesce(n.chain_id, 0)
        AND lower(p.address) = lower(n.payee) ORDER BY p.removed_at NULLS FIRST LIMIT 1
    ) AS o ON true WHERE n.id = %(id)s
), lately AS (
    SELECT n.id, n.amount, n.agent, n.mission, n.payee, coalesce(o.owner, lower(n.payee)) AS owner
    FROM me JOIN intents AS n ON n.tenant = me.tenant AND n.asset = me.asset LEFT JOIN LATERAL (
        SELECT p.owner FROM payees AS p WHERE p.tenant = n.tenant AND p.chain_id = coalesce(n.chain_id, 0)
        AND lower(p.address) = lower(n.payee) ORDER BY p.removed_at NULLS FIRST LIMIT 1
    ) AS o ON true
    WHERE n.state <> ALL (%(gone)s) AND n.created_at > ledger_now() - make_interval(secs => %(window)s)
), paid AS (
    SELECT n.amount FROM me JOIN intents AS n ON n.tenant = me.tenant AND n.asset = me.asset
    WHERE n.state = ANY (%(paid)s) AND lower(n.payee) = lower(me.payee)
    ORDER BY n.created_at DESC LIMIT 50
)
SELECT me.owner, extract(hour FROM ledger_now() AT TIME ZONE 'UTC')::integer AS hour,
    (SELECT count(*) FROM lately AS l WHERE l.agent = me.agent) AS payments,
    (SELECT coalesce(sum(l.amount), 0) FROM lately AS l WHERE l.agent = me.agent) AS of_agent,
    (SELECT coalesce(sum(l.amount), 0) FROM lately AS l WHERE l.owner = me.owner) AS of_owner,
    (SELECT coalesce(sum(l.amount), 0) FROM lately AS l WHERE l.mission = me.mission AND me.mission <> '') AS
    of_mission, (SELECT count(DISTINCT l.agent) FROM lately AS l WHERE l.owner = me.owner) AS agents_to_owner,
    (SELECT count(DISTINCT l.payee) FROM lately AS l WHERE l.agent = me.agent) AS payees,
    (SELECT count(*) FROM paid) AS paid_before,
    (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY p.amount) FROM paid AS p) AS usual
FROM me
"""
_ENOUGH = 3
"""Payments from which on there is a usual price."""


@dataclass(frozen=True)
class Around:
    """What happened around a payment, itself included; sums in atomic units of its asset."""

    owner: str
    hour: int
    payments: int
    of_agent: int
    of_owner: int
    of_mission: int
    agents_to_owner: int
    payees: int
    paid_before: int
    usual: int | None


@dataclass(frozen=True)
class Risk:
    """What was found: the least level of approval by sums and rules, and the score that may have raised it."""

    findings: list[Finding]
    level: Level
    score: float
    around: Around

    @property
    def action(self) -> str:
        """The strictest of what was found."""
        return strictest(self.findings)

    def plain(self) -> dict[str, Any]:
        """The risk as JSON data."""
        known: dict[str, Any] = asdict(self.around)
        for name in ("of_agent", "of_owner", "of_mission", "usual"):
            known[name] = None if known[name] is None else str(known[name])
        found = [one.plain() for one in self.findings]
        return {
            "action": self.action,
            "level": int(self.level),
            "score": self.score,
            "findings": found,
            "around": known,
        }


class RiskDesk:
    """Judges how a payment fits to what else happens."""

    def __init__(self, pool: Pool, policy: PaymentPolicy, scorer: Scorer) -> None:
        self._pool = pool
        self._policy = policy
        self._scorer = scorer

    async def around(self, intent: Intent) -> Around:
        """What was asked for in the window of a payment."""
        values = {"id": intent.id, "gone": _GONE, "paid": _PAID, "window": self._policy.window_s}
        row: Mapping[str, Any] = await fetch_one(self._pool, _AROUND, values) or {}
        units = {name: int(row[name]) for name in ("of_agent", "of_owner", "of_mission")}
        known: dict[str, Any] = {**row, **units, "usual": None if row["usual"] is None else int(row["usual"])}
        return Around(**known)

    async def judge(self, intent: Intent) -> Risk:
        """The rules about sums, speed, novelty and price; then the score, which only adds."""
        return judged(intent, await self.around(intent), self._policy, self._scorer)


def judged(intent: Intent, around: Around, policy: PaymentPolicy, scorer: Scorer) -> Risk:
    """The risk of a payment in its surroundings."""
    asked, steps = intent.asked, policy.assets.get(intent.asked.asset)
    if steps is None:
        nothing = Finding("payment.asset", "reject", f"nothing is paid in {asked.asset}")
        return Risk([nothing], Level.NEVER, 1.0, around)
    findings: list[Finding] = []
    sums = {"its agent": around.of_agent, "its payee": around.of_owner, "its mission": around.of_mission}
    largest = max(sums, key=lambda name: sums[name])
    alone, together = steps.level(asked.amount), steps.level(max(asked.amount, *sums.values()))
    if together > alone:
        rule = "payment.split" if largest == "its payee" and around.agents_to_owner > 1 else "payment.structured"
        said = f"alone it needs {alone.name.lower()}, with all that {largest} has in the window {together.name.lower()}"
        findings.append(Finding(rule, "escalate", said))
    level = together
    if around.payments > policy.most_payments:
        findings.append(
            Finding("payment.velocity", "escalate", f"{around.payments} payments of its agent in the window")
        )
    if around.paid_before == 0:
        findings.append(
            Finding("payment.new-payee", "escalate" if policy.new_payee else "note", "nobody paid it before")
        )
        level = max(level, policy.new_payee)
    usual = around.usual if around.paid_before >= _ENOUGH else None
    if usual is not None and asked.amount > policy.price_factor * usual:
        said = f"it asks for more than {policy.price_factor} times what this payee usually gets"
        findings.append(Finding("payment.price", "escalate", said))
    score = scorer.score(figures_of(intent, around, steps.auto))
    if score >= scorer.look:
        findings.append(
            Finding("payment.score", "escalate", f"it scores {score:.2f}, from {scorer.look:.2f} on a human looks")
        )
    level = max(level, policy.categories.get(asked.category, Level.NEVER if policy.categories else Level.AUTO))
    if level == Level.NEVER:
        findings.append(Finding("payment.never", "reject", "the policy lets nobody approve this"))
    elif strictest(findings) == "escalate":
        level = max(level, Level.ONE)
    return Risk(findings, level, score, around)


def figures_of(intent: Intent, around: Around, auto: int) -> dict[str, float]:
    """The figures that the scorer looks at."""
    amount, basis = intent.asked.amount, max(auto, 1)
    return {
        "size": math.log10(amount / basis),
        "new_payee": float(around.paid_before == 0),
        "payments": math.log1p(around.payments),
        "share_of_window": math.log10(max(around.of_agent, around.of_owner, amount) / basis),
        "price_ratio": math.log10(amount / around.usual) if around.usual else 0.0,
        "payees": math.log1p(around.payees),
        "agents_to_owner": math.log1p(around.agents_to_owner),
        "night": float(around.hour < 6 or around.hour >= 22),
    }
