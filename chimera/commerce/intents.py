"""Payment intents: what a payment is asked for, the bytes that an approval is bound to, and what can become of it.

The payload never changes: :class:`Proposal` is what was asked for, ``digest`` the SHA-256 over it with the intent's id
and its expiry, which the database sets by its own clock. The states and their transitions are data in the database too,
and a trigger there refuses every other change.
"""

import hashlib
import unicodedata
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from chimera.core.errors import InputError
from chimera.core.ids import canonical_id

MOST_TTL_S = 30 * 86_400
_REQUEST, _INTENT = "chimera-request-1", "chimera-intent-1"
_LONGEST = {
    "key": 200,
    "payee": 300,
    "purpose": 2_000,
    "category": 64,
    "agent": 300,
    "pool": 300,
    "team": 300,
    "mission": 300,
    "policy_version": 200,
}
_MAY_BE_EMPTY = ("pool", "team", "mission")


class IntentState(StrEnum):
    """What became of a payment so far."""

    PROPOSED = "proposed"
    SCREENED = "screened"
    REJECTED = "rejected"
    ESCALATED = "escalated"
    APPROVED = "approved"
    RESERVED = "reserved"
    SIGNED = "signed"
    BROADCAST = "broadcast"
    CONFIRMED = "confirmed"
    CAPTURED = "captured"
    DELIVERED = "delivered"
    PAID_UNDELIVERED = "paid_undelivered"
    REFUNDED = "refunded"
    EXPIRED = "expired"
    RELEASED = "released"
    FAILED = "failed"
    UNKNOWN = "unknown"
    QUARANTINED = "quarantined"


_S = IntentState
TRANSITIONS: dict[IntentState, frozenset[IntentState]] = {
    _S.PROPOSED: frozenset({_S.SCREENED, _S.REJECTED, _S.EXPIRED}),
    _S.SCREENED: frozenset({_S.APPROVED, _S.ESCALATED, _S.REJECTED, _S.EXPIRED}),
    _S.ESCALATED: frozenset({_S.APPROVED, _S.REJECTED, _S.EXPIRED}),
    _S.APPROVED: frozenset({_S.RESERVED, _S.REJECTED, _S.EXPIRED}),
    _S.RESERVED: frozenset({_S.SIGNED, _S.RELEASED, _S.EXPIRED}),
    _S.SIGNED: frozenset({_S.BROADCAST, _S.UNKNOWN, _S.QUARANTINED, _S.FAILED}),
    _S.BROADCAST: frozenset({_S.CONFIRMED, _S.UNKNOWN, _S.QUARANTINED, _S.FAILED}),
    _S.UNKNOWN: frozenset({_S.BROADCAST, _S.CONFIRMED, _S.QUARANTINED, _S.FAILED}),
    _S.QUARANTINED: frozenset({_S.BROADCAST, _S.CONFIRMED, _S.FAILED}),
    _S.CONFIRMED: frozenset({_S.CAPTURED, _S.BROADCAST, _S.QUARANTINED}),
    _S.FAILED: frozenset({_S.RELEASED}),
    _S.CAPTURED: frozenset({_S.DELIVERED, _S.PAID_UNDELIVERED, _S.REFUNDED}),
    _S.PAID_UNDELIVERED: frozenset({_S.DELIVERED, _S.REFUNDED}),
    _S.DELIVERED: frozenset({_S.REFUNDED}),
}
"""What each state can become; the table ``intent_transitions`` says the same, and a test compares them."""
FRESH = frozenset({_S.SCREENED, _S.ESCALATED, _S.APPROVED, _S.RESERVED, _S.SIGNED})
"""What an intent becomes only before it expires."""
FINAL = frozenset({_S.REJECTED, _S.EXPIRED, _S.RELEASED, _S.DELIVERED, _S.REFUNDED})
"""Where a payment ends: nothing is held, and nobody has to do anything. What was delivered can still be refunded."""
SPENT = frozenset({_S.CAPTURED, _S.DELIVERED, _S.PAID_UNDELIVERED, _S.REFUNDED})
"""The money went."""
IN_FLIGHT = frozenset({_S.SIGNED, _S.BROADCAST, _S.CONFIRMED, _S.UNKNOWN, _S.QUARANTINED})
"""It is signed: whoever has the signature may use it, so what is held stays held until the chain has said."""


