"""What agents' calls to spend stand for: a proposal by the rules of payments, and later what came of it."""

from collections.abc import Mapping
from typing import Any

from chimera.commerce.deciding import Deciding
from chimera.commerce.intents import FINAL, SPENT, Intent
from chimera.commerce.transactions import Requester, read_transaction
from chimera.commerce.x402.buying import Buyer
from chimera.commerce.x402.journal import Goods, Request
from chimera.commerce.x402.wanted import Wanted
from chimera.core.contracts import BUY, PAY
from chimera.core.errors import InputError, OfferRefused, PaymentRefused, ToolUnknown

GOODS_CHARS = 200_000
CATEGORY = "data"


class Spending:
    """Proposes the payments of agents' calls. It decides nothing and pays nothing."""

    def __init__(self, deciding: Deciding, buyer: Buyer | None) -> None:
        self._deciding = deciding
        self._buyer = buyer

    @property
    def tools(self) -> frozenset[str]:
        """Which calls can be made here: buying needs a list of shops."""
        return frozenset({PAY} if self._buyer is None else {PAY, BUY})

    @property
    def sellers(self) -> tuple[str, ...]:
        """The origins of the shops that can be bought at."""
        return self._buyer.origins if self._buyer is not None else ()

    async def propose(self, tool: str, arguments: Mapping[str, Any], by: Requester, key: str) -> Intent:
        """The payment of a call.

        The same key is the same payment, whoever asks again and when.

        Raises:
            InputError, PayeeUnknown, OfferRefused: nothing that can be paid is meant. IntentConflict: the key is
            another payment's.
        """
        if tool == PAY:
            desk = self._deciding
            asked = await read_transaction(arguments, by, key, desk.policy, desk.ledger.assets, desk.payees)
            return await desk.ledger.propose(asked.proposal)
        if tool != BUY or self._buyer is None:
            raise ToolUnknown(f"{tool[:60]} spends nothing here")
        wanted = Wanted(
            tenant=by.tenant,
            key=key,
            request=Request(str(arguments["url"])),
            purpose=str(arguments["purpose"]),
            agent=by.agent,
            policy_version=self._deciding.policy.version,
            category=CATEGORY,
            pool=by.pool,
            team=by.team,
            mission=by.mission,
            ttl_s=self._deciding.policy.ttl_s,
        )
        found = await self._buyer.propose(wanted)
        if isinstance(found, Goods):
            raise OfferRefused("the seller asks for no payment, so nothing is bought", rule="free")
        return await self._deciding.ledger.intent(found.intent)

    async def outcome(self, tenant: str, key: str) -> Mapping[str, Any]:
        """What came of the payment of a call, as its agent may know it.

        Raises:
            PaymentRefused: there is none, or it has not come to an end yet.
        """
        intent = await self._deciding.ledger.keyed(tenant, key)
        if intent is None:
            raise PaymentRefused("this call was not paid for: it did not come by way of a payment", outcome="not done")
        asset = await self._deciding.ledger.assets.get(intent.asked.asset)
        if intent.state not in SPENT | FINAL:
            raise PaymentRefused(
                f"payment {intent.id} is {intent.state}; it is gone on with",
                remedy="Ask again later with the same call: it is the same payment.",
                intent=intent.id,
                outcome="unknown",
            )
        bought = await self._buyer.kept(intent) if self._buyer is not None else None
        if intent.state not in SPENT:
            why = intent.why or str(intent.state)
            raise PaymentRefused(
                f"payment {intent.id} was not made: {why}"[:1_000],
                intent=intent.id,
                outcome="not done",
            )
        told: dict[str, Any] = {
            "intent": intent.id,
            "state": str(intent.state),
            "paid": asset.shown(intent.asked.amount),
            "to": await self._name_of(intent),
        }
        if bought is not None:
            told |= {"source": bought.request.url, "transaction": bought.transaction}
            if bought.goods is not None:
                told["goods"] = _text(bought.goods)
        return told

    async def _name_of(self, intent: Intent) -> str:
        asked = intent.asked
        found = await self._deciding.payees.at(asked.tenant, asked.payee, asked.chain_id)
        return found.name if found else asked.payee


def _text(goods: Goods) -> str:
    """What was bought, as far as it is text.

    Raises:
        InputError: it is not.
    """
    try:
        return goods.body.decode("utf-8")[:GOODS_CHARS]
    except UnicodeDecodeError:
        raise InputError(f"what came is no text, but {goods.media_type[:60] or 'something else'}") from None
