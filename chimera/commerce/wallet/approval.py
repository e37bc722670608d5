"""What the CFO signs when a payment is approved, as EIP-712 typed data, and whose signature it is.

``intent`` is the digest of the payment (``Intent.digest``): it binds everything that was asked for, and the id, so one
signature is good for one payment. The other fields say again what the signer can check by itself.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol

from chimera.commerce.intents import Intent
from chimera.core.errors import ExtraMissing, SignerRefused

DOMAIN_NAME = "Chimera payment"
DOMAIN_VERSION = "1"
_DOMAIN = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
]
_PAYMENT = [
    {"name": "intent", "type": "bytes32"},
    {"name": "chain", "type": "uint256"},
    {"name": "asset", "type": "string"},
    {"name": "payee", "type": "string"},
    {"name": "amount", "type": "uint256"},
    {"name": "feeCap", "type": "uint256"},
    {"name": "policyVersion", "type": "string"},
    {"name": "expiry", "type": "uint64"},
]
_SIGNATURE_BYTES = 65
TypedData = dict[str, Any]


class Approval(Protocol):
    """A payment that the CFO approved, and its signature over that."""

    @property
    def intent(self) -> bytes:
        """The digest of the payment."""
        ...

    @property
    def chain_id(self) -> int:
        """The chain that it is paid on."""
        ...

    @property
    def asset(self) -> str:
        """The id of the asset."""
        ...

    @property
    def payee(self) -> str:
        """The address that is paid."""
        ...

    @property
    def amount(self) -> int:
        """Atomic units of the asset."""
        ...

    @property
    def fee_cap(self) -> int:
        """The most that it may cost in fees: atomic units of the chain's own coin."""
        ...

    @property
    def policy_version(self) -> str:
        """The policy by which it was decided."""
        ...

    @property
    def expiry(self) -> int:
        """Until when it may be signed: seconds since 1970."""
        ...

    @property
    def signature(self) -> bytes:
        """65 bytes: r, s, v."""
        ...


class Kept(Protocol):
    """A signature of the CFO that was kept."""

    @property
    def digest(self) -> bytes:
        """The digest of the payment that was signed."""
        ...

    @property
    def signature(self) -> bytes:
        """65 bytes: r, s, v."""
        ...


class Signatures(Protocol):
    """Knows what the CFO signed."""

    async def signed(self, intent_id: str) -> Kept | None:
        """The signature over a payment, if there is one."""
        ...


@dataclass(frozen=True)
class SignedApproval:
    """An :class:`Approval` as it is stored and sent."""

    intent: bytes
    chain_id: int
    asset: str
    payee: str
    amount: int
    fee_cap: int
    policy_version: str
    expiry: int
    signature: bytes = b""


def approval_for(intent: Intent) -> SignedApproval:
    """What there is to sign for a payment; the signature is still missing.

    Raises:
        SignerRefused: the payment is not made on a chain.
    """
    if intent.asked.chain_id is None:
        raise SignerRefused(f"payment {intent.id} is not made on a chain")
    return _unsigned(intent)


async def approval_of(intent: Intent, signatures: Signatures) -> SignedApproval:
    """The approval of a payment, as the CFO signed it.

    Raises:
        SignerRefused: there is none, or one of something else.
    """
    kept = await signatures.signed(intent.id)
    if kept is None or kept.digest != intent.digest:
        raise SignerRefused(f"payment {intent.id} has no approval of the CFO")
    return replace(approval_for(intent), signature=kept.signature)


def payment_data(intent: Intent) -> TypedData:
    """What the CFO signs for a payment, on a chain or outside of all: there the chain is 0."""
    return typed_data(_unsigned(intent))


def _unsigned(intent: Intent) -> SignedApproval:
    asked = intent.asked
    return SignedApproval(
        intent=intent.digest,
        chain_id=asked.chain_id or 0,
        asset=asked.asset,
        payee=asked.payee,
        amount=asked.amount,
        fee_cap=asked.fee_cap,
        policy_version=asked.policy_version,
        expiry=int(intent.expires_at.timestamp()),
    )


def typed_data(approval: Approval) -> TypedData:
    """The approval as the typed data that a wallet signs with ``eth_signTypedData_v4``."""
    return {
        "types": {"EIP712Domain": _DOMAIN, "Payment": _PAYMENT},
        "primaryType": "Payment",
        "domain": {"name": DOMAIN_NAME, "version": DOMAIN_VERSION, "chainId": approval.chain_id},
        "message": {
            "intent": approval.intent,
            "chain": approval.chain_id,
            "asset": approval.asset,
            "payee": approval.payee,
            "amount": approval.amount,
            "feeCap": approval.fee_cap,
            "policyVersion": approval.policy_version,
            "expiry": approval.expiry,
        },
    }


def signer_of(data: TypedData, signature: bytes) -> str | None:
    """The address, with its checksum, whose key signed typed data; None when it is no signature.

    Raises:
        ExtraMissing: nothing here can tell.
    """
    try:
        from eth_account import Account
        from eth_account.messages import encode_typed_data
    except ImportError:
        raise ExtraMissing("signatures need the extra commerce", remedy="pip install 'chimera[commerce]'") from None
    if len(signature) != _SIGNATURE_BYTES:
        return None
    try:
        return str(Account.recover_message(encode_typed_data(full_message=data), signature=signature))
    except Exception:  # noqa: BLE001 - whatever the bytes are: they are no signature, and of nobody
        return None
