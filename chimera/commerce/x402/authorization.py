"""The one thing that is signed for a purchase: an EIP-3009 authorisation, whose number is the payment's.

The number follows from the payment, so a payment that is signed twice, by a crash or by a fault, is still one transfer:
the token takes each number of a payer once.
"""

from dataclasses import dataclass, replace
from typing import Any

from chimera.commerce.intents import Intent
from chimera.commerce.wallet.authorizing import CANCEL, DOMAIN, TRANSFER, number_of
from chimera.commerce.x402.offers import Token
from chimera.core.errors import OfferRefused, SignerRefused

MOST_VALID_S = 100
"""How long a signed authorisation is good, however long the seller asks for: less than the signer allows."""
LEAST_VALID_S = 20
"""With less left before the payment expires, nothing is signed any more."""
_SIGNATURE_BYTES = 65


@dataclass(frozen=True)
class Authorization:
    """``payer`` pays ``payee`` an amount of atomic units, until ``valid_before`` (seconds since 1970)."""

    token: Token
    payer: str
    payee: str
    amount: int
    valid_before: int
    nonce: bytes
    valid_after: int = 0

    def typed_data(self) -> dict[str, Any]:
        """What is signed (``eth_signTypedData_v4``)."""
        message = {
            "from": self.payer,
            "to": self.payee,
            "value": self.amount,
            "validAfter": self.valid_after,
            "validBefore": self.valid_before,
            "nonce": self.nonce,
        }
        return self._typed("TransferWithAuthorization", TRANSFER, message)

    def cancellation(self) -> dict[str, Any]:
        """What is signed to use it up without paying."""
        return self._typed("CancelAuthorization", CANCEL, {"authorizer": self.payer, "nonce": self.nonce})

    def signed(self, signature: bytes) -> dict[str, Any]:
        """The part of a payment's header that says what was signed."""
        return {
            "signature": "0x" + signature.hex(),
            "authorization": {
                "from": self.payer,
                "to": self.payee,
                "value": str(self.amount),
                "validAfter": str(self.valid_after),
                "validBefore": str(self.valid_before),
                "nonce": "0x" + self.nonce.hex(),
            },
        }

    def _typed(self, kind: str, fields: list[dict[str, str]], message: dict[str, Any]) -> dict[str, Any]:
        domain = {
            "name": self.token.name,
            "version": self.token.version,
            "chainId": self.token.asset.chain_id,
            "verifyingContract": self.token.address,
        }
        types = {"EIP712Domain": DOMAIN, kind: fields}
        return {"types": types, "primaryType": kind, "domain": domain, "message": message}


def authorization_for(intent: Intent, token: Token, payer: str, now: int, asked_s: int) -> Authorization:
    """The authorisation of a payment. ``asked_s``: how long the seller wants it to be good, which is cut.

    Raises:
        OfferRefused: the payment is of another token, or there is too little time left to sign it.
    """
    asked = intent.asked
    if asked.asset != token.asset.id or asked.chain_id != token.asset.chain_id:
        raise OfferRefused(f"payment {intent.id} is of another token than the seller's")
    until = min(now + min(asked_s, MOST_VALID_S), int(intent.expires_at.timestamp()))
    if until - now < LEAST_VALID_S:
        raise OfferRefused(f"payment {intent.id}: the seller gives less than {LEAST_VALID_S} s, or it expires")
    return Authorization(token, payer, asked.payee, asked.amount, until, number_of(intent))


def as_before(authorization: Authorization, refused: SignerRefused) -> Authorization | None:
    """The authorisation that the signer signed for this payment before and nobody kept, if it says so."""
    before: dict[str, Any] = refused.context.get("before") or {}
    until = before.get("valid_before")
    if not isinstance(until, int) or until == authorization.valid_before:
        return None
    return replace(authorization, valid_before=until)


def check_signature(authorization: Authorization, signature: bytes) -> None:
    """Let a signature pass that is the payer's, of exactly this.

    Raises:
        OfferRefused: it is not.
    """
    from eth_account import Account
    from eth_account.messages import encode_typed_data

    if len(signature) != _SIGNATURE_BYTES:
        raise OfferRefused("the signer gave no signature")
    try:
        said = encode_typed_data(full_message=authorization.typed_data())
        found = str(Account.recover_message(said, signature=signature))
    except Exception as error:  # noqa: BLE001 - whatever the bytes are: they are no signature, and nothing is sent
        raise OfferRefused(f"the signer gave no signature: {type(error).__name__}") from None
    if found.casefold() != authorization.payer.casefold():
        raise OfferRefused("the signer signed with another key, or something else")
