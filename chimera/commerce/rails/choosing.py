"""The one payer of an installation: each payment goes the way that it was proposed for."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from chimera.commerce.deciding import Payer
from chimera.commerce.intents import IntentState
from chimera.commerce.ledger import Ledger
from chimera.commerce.rails.paying import Rail
from chimera.commerce.x402.buying import Buyer
from chimera.core.errors import NotDelivered, OutcomeUnknown, PaymentRefused, PriceChanged


@dataclass(frozen=True)
class Rails:
    """The ways that payments can go. ``chain``: transfers of coins and tokens; ``buyer``: purchases over HTTP 402.

    ``services``: rails outside of chains, by the word that their payees begin with (``stripe:...``).
    """

    ledger: Ledger
    chain: Payer | None = None
    buyer: Buyer | None = None
    services: Mapping[str, Rail] = field(default_factory=dict[str, Rail])

    async def pay(self, intent_id: str) -> IntentState:
        """Make a payment, or go on with it, and say how far it came.

        Raises:
            PaymentRefused: there is no way for it, or whoever signs refuses.
        """
        intent = await self.ledger.intent(intent_id)
        if self.buyer is not None and await self.buyer.kept(intent) is not None:
            with suppress(NotDelivered, OutcomeUnknown, PriceChanged):  # the books say which, and the record why
                await self.buyer.resume(intent_id)
            return (await self.ledger.intent(intent_id)).state
        rail = self.services.get(intent.asked.payee.partition(":")[0])
        if rail is not None and intent.asked.chain_id is None:
            with suppress(OutcomeUnknown):
                await rail.pay(intent_id)
            return (await self.ledger.intent(intent_id)).state
        if self.chain is None or intent.asked.chain_id is None:
            raise PaymentRefused(
                f"there is no way to pay {intent.asked.asset} here",
                remedy="Configure a chain with a signer, or pay with an asset that there is a way for.",
                intent=intent.id,
            )
        return await self.chain.pay(intent_id)
