"""What the signer is asked and what it answers, as JSON in frames: four bytes of length, then that many of UTF-8.

There are three calls: ``address``, ``sign_payment`` and ``sign_authorization`` (``authorizing.py``). None takes a hash,
a message or call data.
"""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from chimera.commerce.intents import Intent, IntentState, Proposal
from chimera.commerce.wallet.approval import Approval, SignedApproval
from chimera.core.errors import SignerRefused

MOST_BYTES = 65_536
LENGTH_BYTES = 4
_UNITS = ("amount", "fee_cap")


@dataclass(frozen=True)
class Gas:
    """What a transaction may cost: ``limit`` units of gas, each at most ``max_fee``, ``priority`` of that as a tip."""

    limit: int
    max_fee: int
    priority: int

    @property
    def most(self) -> int:
        """Atomic units of the chain's coin that it costs at most."""
        return self.limit * self.max_fee


@dataclass(frozen=True)
class SignRequest:
    """A payment to sign, its approval, and the two things that are decided when it is made: nonce and gas."""

    intent: Intent
    approval: Approval
    nonce: int
    gas: Gas


@dataclass(frozen=True)
class Signed:
    """A signed transaction. ``hash``: 0x and 64 digits; ``nonce`` and ``gas``: those that it was signed with."""

    raw: bytes
    hash: str
    sender: str
    nonce: int
    gas: Gas


def frame(message: Mapping[str, Any]) -> bytes:
    """A message with its length before it.

    Raises:
        SignerRefused: it is too long.
    """
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MOST_BYTES:
        raise SignerRefused("a request to the signer is too long")
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def write_request(request: SignRequest) -> dict[str, Any]:
    """A request as JSON data."""
    gas = {name: str(value) for name, value in asdict(request.gas).items()}
    paid = write_paid(request.intent, request.approval)
    return {"call": "sign_payment", **paid, "nonce": request.nonce, "gas": gas}


def write_paid(intent: Intent, approval: Approval) -> dict[str, Any]:
    """A payment and its approval as JSON data."""
    return {
        "id": intent.id,
        "asked": intent.asked.plain(),
        "expires_at": int(intent.expires_at.timestamp()),
        "approval": {
            "intent": approval.intent.hex(),
            "chain_id": approval.chain_id,
            "asset": approval.asset,
            "payee": approval.payee,
            "amount": str(approval.amount),
            "fee_cap": str(approval.fee_cap),
            "policy_version": approval.policy_version,
            "expiry": approval.expiry,
            "signature": approval.signature.hex(),
        },
    }


def read_request(message: Mapping[str, Any]) -> SignRequest:
    """The request that JSON data holds. The digest of the payment is computed, never taken from it.

    Raises:
        SignerRefused: it holds none, or more than one needs.
    """
    with refusing(message, {"nonce", "gas"}):
        intent, approval = read_paid(message)
        gas = {name: _units(message["gas"][name]) for name in ("limit", "max_fee", "priority")}
        return SignRequest(intent, approval, whole(message["nonce"]), Gas(**gas))


def read_paid(message: Mapping[str, Any]) -> tuple[Intent, SignedApproval]:
    """The payment and the approval that JSON data holds."""
    blank = datetime.fromtimestamp(0, UTC)
    unsigned = Intent(
        id=text(message["id"]),
        asked=_proposal(message["asked"]),
        expires_at=datetime.fromtimestamp(whole(message["expires_at"]), UTC),
        digest=b"",
        state=IntentState.RESERVED,
        moved_by="",
        why="",
        created_at=blank,
        moved_at=blank,
    )
    return replace(unsigned, digest=unsigned.computed()), _approval(message["approval"])


@contextmanager
def refusing(message: Mapping[str, Any], more: set[str]) -> Generator[None]:
    """Refuse a request that cannot be read, or has other fields than a payment, its approval and ``more``."""
    try:
        if set(message) != {"call", "id", "asked", "expires_at", "approval", *more}:
            raise SignerRefused("a request to the signer has other fields than it should")
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        raise SignerRefused(f"a request to the signer cannot be read: {type(error).__name__}") from None


def write_signed(signed: Signed) -> dict[str, Any]:
    """What was signed as JSON data."""
    gas = {name: str(value) for name, value in asdict(signed.gas).items()}
    return {"raw": signed.raw.hex(), "hash": signed.hash, "sender": signed.sender, "nonce": signed.nonce, "gas": gas}


def read_signed(message: Mapping[str, Any]) -> Signed:
    """What was signed, from JSON data."""
    gas = Gas(**{name: int(value) for name, value in message["gas"].items()})
    return Signed(
        bytes.fromhex(message["raw"]), str(message["hash"]), str(message["sender"]), int(message["nonce"]), gas
    )


def _proposal(asked: Mapping[str, Any]) -> Proposal:
    found: dict[str, Any] = {}
    for each in fields(Proposal):
        value = asked[each.name]
        if each.name in _UNITS:
            found[each.name] = _units(value)
        elif each.name == "ttl_s":
            found[each.name] = whole(value)
        elif each.name == "chain_id":
            found[each.name] = None if value is None else whole(value)
        else:
            found[each.name] = text(value)
    return Proposal(**found)


def _approval(told: Mapping[str, Any]) -> SignedApproval:
    return SignedApproval(
        intent=bytes.fromhex(text(told["intent"])),
        chain_id=whole(told["chain_id"]),
        asset=text(told["asset"]),
        payee=text(told["payee"]),
        amount=_units(told["amount"]),
        fee_cap=_units(told["fee_cap"]),
        policy_version=text(told["policy_version"]),
        expiry=whole(told["expiry"]),
        signature=bytes.fromhex(text(told["signature"])),
    )


def text(value: Any) -> str:
    """A text of a request, and nothing that is none."""
    if not isinstance(value, str):
        raise TypeError
    return value


def whole(value: Any) -> int:
    """A whole number of a request that is not negative, and nothing that is none."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError
    return value


def _units(value: Any) -> int:
    digits = text(value)
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError
    return int(digits)