@dataclass(frozen=True)
class Proposal:
    """What is asked for. ``asset`` and ``fee_asset``: ids; ``amount`` and ``fee_cap``: atomic units of those.

    ``chain_id``: that of the asset, said again, so that a wrong chain is noticed. ``ttl_s``: how long the payment may
    be signed. ``key``: the same key is the same payment, whoever asks again.
    """

    tenant: str
    key: str
    payee: str
    asset: str
    chain_id: int | None
    amount: int
    fee_asset: str
    fee_cap: int
    purpose: str
    category: str
    agent: str
    policy_version: str
    ttl_s: int
    pool: str = ""
    team: str = ""
    mission: str = ""

    def request(self) -> bytes:
        """The digest of what is asked for, by which a repeated request is known."""
        return digest_of(
            _REQUEST,
            self.tenant,
            self.key,
            self.payee,
            self.asset,
            "" if self.chain_id is None else str(self.chain_id),
            str(self.amount),
            self.fee_asset,
            str(self.fee_cap),
            self.purpose,
            self.category,
            self.agent,
            self.pool,
            self.team,
            self.mission,
            self.policy_version,
            str(self.ttl_s),
        )

    def plain(self) -> dict[str, Any]:
        """The proposal as JSON data; units as text, as they may be larger than a JSON number holds exactly."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**found, "amount": str(self.amount), "fee_cap": str(self.fee_cap)}


def mission_id_of(mission: str) -> str | None:
    """The mission on whose record a payment is; one may be for something that has another kind of name."""
    try:
        return canonical_id(mission)
    except InputError:
        return None


@dataclass(frozen=True)
class Intent:
    """A proposal that is written down: its id, expiry and digest, and the state that it is in."""

    id: str
    asked: Proposal
    expires_at: datetime
    digest: bytes
    state: IntentState
    moved_by: str
    why: str
    created_at: datetime
    moved_at: datetime

    @property
    def mission_id(self) -> str | None:
        """The mission that the payment is for, if it is for one."""
        return mission_id_of(self.asked.mission)

    def computed(self) -> bytes:
        """The digest, computed from what the intent says; it differs from ``digest`` where a row was tampered with."""
        return digest_of(_INTENT, self.id, self.asked.request().hex(), str(int(self.expires_at.timestamp())))

    def plain(self) -> dict[str, Any]:
        """The intent as JSON data."""
        return {
            "id": self.id,
            **self.asked.plain(),
            "expires_at": self.expires_at.isoformat(),
            "digest": self.digest.hex(),
            "state": str(self.state),
            "moved_by": self.moved_by,
            "why": self.why,
            "created_at": self.created_at.isoformat(),
            "moved_at": self.moved_at.isoformat(),
        }


def digest_of(*parts: str) -> bytes:
    """SHA-256 of texts, each with its length in bytes before it: no two lists of texts are the same bytes."""
    encoded = [part.encode() for part in parts]
    return hashlib.sha256(b",".join(b"%d:%s" % (len(part), part) for part in encoded)).digest()


def check_proposal(asked: Proposal) -> None:
    """Let a proposal pass whose texts and times can be written down; amounts are checked with their assets.

    Raises:
        InputError: which field cannot be, and why.
    """
    for name, longest in _LONGEST.items():
        _check_text(name, getattr(asked, name), longest, may_be_empty=name in _MAY_BE_EMPTY)
    _check_text("tenant", asked.tenant, 64)
    if isinstance(asked.ttl_s, bool) or not 1 <= asked.ttl_s <= MOST_TTL_S:
        raise InputError(f"a payment may wait 1 to {MOST_TTL_S:,} seconds, not {asked.ttl_s}")


def _check_text(name: str, text: object, longest: int, *, may_be_empty: bool = False) -> None:
    if not isinstance(text, str) or len(text) > longest or not (may_be_empty or text.strip()):
        raise InputError(
            f"the {name} of a payment is {'at most' if may_be_empty else '1 to'} {longest:,} characters of text",
            remedy=f"Say the {name} in words." if name == "purpose" else "Check the field that the message names.",
        )
    if any(unicodedata.category(char) in ("Cc", "Cs", "Cf", "Co") and char not in "\n\t" for char in text):
        raise InputError(f"the {name} of a payment has characters that nobody sees", remedy="Take them out.")
