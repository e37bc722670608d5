"""What became of all payments: three sums that are had independently, and everything that must not be.

Expected: by the plan, before anything is paid. Captured: by the ledger. On the chain: by the token's Transfer events
and by what the wallets have less, as the node says that tells no lies.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from chimera.bench.commerce.plan import Plan
from chimera.commerce.chain.port import Chain, Transfer
from chimera.commerce.intents import FINAL, SPENT
from chimera.commerce.verify import verify_ledger
from chimera.store.postgres import Pool, fetch

ENDED = sorted(str(state) for state in FINAL | SPENT)
_CAPTURED = """
    SELECT coalesce(sum(h.captured), 0) AS units FROM holds AS h WHERE h.asset = %s AND h.leg = 'amount'
    AND h.state = 'captured'
"""
# By the holds and not by the budgets' own sums, which are what is in question.
_OVERSPENT = """
    SELECT b.id FROM budgets AS b JOIN holds AS h ON b.id = ANY (h.budgets)
    GROUP BY b.id, b.cap, b.held, b.posted
    HAVING b.held + b.posted > b.cap
    OR sum(CASE h.state WHEN 'held' THEN h.amount WHEN 'captured' THEN h.captured - h.refunded ELSE 0 END) > b.cap
"""
# Held for a payment that has ended, or a payment that was made and whose amount was held nowhere.
_LOST = """
    SELECT i.id FROM intents AS i JOIN holds AS h ON h.intent = i.id
    WHERE h.state = 'held' AND i.state = ANY (%(ended)s)
    UNION ALL SELECT i.id FROM intents AS i
    WHERE i.state = ANY (%(spent)s)
    AND NOT EXISTS (SELECT FROM holds AS h WHERE h.intent = i.id AND h.leg = 'amount' AND h.state = 'captured')
"""
_STATES = "SELECT tenant LIKE 'tenant-%%' AS planned, state, count(*) AS n FROM intents GROUP BY 1, 2"
_SIGNED = """
    SELECT t.hash, t.intent, i.state, n.address, n.nonce FROM chain_transactions AS t
    JOIN wallet_nonces AS n ON n.intent = t.intent JOIN intents AS i ON i.id = t.intent
"""


@dataclass(frozen=True)
class OnChain:
    """What the chain says: the Transfer events of wallets, and what they have less than they were given."""

    transfers: Sequence[Transfer]
    less: int

    @property
    def units(self) -> int:
        """The sum of the events."""
        return sum(each.amount for each in self.transfers)


async def on_chain(chain: Chain, token: str, wallets: Sequence[str], given: int) -> OnChain:
    """What left the wallets. ``given``: units that each of them had."""
    senders = {each.lower() for each in wallets}
    found = await chain.transfers(token, 0, await chain.head())
    less = 0
    for wallet in wallets:
        less += given - await chain.balance(token, wallet)
    return OnChain([each for each in found if each.sender in senders], less)


async def summed(pool: Pool, plan: Plan, chain: OnChain, more_units: int) -> dict[str, int]:
    """The figures. ``more_units``: what was expected besides the plan."""
    states: Counter[str] = Counter()
    planned = 0
    for row in await fetch(pool, _STATES):
        states[str(row["state"])] += int(row["n"])
        planned += int(row["n"]) if row["planned"] else 0
    (captured,) = await fetch(pool, _CAPTURED, (plan.asset.id,))
    spent = [str(state) for state in SPENT]
    signed = await fetch(pool, _SIGNED)
    by_hash = {str(row["hash"]): str(row["intent"]) for row in signed}
    paid = Counter(by_hash.get(each.hash, each.hash) for each in chain.transfers)
    strange = sum(each.hash not in by_hash for each in chain.transfers)
    nonces = Counter((row["address"], row["nonce"]) for row in {str(row["intent"]): row for row in signed}.values())
    tenants = await fetch(pool, "SELECT DISTINCT tenant FROM intents")
    return {
        "proposed": planned,
        "expected_units": plan.expected_units + more_units,
        "captured_units": int(captured["units"]),
        "chain_units": chain.units,
        "wallet_units": chain.less,
        "payments_made": sum(states[state] for state in spent),
        "payments_refused": states["rejected"],
        "overspent_budgets": len(await fetch(pool, _OVERSPENT)),
        "double_payments": sum(n - 1 for n in paid.values()) + strange + sum(n - 1 for n in nonces.values()),
        "lost_holds": len(await fetch(pool, _LOST, {"ended": ENDED, "spent": spent})),
        "unfinished": plan.payments - planned + sum(n for state, n in states.items() if state not in ENDED),
        "ledger_faults": sum([len((await verify_ledger(pool, row["tenant"])).faults) for row in tenants]),
    }
