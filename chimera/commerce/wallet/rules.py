"""What the signer signs: a payment that the CFO signed, word for word, within its fee cap, once.

Whoever asks is not trusted: the digest of the payment is computed here, the approval is checked against it and
against the CFO's address, which was given to the signer when it was started, and the transaction is made here from
typed fields.
"""

import re
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from typing import Any

from chimera.commerce.intents import Intent
from chimera.commerce.wallet.approval import Approval, signer_of, typed_data
from chimera.commerce.wallet.authorizing import MOST_VALID_S, AuthorizeRequest, authorization_data
from chimera.commerce.wallet.book import Entry, SignedBook
from chimera.commerce.wallet.calldata import Moves, read_transaction, transfer_call
from chimera.commerce.wallet.keys import Keys
from chimera.commerce.wallet.request import Gas, Signed, SignRequest
from chimera.core.errors import SignerRefused

_ASSET = re.compile(r"eip155:([1-9][0-9]{0,18})/(?:native|erc20:(0x[0-9a-f]{40}))")
COIN_GAS = 21_000
"""Gas of a payment in the chain's own coin to an address without code; no other one is signed."""
TOKEN_GAS = 200_000
"""The most gas for a transfer of a token."""
_NONCE_END = 2**63
_ZERO = "0x" + "0" * 40


@dataclass(frozen=True)
class Trusted:
    """What the signer was started with: addresses whose approvals count, and ids of chains to pay on."""

    cfo: Collection[str]
    chains: Collection[int]


