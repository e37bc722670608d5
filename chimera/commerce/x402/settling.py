"""What becomes of a signed payment: the chain is asked, and what it says is written down; or it is used up unpaid."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from chimera.commerce.intents import Intent, IntentState
from chimera.commerce.ledger import Ledger
from chimera.commerce.x402.authorization import Authorization
from chimera.commerce.x402.journal import PurchaseStore, Row
from chimera.commerce.x402.offers import Token
from chimera.commerce.x402.ports import SignAuthorization
from chimera.commerce.x402.used import Fate, TokenChain
from chimera.core.errors import ChimeraError, OutcomeUnknown

POLL_S = 0.2
_WHO = "chimera:x402"
_S = IntentState
FLYING = (_S.SIGNED, _S.BROADCAST, _S.UNKNOWN)
"""It is signed, and the chain has not decided."""


class Settling:
    """Settles payments by what the chain says. ``tokens``: by the ids of their assets."""

    def __init__(
        self,
        ledger: Ledger,
        store: PurchaseStore,
        signer: SignAuthorization,
        chain: TokenChain,
        tokens: Mapping[str, Token],
        confirm_s: float,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._signer = signer
        self._chain = chain
        self._tokens = tokens
        self._confirm_s = confirm_s
        self._why: dict[str, str] = {}
        """Why a payment is cancelled, until the chain has said so."""

    async def wait(self, intent: Intent, authorization: Authorization) -> bool:
        """Wait for the chain, for a while."""
        deadline = asyncio.get_running_loop().time() + self._confirm_s
        while True:
            if await self.settled(intent, authorization):
                return True
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(POLL_S)

    async def settled(self, intent: Intent, authorization: Authorization) -> bool:
        """Write down what the chain says of the payment; False while it has not decided.

        Raises:
            OutcomeUnknown: it says something that cannot be; the payment is set aside for people.
        """
        ledger, use = self._ledger, await self._chain.fate(authorization)
        match use.fate:
            case Fate.OPEN:
                return False
            case Fate.PAID:
                await self._store.paid(intent.id, use.transaction)
                await ledger.move(intent.id, _S.CONFIRMED, _S.BROADCAST, _S.UNKNOWN, by=_WHO, why=use.transaction)
            case Fate.CANCELLED | Fate.DEAD:
                why = self._why.pop(intent.id, "") or f"its authorisation is {use.fate}"
                await ledger.move(intent.id, _S.FAILED, *FLYING, by=_WHO, why=why)
                await ledger.release(intent.id, why=why)
            case Fate.ODD:
                await ledger.move(intent.id, _S.QUARANTINED, *FLYING, by=_WHO, why=use.transaction)
                raise OutcomeUnknown(
                    f"payment {intent.id}: the token moved something else in {use.transaction}",
                    remedy="It is set aside: look at the transaction.",
                )
        return True

    async def cancel(self, intent: Intent, why: str) -> None:
        """Use the authorisation up without paying, and write down what came of it."""
        authorization = self.authorization(intent, await self._store.of(intent.id))
        self._why[intent.id] = why
        if intent.state == _S.SIGNED:
            await self._ledger.move(intent.id, _S.BROADCAST, _S.SIGNED, by=_WHO, why=why)
        if await self.settled(intent, authorization):
            return
        signature = await self._signer.sign_cancellation(intent, authorization)
        with suppress(ChimeraError):  # it may have been used at the same moment: the chain says what counts
            await self._chain.cancel(authorization, signature)
        if not await self.wait(intent, authorization):
            raise OutcomeUnknown(f"payment {intent.id}: the chain has not said yet", intent=intent.id)

    def authorization(self, intent: Intent, row: Row) -> Authorization:
        """What was signed, from what was kept."""
        token = self._tokens.get(intent.asked.asset)
        if token is None or row.header is None:
            raise OutcomeUnknown(
                f"payment {intent.id} is of a token that no shop has any more",
                remedy="Keep the shop on the list until its payments are at their end.",
            )
        asked = intent.asked
        return Authorization(token, row.payer, asked.payee, asked.amount, row.valid_before, row.nonce)
