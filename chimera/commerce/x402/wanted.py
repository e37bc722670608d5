"""What an agent wants to buy, and how far it came."""

from dataclasses import dataclass

from chimera.commerce.intents import Intent, IntentState, Proposal
from chimera.commerce.x402.journal import Goods, Request
from chimera.commerce.x402.offers import Offer


@dataclass(frozen=True)
class Wanted:
    """What an agent wants to buy, and for what. ``purpose`` is the agent's; nothing that a seller wrote is in it."""

    tenant: str
    key: str
    request: Request
    purpose: str
    agent: str
    policy_version: str
    category: str = "data"
    pool: str = ""
    team: str = ""
    mission: str = ""
    ttl_s: int = 3_600


@dataclass(frozen=True)
class Purchase:
    """How far it came. ``intent`` None: it was free."""

    intent: Intent | None
    goods: Goods | None = None

    @property
    def state(self) -> IntentState | None:
        """The state of the payment."""
        return self.intent.state if self.intent else None


def proposal_for(wanted: Wanted, offer: Offer) -> Proposal:
    """The payment of an offer: to whom and in what by the list, what for by the agent."""
    asset = offer.shop.token.asset
    return Proposal(
        tenant=wanted.tenant,
        key=wanted.key,
        payee=offer.shop.pay_to,
        asset=asset.id,
        chain_id=asset.chain_id,
        amount=offer.amount,
        fee_asset=asset.id,
        fee_cap=0,
        purpose=wanted.purpose,
        category=wanted.category,
        agent=wanted.agent,
        policy_version=wanted.policy_version,
        ttl_s=wanted.ttl_s,
        pool=wanted.pool,
        team=wanted.team,
        mission=wanted.mission,
    )