def at_least(fee: int) -> int:
    """The least fee with which a transaction replaces one that paid ``fee``: 12.5 % more, rounded up."""
    return -(-fee * 9 // 8)


class PaymentSigner:
    """Decides and signs. ``now``: seconds since 1970."""

    def __init__(self, keys: Keys, book: SignedBook, trusted: Trusted, now: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._book = book
        self._trusted = trusted
        self._now = now

    def address(self, tenant: str, agent: str) -> str:
        """The address of an agent's wallet."""
        return self._keys.address(tenant, agent)

    def sign_payment(self, request: SignRequest) -> Signed:
        """The transaction of a payment: a new one, the same one again, or one with more gas for the same nonce.

        Raises:
            SignerRefused: why not.
        """
        intent, asked = request.intent, request.intent.asked
        if self._book.authorized(intent.digest) is not None:
            raise SignerRefused(f"payment {intent.id} is made by an authorisation, and not by a transaction too")
        check_approval(request.approval, intent, self._trusted)
        token = _token_of(intent)
        sender = self._keys.address(asked.tenant, asked.agent)
        _check_payee(asked.payee, sender, token)
        _check_gas(request.gas, asked.fee_cap, token)
        if (before := self._book.get(intent.digest)) is not None:
            if request.gas == before.gas and request.nonce == before.nonce:
                return _signed(before)
            _check_replacing(before, request)
        elif request.approval.expiry <= self._now():
            raise SignerRefused(f"the approval of payment {intent.id} has expired")
        if not 0 <= request.nonce < _NONCE_END:
            raise SignerRefused("a nonce is a whole number")
        if before is None:
            self._check_nonce(request, sender)
        entry = self._make(request, sender, token)
        self._book.put(entry)
        return _signed(entry)

    def sign_authorization(self, request: AuthorizeRequest) -> bytes:
        """The signature under the one authorisation (EIP-3009) of a payment in a token, or under its cancellation.

        Raises:
            SignerRefused: why not.
        """
        intent, asked = request.intent, request.intent.asked
        check_approval(request.approval, intent, self._trusted)
        token = _token_of(intent)
        if token is None:
            raise SignerRefused("only tokens are paid by an authorisation")
        sender = self._keys.address(asked.tenant, asked.agent)
        _check_payee(asked.payee, sender, token)
        if self._book.get(intent.digest) is not None:
            raise SignerRefused(f"payment {intent.id} is made by a transaction, and not by an authorisation too")
        told = (request.valid_before, request.name, request.version)
        before = self._book.authorized(intent.digest)
        if before is None and not request.cancel:
            if not self._now() < request.valid_before <= min(self._now() + MOST_VALID_S, request.approval.expiry):
                raise SignerRefused(
                    f"an authorisation is good for at most {MOST_VALID_S} s, and as long as the payment"
                )
            self._book.put_authorized(intent.digest, *told)
        elif before is not None and before != told:
            same = {"valid_before": before[0]} if before[1:] == told[1:] else None
            raise SignerRefused(f"payment {intent.id} has another authorisation", before=same)
        return self._keys.sign_typed(asked.tenant, asked.agent, authorization_data(request, sender, token))

    def _check_nonce(self, request: SignRequest, sender: str) -> None:
        """Keep a nonce for the payment that was signed with it, as long as that can come back for it."""
        chain_id, free, now = request.approval.chain_id, request.nonce, self._now()
        while self._book.is_kept(chain_id, sender, free, now):
            free += 1
        if free != request.nonce:
            raise SignerRefused(f"nonce {request.nonce} of {sender} is that of another payment", free=free)

    def _make(self, request: SignRequest, sender: str, token: str | None) -> Entry:
        """Build the transaction, read it back, sign it, and read that back too."""
        asked, gas = request.intent.asked, request.gas
        assert asked.chain_id is not None  # noqa: S101 - _token_of has seen to it
        built: dict[str, Any] = {
            "type": 2,
            "chainId": asked.chain_id,
            "nonce": request.nonce,
            "to": bytes.fromhex((token or asked.payee)[2:]),
            "value": 0 if token else asked.amount,
            "data": transfer_call(asked.payee, asked.amount) if token else b"",
            "gas": gas.limit,
            "maxFeePerGas": gas.max_fee,
            "maxPriorityFeePerGas": gas.priority,
            "accessList": [],
        }
        meant = Moves(token, asked.payee.lower(), asked.amount)
        if read_transaction(built) != meant:
            raise SignerRefused("the transaction is not the payment")
        raw = self._keys.sign(asked.tenant, asked.agent, built)
        if read_raw(raw) != (sender, request.nonce, asked.chain_id, gas, meant):
            raise SignerRefused("what was signed is not the payment")
        return Entry(request.intent.digest, asked.chain_id, sender, request.nonce, gas, raw, request.approval.expiry)


def check_approval(approval: Approval, intent: Intent, trusted: Trusted) -> None:
    """Let a payment pass whose approval is of the CFO and says the same as the payment.

    Raises:
        SignerRefused: it does not.
    """
    asked = intent.asked
    if intent.computed() != intent.digest or approval.intent != intent.digest:
        raise SignerRefused(f"payment {intent.id} is not the one that was approved")
    told = (approval.chain_id, approval.asset, approval.payee, approval.amount, approval.fee_cap)
    told_too = (approval.policy_version, approval.expiry)
    if told != (asked.chain_id, asked.asset, asked.payee, asked.amount, asked.fee_cap) or told_too != (
        asked.policy_version,
        int(intent.expires_at.timestamp()),
    ):
        raise SignerRefused(f"the approval of payment {intent.id} says something else than the payment")
    if signer_of(typed_data(approval), approval.signature) not in trusted.cfo:
        raise SignerRefused(f"the approval of payment {intent.id} is not signed by the CFO")
    if asked.chain_id not in trusted.chains:
        raise SignerRefused(f"chain {asked.chain_id} is not one to pay on")


def read_raw(raw: bytes) -> tuple[str, int, int, Gas, Moves]:
    """Who signed a raw transaction of type 2, its nonce, chain and gas, and what it moves.

    Raises:
        SignerRefused: it is none, or does anything else than to pay.
    """
    from eth_account import Account
    from eth_account.typed_transactions.typed_transaction import TypedTransaction
    from hexbytes import HexBytes

    try:
        fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        sender = str(Account.recover_transaction(raw))
    except Exception as error:  # noqa: BLE001 - whatever the bytes are: they are no transaction of ours
        raise SignerRefused(f"no transaction: {type(error).__name__}") from None
    gas = Gas(int(fields["gas"]), int(fields["maxFeePerGas"]), int(fields["maxPriorityFeePerGas"]))
    return sender, int(fields["nonce"]), int(fields["chainId"]), gas, read_transaction(fields)


def _token_of(intent: Intent) -> str | None:
    """The address of the token that is paid, in lower case; None for the chain's own coin."""
    asked = intent.asked
    match = _ASSET.fullmatch(asked.asset)
    if match is None or int(match[1]) != asked.chain_id:
        raise SignerRefused(f"{asked.asset[:80]!r} is nothing that can be paid with on chain {asked.chain_id}")
    if asked.fee_cap and asked.fee_asset != f"eip155:{asked.chain_id}/native":
        raise SignerRefused("fees are paid in the chain's own coin, and the payment holds another asset for them")
    return match[2]


def _check_payee(payee: str, sender: str, token: str | None) -> None:
    from eth_utils.address import is_checksum_address

    if not is_checksum_address(payee):
        raise SignerRefused(f"{payee[:60]!r} is no address with its checksum (EIP-55)")
    if payee.lower() in (_ZERO, sender.lower(), token):
        raise SignerRefused(f"{payee} is nobody to pay")


def _check_gas(gas: Gas, fee_cap: int, token: str | None) -> None:
    if not 0 < gas.priority <= gas.max_fee or gas.limit < COIN_GAS:
        raise SignerRefused("fees are above zero, and the tip is at most all of it")
    if gas.limit > (TOKEN_GAS if token else COIN_GAS):
        raise SignerRefused(f"{gas.limit:,} gas is more than a payment needs")
    if gas.most > fee_cap:
        raise SignerRefused(f"it could cost {gas.most} in fees, and the payment allows {fee_cap}")


def _check_replacing(before: Entry, request: SignRequest) -> None:
    """Let a transaction replace the one before: the same nonce, and at least 12.5 % more on both fees."""
    gas, old = request.gas, before.gas
    told = {"nonce": before.nonce, **{name: str(value) for name, value in asdict(old).items()}}
    if request.nonce != before.nonce:
        raise SignerRefused(
            f"payment {request.intent.id} was signed with nonce {before.nonce}, and is not with another one",
            before=told,
        )
    if gas.max_fee < at_least(old.max_fee) or gas.priority < at_least(old.priority) or gas.limit != old.limit:
        raise SignerRefused(
            "a transaction is replaced by one with 12.5 % more on both of its fees, and no other change", before=told
        )


def _signed(entry: Entry) -> Signed:
    from eth_utils.crypto import keccak

    return Signed(entry.raw, "0x" + keccak(entry.raw).hex(), entry.sender, entry.nonce, entry.gas)
