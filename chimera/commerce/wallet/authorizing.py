"""The other way to pay in a token: an EIP-3009 authorisation that the payee hands in, as x402 asks for.

It is signed under the same conditions as a transaction, and a payment has one of the two. Its number follows from the
payment, so that the token takes it once, whatever is signed again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chimera.commerce.intents import Intent, digest_of
from chimera.commerce.wallet.approval import Approval
from chimera.commerce.wallet.request import read_paid, refusing, text, whole, write_paid

MOST_VALID_S = 120
"""How long an authorisation is good at most."""
_NUMBER = "chimera-x402-1"
DOMAIN = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]
TRANSFER = [
    {"name": "from", "type": "address"},
    {"name": "to", "type": "address"},
    {"name": "value", "type": "uint256"},
    {"name": "validAfter", "type": "uint256"},
    {"name": "validBefore", "type": "uint256"},
    {"name": "nonce", "type": "bytes32"},
]
CANCEL = [{"name": "authorizer", "type": "address"}, {"name": "nonce", "type": "bytes32"}]


@dataclass(frozen=True)
class AuthorizeRequest:
    """A payment to authorise, until ``valid_before``; ``name`` and ``version``: the token's, of its EIP-712 domain.

    ``cancel``: sign instead that the authorisation is used up without paying.
    """

    intent: Intent
    approval: Approval
    valid_before: int
    name: str
    version: str
    cancel: bool = False


def number_of(intent: Intent) -> bytes:
    """The number of a payment's authorisation, always the same."""
    return digest_of(_NUMBER, intent.id, intent.digest.hex())


def authorization_data(request: AuthorizeRequest, sender: str, token: str) -> dict[str, Any]:
    """The typed data that is signed."""
    asked, nonce = request.intent.asked, number_of(request.intent)
    kind, fields = ("CancelAuthorization", CANCEL) if request.cancel else ("TransferWithAuthorization", TRANSFER)
    message: dict[str, Any] = {"authorizer": sender, "nonce": nonce}
    if not request.cancel:
        message = {
            "from": sender,
            "to": asked.payee,
            "value": asked.amount,
            "validAfter": 0,
            "validBefore": request.valid_before,
            "nonce": nonce,
        }
    return {
        "types": {"EIP712Domain": DOMAIN, kind: fields},
        "primaryType": kind,
        "domain": {
            "name": request.name,
            "version": request.version,
            "chainId": asked.chain_id,
            "verifyingContract": token,
        },
        "message": message,
    }


def write_authorize(request: AuthorizeRequest) -> dict[str, Any]:
    """A request as JSON data."""
    return {
        "call": "sign_authorization",
        **write_paid(request.intent, request.approval),
        "valid_before": request.valid_before,
        "name": request.name,
        "version": request.version,
        "cancel": request.cancel,
    }


def read_authorize(message: Mapping[str, Any]) -> AuthorizeRequest:
    """The request that JSON data holds.

    Raises:
        SignerRefused: it holds none, or more than one needs.
    """
    with refusing(message, {"valid_before", "name", "version", "cancel"}):
        if not isinstance(message["cancel"], bool):
            raise TypeError
        intent, approval = read_paid(message)
        name, version = text(message["name"]), text(message["version"])
        return AuthorizeRequest(intent, approval, whole(message["valid_before"]), name, version, message["cancel"])
