"""What the CFO signs for a payment out of a vault, as EIP-712 typed data that the contract reads too.

It is another signature than the one that lets a wallet pay, with the vault and the chain in its domain: neither stands
for the other, and none is good for a second vault. ``intent`` is the digest of the payment, which binds everything that
was asked for.
"""

from dataclasses import dataclass
from typing import Any

from chimera.commerce.assets import Asset
from chimera.commerce.intents import Intent
from chimera.commerce.vault.contracts import keccak
from chimera.core.errors import InputError, VaultRefused

DOMAIN_NAME = "Chimera SpendVault"
DOMAIN_VERSION = "1"
COIN = "0x" + "00" * 20
"""The address that stands for the chain's own coin."""
_DOMAIN = [
    {"name": "name", "type": "string"},
    {"name": "version", "type": "string"},
    {"name": "chainId", "type": "uint256"},
    {"name": "verifyingContract", "type": "address"},
]
_PAYMENT = [
    {"name": "intent", "type": "bytes32"},
    {"name": "asset", "type": "address"},
    {"name": "payee", "type": "address"},
    {"name": "amount", "type": "uint256"},
    {"name": "feeCap", "type": "uint256"},
    {"name": "policy", "type": "bytes32"},
    {"name": "expiry", "type": "uint256"},
]
_SIGNATURE_BYTES = 65
_V = (27, 28)


@dataclass(frozen=True)
class VaultPayment:
    """A payment as a vault reads it. ``asset``: a token's address, or :data:`COIN`; ``policy``: :func:`policy_mark`."""

    intent: bytes
    asset: str
    payee: str
    amount: int
    fee_cap: int
    policy: bytes
    expiry: int

    def fields(self) -> tuple[Any, ...]:
        """The fields in the contract's order."""
        return (self.intent, self.asset, self.payee, self.amount, self.fee_cap, self.policy, self.expiry)


def policy_mark(version: str) -> bytes:
    """A version of the policy as the vault knows it."""
    return keccak(version.encode())


def vault_payment(intent: Intent, asset: Asset) -> VaultPayment:
    """A payment as it is paid out of a vault.

    Raises:
        InputError: it is of another asset, or not on a chain.
    """
    asked = intent.asked
    if asked.asset != asset.id or asset.chain_id is None:
        raise InputError(
            f"payment {intent.id} is not of {asset.id} on a chain", remedy="Give the asset of the payment."
        )
    return VaultPayment(
        intent=intent.digest,
        asset=asset.address or COIN,
        payee=asked.payee,
        amount=asked.amount,
        fee_cap=asked.fee_cap,
        policy=policy_mark(asked.policy_version),
        expiry=int(intent.expires_at.timestamp()),
    )


def typed_data(payment: VaultPayment, vault: str, chain_id: int) -> dict[str, Any]:
    """The payment as the typed data that the CFO's key signs (``eth_signTypedData_v4``)."""
    return {
        "types": {"EIP712Domain": _DOMAIN, "Payment": _PAYMENT},
        "primaryType": "Payment",
        "domain": {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": chain_id,
            "verifyingContract": vault,
        },
        "message": {
            "intent": payment.intent,
            "asset": payment.asset,
            "payee": payment.payee,
            "amount": payment.amount,
            "feeCap": payment.fee_cap,
            "policy": payment.policy,
            "expiry": payment.expiry,
        },
    }


def signature_parts(signature: bytes) -> tuple[int, bytes, bytes]:
    """A signature of 65 bytes (r, s, v) as the contract takes it: v, r, s.

    Raises:
        VaultRefused: it is none.
    """
    if len(signature) != _SIGNATURE_BYTES or signature[64] not in _V:
        raise VaultRefused("the approval has no signature of 65 bytes")
    return signature[64], signature[:32], signature[32:64]
