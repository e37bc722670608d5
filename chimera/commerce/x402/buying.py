"""Buying over HTTP 402: a payment in the books, a decision, one authorisation, and the goods or a dispute.

The order is that of the books: propose, decide, reserve, sign and keep, and only then send. What is sent again is what
was kept. What the seller says of the payment counts for nothing; the token's events say what was paid. Whatever stops
this between two steps, the same call with the same key goes on from there.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from chimera.commerce.intents import FINAL, Intent, IntentState, mission_id_of
from chimera.commerce.ledger import Ledger
from chimera.commerce.x402.asking import Answer, Asker
from chimera.commerce.x402.authorization import as_before, authorization_for, check_signature
from chimera.commerce.x402.journal import Goods, PurchaseStore, Row
from chimera.commerce.x402.offers import Offer, Shop, check_shop, choose, origin_of
from chimera.commerce.x402.ports import Decide, SignAuthorization
from chimera.commerce.x402.settling import FLYING, POLL_S, Settling
from chimera.commerce.x402.used import TokenChain
from chimera.commerce.x402.wanted import Purchase, Wanted, proposal_for
from chimera.commerce.x402.wire import payload_of, write_payload
from chimera.core.errors import (
    ChimeraError,
    IntentConflict,
    NotDelivered,
    OfferRefused,
    OutcomeUnknown,
    PriceChanged,
    SignerRefused,
)
from chimera.store.audit import AuditEvent, AuditLog

TRIES = 3
"""How often the authorisation is sent in one call, while no answer comes."""
CONFIRM_S = 30.0
_WHO = "chimera:x402"
_S = IntentState
_UNDECIDED = (_S.PROPOSED, _S.SCREENED, _S.ESCALATED)


@dataclass(frozen=True)
class Parts:
    """What a buyer works with."""

    ledger: Ledger
    store: PurchaseStore
    asker: Asker
    decide: Decide
    signer: SignAuthorization
    chain: TokenChain
    audit: AuditLog


class Buyer:
    """Buys at the shops of a list."""

    def __init__(self, parts: Parts, shops: Sequence[Shop], confirm_s: float = CONFIRM_S) -> None:
        for shop in shops:
            check_shop(shop)
        self._p = parts
        self._shops = tuple(shops)
        tokens = {shop.token.asset.id: shop.token for shop in shops}
        self._settling = Settling(parts.ledger, parts.store, parts.signer, parts.chain, tokens, confirm_s)
        self._busy: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def origins(self) -> tuple[str, ...]:
        """Where can be bought."""
        return tuple(dict.fromkeys(shop.origin for shop in self._shops))

    # --- what callers do -----------------------------------------------------------------------------------------

    async def buy(self, wanted: Wanted) -> Purchase:
        """Buy something, or go on with it: the same key is the same purchase.

        It comes back with the goods, or with a payment that waits for a human or was rejected.

        Raises:
            OfferRefused: the seller, or what he asks for, is not allowed. PriceChanged: it is not what was approved.
            OutcomeUnknown: nobody knows yet; ask again. NotDelivered: it was paid and did not come; ask again, too.
            PaymentRefused: of the ledger, the decision or the signer. IntentConflict: the key is another purchase.
        """
        found = await self.propose(wanted)
        return Purchase(None, found) if isinstance(found, Goods) else await self.resume(found.intent)

    async def propose(self, wanted: Wanted) -> Row | Goods:
        """Ask the seller for his offer and write the purchase down, or find it; the goods, if he wants nothing.

        Raises:
            OfferRefused: the seller, or what he asks for, is not allowed. IntentConflict: the key is another purchase.
        """
        row = await self._p.store.named(wanted.tenant, wanted.key)
        if row is None:
            await self._on_the_list(wanted)
            answer = await self._p.asker.ask(wanted.request)
            if answer is None or not answer.wants_payment:
                return _free(answer)
            offer = await self._chosen(answer, wanted)
            intent = await self._p.ledger.propose(proposal_for(wanted, offer))
            row = await self._p.store.put(intent, wanted.request, offer.asked)
        if row.request != wanted.request:
            raise IntentConflict(f"the key {wanted.key[:80]!r} stands for another purchase")
        return row

    async def kept(self, intent: Intent) -> Row | None:
        """The purchase that a payment is for; None where it is for something else."""
        return await self._p.store.named(intent.asked.tenant, intent.asked.key)

    async def resume(self, intent_id: str) -> Purchase:
        """Go on with a purchase from wherever it is. Raises as :meth:`buy` does."""
        async with self._busy.setdefault(intent_id, asyncio.Lock()):
            return await self._resume(intent_id)

    async def _resume(self, intent_id: str) -> Purchase:
        intent = await self._p.ledger.intent(intent_id)
        if intent.state in _UNDECIDED or intent.state == _S.APPROVED:  # approved, and perhaps not signed by the CFO yet
            await self._p.decide.decide(intent)
            intent = await self._p.ledger.intent(intent_id)
        if intent.state == _S.APPROVED:
            await self._p.ledger.reserve(intent)
            intent = await self._p.ledger.intent(intent_id)
        if intent.state == _S.RESERVED:
            await self._sign(intent)
            intent = await self._p.ledger.intent(intent_id)
        if intent.state in FLYING:
            await self._pay(intent)
            intent = await self._p.ledger.intent(intent_id)
        if intent.state == _S.FAILED:
            await self._p.ledger.release(intent_id, why=intent.why)
        if intent.state == _S.CONFIRMED:
            await self._p.ledger.capture(intent_id)
        return await self._deliver(intent_id)

    async def stop(self, intent_id: str, why: str) -> Purchase:
        """Give a purchase up. What is signed is used up on the chain first; if that came too late, it is paid.

        Raises:
            OutcomeUnknown: the chain has not said yet. IntentState: it is at its end already.
        """
        intent = await self._p.ledger.intent(intent_id)
        if intent.state in FLYING:
            await self._settling.cancel(intent, why)
        elif intent.state == _S.RESERVED:
            await self._p.ledger.release(intent_id, why=why)
        else:
            await self._p.ledger.move(intent_id, _S.REJECTED, *_UNDECIDED, _S.APPROVED, by=_WHO, why=why)
        found = await self._p.ledger.intent(intent_id)
        await self._p.audit.append(self._event("money.given-up", found, why=why[:300], state=str(found.state)))
        return Purchase(found)

    async def settle(self, limit: int = 100) -> int:
        """Go on with what is signed and not at its end; how many came to one. For a loop of the installation."""
        ended = 0
        for intent_id in await self._p.store.waiting(limit):
            try:
                found = await self.resume(intent_id)
            except ChimeraError:
                continue
            ended += found.state in FINAL
        return ended

    # --- signing -------------------------------------------------------------------------------------------------

    async def _sign(self, intent: Intent) -> None:
        """Sign what was approved, if the seller still asks for that, and keep it with the state in one transaction."""
        row = await self._p.store.of(intent.id)
        try:
            offer = await self._still(intent, row)
        except PriceChanged as error:
            await self._p.ledger.release(intent.id, why=error.message)
            await self._p.audit.append(self._event("money.price-changed", intent, signed=False))
            raise
        payer = await self._p.signer.payer(intent)
        authorization = authorization_for(intent, offer.shop.token, payer, await self._p.store.now(), offer.valid_s)
        try:
            signature = await self._p.signer.sign(intent, authorization)
        except SignerRefused as refused:  # killed before it was kept: there is one authorisation, and this is it
            if (before := as_before(authorization, refused)) is None:
                raise
            authorization, signature = before, await self._p.signer.sign(intent, before)
        check_signature(authorization, signature)
        header = write_payload(payload_of(row.offer, authorization.signed(signature)))
        async with self._p.store.pool.connection() as connection, connection.transaction():
            moved = await self._p.ledger.move(
                intent.id, _S.SIGNED, _S.RESERVED, by=_WHO, why="authorisation", connection=connection
            )
            if moved:
                await self._p.store.sign(connection, intent.id, header, authorization)

    async def _still(self, intent: Intent, row: Row) -> Offer:
        """The offer that was approved, if the seller makes it still.

        Raises:
            PriceChanged: he asks for something else. OutcomeUnknown: he does not answer.
        """
        answer = await self._p.asker.ask(row.request)
        if answer is None or not answer.wants_payment:
            raise OutcomeUnknown(f"payment {intent.id}: the seller makes no offer now; nothing is signed")
        try:
            offer = choose(answer.required, row.request.url, self._shops)
        except OfferRefused as error:
            raise PriceChanged(f"payment {intent.id}: {error.message}", intent=intent.id) from None
        asked = intent.asked
        meant = (asked.payee, asked.asset, asked.amount) == (offer.shop.pay_to, offer.shop.token.asset.id, offer.amount)
        if not meant or not offer.same_as(row.offer):
            raise PriceChanged(
                f"payment {intent.id}: the seller asks for another price or payee than was approved", intent=intent.id
            )
        return offer

    # --- paying --------------------------------------------------------------------------------------------------

    async def _pay(self, intent: Intent) -> None:
        """Send the authorisation that is kept until the chain has said; never another one.

        Raises:
            OutcomeUnknown: it has not, and somebody may still use it. PriceChanged: it was refused and is used up.
        """
        row = await self._p.store.of(intent.id)
        authorization = self._settling.authorization(intent, row)
        if intent.state == _S.SIGNED:
            await self._p.ledger.move(intent.id, _S.BROADCAST, _S.SIGNED, by=_WHO)
        answer = None
        for tried in range(TRIES):
            await asyncio.sleep(POLL_S * tried)
            if await self._settling.settled(intent, authorization):
                return
            answer = await self._send(row)
            if answer is not None and (answer.delivered or answer.wants_payment):
                break
        if answer is not None and answer.delivered:
            await self._p.store.came(intent.id, answer.goods)
        if answer is not None and answer.wants_payment and self._other(answer, row):
            await self._settling.cancel(intent, "the seller changed the price")
            if (await self._p.ledger.intent(intent.id)).state == _S.RELEASED:
                await self._p.audit.append(self._event("money.price-changed", intent, signed=True))
                raise PriceChanged(f"payment {intent.id}: the seller changed the price", intent=intent.id)
            return
        if not await self._settling.wait(intent, authorization):
            await self._p.ledger.move(intent.id, _S.UNKNOWN, _S.BROADCAST, by=_WHO, why="no final answer")
            raise OutcomeUnknown(f"payment {intent.id}: it is not known yet whether it was made", intent=intent.id)

    async def _send(self, row: Row) -> Answer | None:
        await self._p.store.sending(row.intent)
        return await self._p.asker.ask(row.request, row.header or "")

    def _other(self, answer: Answer, row: Row) -> bool:
        """Whether a seller who refused the payment asks for something else now."""
        try:
            return not choose(answer.required, row.request.url, self._shops).same_as(row.offer)
        except OfferRefused:
            return True

    # --- goods ---------------------------------------------------------------------------------------------------

    async def _deliver(self, intent_id: str) -> Purchase:
        """The goods of what is paid: those that came, or those that come for the same authorisation once more."""
        intent = await self._p.ledger.intent(intent_id)
        row = await self._p.store.of(intent_id)
        if intent.state in (_S.CAPTURED, _S.PAID_UNDELIVERED):
            if row.goods is None:
                answer = await self._send(row)
                if answer is None or not answer.delivered:
                    if await self._p.ledger.move(intent_id, _S.PAID_UNDELIVERED, _S.CAPTURED, by=_WHO):
                        await self._p.audit.append(
                            self._event("money.undelivered", intent, transaction=row.transaction)
                        )
                    raise NotDelivered(f"payment {intent_id} was made, and nothing came", intent=intent_id)
                await self._p.store.came(intent_id, answer.goods)
                row = await self._p.store.of(intent_id)
            if await self._p.ledger.move(intent_id, _S.DELIVERED, _S.CAPTURED, _S.PAID_UNDELIVERED, by=_WHO):
                await self._p.audit.append(self._event("money.bought", intent, transaction=row.transaction))
            intent = await self._p.ledger.intent(intent_id)
        return Purchase(intent, row.goods if intent.state == _S.DELIVERED else None)

    # --- the record ----------------------------------------------------------------------------------------------

    async def _on_the_list(self, wanted: Wanted) -> None:
        """Ask nobody for an offer who could not be paid: an agent's URL may lead anywhere."""
        if all(shop.origin != origin_of(wanted.request.url) for shop in self._shops):
            await self._refused(wanted, "origin")
            raise OfferRefused("the seller is not on the list of shops", rule="origin")

    async def _chosen(self, answer: Answer, wanted: Wanted) -> Offer:
        try:
            return choose(answer.required, wanted.request.url, self._shops)
        except OfferRefused as error:
            await self._refused(wanted, str(error.context.get("rule", "")))
            raise

    async def _refused(self, wanted: Wanted, rule: str) -> None:
        data = {"origin": origin_of(wanted.request.url), "rule": rule}
        event = AuditEvent("money.offer-refused", wanted.agent, mission_id_of(wanted.mission), wanted.tenant, data)
        await self._p.audit.append(event)

    def _event(self, kind: str, intent: Intent, **data: str | bool) -> AuditEvent:
        asked = intent.asked
        about = {"intent": intent.id, "asset": asked.asset, "amount": str(asked.amount), "payee": asked.payee, **data}
        return AuditEvent(kind, asked.agent, intent.mission_id, asked.tenant, about)


def _free(answer: Answer | None) -> Goods:
    if answer is None or not answer.delivered:
        raise OfferRefused(
            "the seller does not answer" if answer is None else f"the seller answers {answer.status}, not an offer"
        )
    return answer.goods
