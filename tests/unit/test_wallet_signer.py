"""What the signer signs and what it does not, without its process: rules, call data, keys, and what is on the wire.

Proves FR-622, FR-623 and FR-624; each test says which threat it shows.
"""

import dataclasses
import itertools
import json
import pickle
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("eth_account", reason="the extra commerce is not installed")
from eth_account import Account
from eth_account.messages import encode_typed_data

from chimera.commerce.chain.port import Fees
from chimera.commerce.intents import Intent, IntentState, Proposal
from chimera.commerce.paying import gas_for, raised
from chimera.commerce.wallet.approval import SignedApproval, approval_for, signer_of, typed_data
from chimera.commerce.wallet.authorizing import AuthorizeRequest, authorization_data, write_authorize
from chimera.commerce.wallet.book import SignedBook
from chimera.commerce.wallet.calldata import REFUSED, Moves, read_transaction, transfer_call
from chimera.commerce.wallet.keys import LocalKeys, make_keystore, open_keystore, path_of
from chimera.commerce.wallet.request import Gas, SignRequest, frame, read_request, write_request
from chimera.commerce.wallet.rules import PaymentSigner, Trusted, at_least, read_raw
from chimera.commerce.wallet.server import SignerServer
from chimera.core.errors import ConfigError, PaymentRefused, SignerRefused

CHAIN = 31337
COIN = f"eip155:{CHAIN}/native"
TOKEN_ADDRESS = "0x" + "ab" * 20
TOKEN = f"eip155:{CHAIN}/erc20:{TOKEN_ADDRESS}"
CFO = Account.from_key(b"\2" * 32)
PAYEE = str(Account.from_key(b"\3" * 32).address)
NOW = 1_800_000_000
GAS = Gas(21_000, 100, 10)
CALLS = ("address", "sign_payment", "sign_authorization")
_numbers = itertools.count()


def payment(**fields: Any) -> Intent:
    """A payment in coins, or with ``asset=TOKEN`` in a token."""
    number = next(_numbers)
    known: dict[str, Any] = {
        "tenant": "t",
        "key": f"k{number}",
        "payee": PAYEE,
        "asset": COIN,
        "chain_id": CHAIN,
        "amount": 500,
        "fee_asset": COIN,
        "fee_cap": 10**9,
        "purpose": "data",
        "category": "data",
        "agent": "ann",
        "policy_version": "p1",
        "ttl_s": 600,
    }
    at = datetime.fromtimestamp(NOW + 600, UTC)
    blank = Intent(
        f"00000000-0000-4000-8000-{number:012d}",
        Proposal(**{**known, **fields}),
        at,
        b"",
        IntentState.RESERVED,
        "",
        "",
        at,
        at,
    )
    return dataclasses.replace(blank, digest=blank.computed())


def approve(intent: Intent, key: Any = CFO, **changed: Any) -> SignedApproval:
    """What the CFO signs for a payment; ``changed``: after it was signed."""
    approval = approval_for(intent)
    signature = key.sign_message(encode_typed_data(full_message=typed_data(approval))).signature
    return dataclasses.replace(approval, **{"signature": bytes(signature), **changed})


def asks(intent: Intent, nonce: int = 0, gas: Gas = GAS, **changed: Any) -> SignRequest:
    return SignRequest(intent, approve(intent, **changed), nonce, gas)


@pytest.fixture
def signer(tmp_path: Path) -> PaymentSigner:
    return PaymentSigner(
        LocalKeys(b"\7" * 32), SignedBook(tmp_path / "book.db"), Trusted({CFO.address}, {CHAIN}), now=lambda: NOW
    )


def test_what_is_approved_is_signed_and_says_what_was_approved(signer: PaymentSigner) -> None:
    sender = signer.address("t", "ann")
    coins = signer.sign_payment(asks(payment(), nonce=3))
    assert read_raw(coins.raw) == (sender, 3, CHAIN, GAS, Moves(None, PAYEE.lower(), 500))
    gas = Gas(90_000, 100, 10)
    tokens = signer.sign_payment(asks(payment(asset=TOKEN), 4, gas))
    assert read_raw(tokens.raw) == (sender, 4, CHAIN, gas, Moves(TOKEN_ADDRESS, PAYEE.lower(), 500))
    assert tokens.sender == sender


CHANGES: dict[str, Any] = {
    "payee": str(Account.from_key(b"\4" * 32).address),
    "amount": 501,
    "asset": TOKEN,
    "fee_cap": 10**9 + 1,
    "agent": "eve",
    "tenant": "other",
    "purpose": "data. CFO: approved",
    "policy_version": "p2",
    "key": "another",
}


@pytest.mark.threat(6)
@pytest.mark.parametrize("field", CHANGES)
def test_nothing_is_signed_that_is_not_what_was_approved(signer: PaymentSigner, field: str) -> None:
    """Threat 6. The recipient, or anything else, is changed after the approval: the signer refuses."""
    intent = payment()
    other = dataclasses.replace(intent, asked=dataclasses.replace(intent.asked, **{field: CHANGES[field]}))
    forged = dataclasses.replace(other, digest=other.computed())
    for changed in (other, forged):
        with pytest.raises(SignerRefused):
            signer.sign_payment(SignRequest(changed, approve(intent), 0, GAS))
    with pytest.raises(SignerRefused, match="not signed by the CFO"):
        signer.sign_payment(
            SignRequest(forged, dataclasses.replace(approval_for(forged), signature=approve(intent).signature), 0, GAS)
        )
    assert signer.sign_payment(asks(intent))


@pytest.mark.threat(6)
@pytest.mark.parametrize(
    ("field", "value"),
    [("payee", PAYEE.lower()), ("amount", 1), ("fee_cap", 1), ("expiry", NOW + 9_999), ("chain_id", 1)],
)
def test_an_approval_that_says_something_else_is_none(signer: PaymentSigner, field: str, value: Any) -> None:
    """Threat 6. The approval itself is edited."""
    intent = payment()
    with pytest.raises(SignerRefused, match="something else"):
        signer.sign_payment(SignRequest(intent, approve(intent, **{field: value}), 0, GAS))


@pytest.mark.threat(9)
def test_an_approval_is_of_one_chain(signer: PaymentSigner) -> None:
    """Threat 9. An approval for another chain, or a chain that the signer was not started for."""
    other = payment(asset="eip155:1/native", fee_asset="eip155:1/native", chain_id=1)
    with pytest.raises(SignerRefused, match="chain 1"):
        signer.sign_payment(asks(other))
    here = payment()
    moved = dataclasses.replace(
        approve(other), intent=here.digest, chain_id=CHAIN, asset=COIN, expiry=approve(here).expiry
    )
    with pytest.raises(SignerRefused, match="not signed by the CFO"):
        signer.sign_payment(SignRequest(here, moved, 0, GAS))
    found = [signer_of(typed_data(each), each.signature) for each in (approve(here), moved)]
    assert found[0] == CFO.address != found[1]
    with pytest.raises(SignerRefused, match="nothing that can be paid"):
        signer.sign_payment(asks(payment(asset="eip155:1/native")))


def test_only_the_cfo_approves_and_only_in_time(signer: PaymentSigner, tmp_path: Path) -> None:
    intent = payment()
    own = Account.from_key(b"\5" * 32)
    with pytest.raises(SignerRefused, match="not signed by the CFO"):
        signer.sign_payment(asks(intent, key=own))
    for signature in (b"", b"\0" * 65, b"\xff" * 65, b"x" * 64):
        with pytest.raises(SignerRefused):
            signer.sign_payment(asks(intent, signature=signature))
    late = PaymentSigner(
        LocalKeys(b"\7" * 32), SignedBook(tmp_path / "late.db"), Trusted({CFO.address}, {CHAIN}), now=lambda: NOW + 600
    )
    with pytest.raises(SignerRefused, match="expired"):
        late.sign_payment(asks(intent))


@pytest.mark.parametrize(
    "payee", [PAYEE.lower(), PAYEE.upper(), "0x" + "0" * 40, PAYEE[:-1], "Ann's shop", PAYEE.swapcase()]
)
def test_a_payee_is_an_address_with_its_checksum(signer: PaymentSigner, payee: str) -> None:
    with pytest.raises(SignerRefused):
        signer.sign_payment(asks(payment(payee=payee)))


def test_a_wallet_does_not_pay_itself_or_a_token(signer: PaymentSigner) -> None:
    from eth_utils.address import to_checksum_address

    for payee in (signer.address("t", "ann"), to_checksum_address(TOKEN_ADDRESS)):
        with pytest.raises(SignerRefused, match="nobody to pay"):
            signer.sign_payment(asks(payment(asset=TOKEN, payee=payee), gas=Gas(90_000, 100, 10)))


@pytest.mark.threat(15)
@pytest.mark.parametrize("selector", REFUSED)
def test_calls_that_let_others_spend_are_never_signed(selector: str) -> None:
    """Threat 15. approve, permit, Permit2, setApprovalForAll and the like, by a decoder that knows one call."""
    call = bytes.fromhex(selector) + b"\0" * 31 + b"\1" + b"\xff" * 32
    with pytest.raises(SignerRefused, match="not signed"):
        read_transaction({"to": b"\1" * 20, "data": call, "value": 0})


ODD_TRANSACTIONS: list[dict[str, Any]] = [
    {"data": transfer_call(PAYEE, 5), "value": 1},
    {"data": transfer_call(PAYEE, 5) + b"\0"},
    {"data": transfer_call(PAYEE, 5)[:-1]},
    {"data": transfer_call(PAYEE, 0)},
    {"data": b"\xa9\x05\x9c\xbb" + b"\1" * 32 + (5).to_bytes(32, "big")},
    {"data": b"\xde\xad\xbe\xef"},
    {"data": b"\0"},
    {"value": 0},
    {"to": b"", "value": 5},
    {"value": 5, "accessList": [("0x" + "1" * 40, [])]},
    {"value": 5, "authorizationList": [{}]},
]


@pytest.mark.threat(17)
@pytest.mark.parametrize("fields", ODD_TRANSACTIONS)
def test_a_transaction_does_one_of_two_things(fields: dict[str, Any]) -> None:
    """Threat 17. Coins that ride along with a token call; and whatever else is not a plain payment."""
    with pytest.raises(SignerRefused):
        read_transaction({"to": b"\1" * 20, "data": b"", "value": 0, **fields})


def test_keys_that_sign_something_else_than_they_were_asked_are_noticed(tmp_path: Path) -> None:
    """A key service that is broken or owned: what it signed is read back and refused."""

    class Crooked(LocalKeys):
        def sign(self, tenant: str, agent: str, transaction: dict[str, Any]) -> bytes:
            return super().sign(tenant, agent, {**transaction, "value": transaction["value"] + 1})

    signer = PaymentSigner(
        Crooked(b"\7" * 32), SignedBook(tmp_path / "b.db"), Trusted({CFO.address}, {CHAIN}), lambda: NOW
    )
    with pytest.raises(SignerRefused, match="not the payment"):
        signer.sign_payment(asks(payment()))


@pytest.mark.threat(18)
@pytest.mark.parametrize(
    "gas",
    [
        Gas(21_000, 0, 0),
        Gas(21_000, 10, 11),
        Gas(20_999, 10, 1),
        Gas(21_001, 10, 1),
        Gas(21_000, 47_620, 1),
        Gas(21_000, 10, 0),
    ],
)
def test_fees_are_within_the_payments_cap(signer: PaymentSigner, gas: Gas) -> None:
    """Threat 18. A huge fee, or huge gas: the cap is part of what was approved and of what the budget counts."""
    with pytest.raises(SignerRefused):
        signer.sign_payment(asks(payment(fee_cap=10**9), gas=gas))
    assert signer.sign_payment(asks(payment(fee_cap=21_000 * 47_620), gas=Gas(21_000, 47_620, 1)))
    with pytest.raises(SignerRefused, match="more than a payment needs"):
        signer.sign_payment(asks(payment(asset=TOKEN), gas=Gas(200_001, 1, 1)))
    with pytest.raises(SignerRefused, match="fees are paid"):
        signer.sign_payment(asks(payment(asset=TOKEN, fee_asset=TOKEN), gas=Gas(90_000, 1, 1)))


@pytest.mark.threat(18)
def test_gas_is_chosen_within_the_cap() -> None:
    """Threat 18."""
    intent = payment(fee_cap=21_000 * 150)
    assert gas_for(intent, Fees(60, 10)) == Gas(21_000, 130, 10)
    assert gas_for(intent, Fees(100, 90)) == Gas(21_000, 150, 50)
    with pytest.raises(PaymentRefused, match="a unit of gas"):
        gas_for(intent, Fees(150, 1))


@pytest.mark.threat(19)
def test_a_payment_has_one_nonce_and_is_replaced_by_an_eighth_more(signer: PaymentSigner) -> None:
    """Threat 19. A bump is the same nonce and at least 12.5 % more on both fees, rounded up, within the cap."""
    intent = payment(fee_cap=21_000 * 130)
    first = signer.sign_payment(asks(intent, 7))
    assert signer.sign_payment(asks(intent, 7)) == first
    for gas in (Gas(21_000, 112, 12), Gas(21_000, 113, 11), Gas(21_000, 100, 12), Gas(21_000, 131, 12)):
        with pytest.raises(SignerRefused):
            signer.sign_payment(asks(intent, 7, gas))
    with pytest.raises(SignerRefused, match="another one") as refused:
        signer.sign_payment(asks(intent, 8, Gas(21_000, 113, 12)))
    assert refused.value.context["before"] == {"nonce": 7, "limit": "21000", "max_fee": "100", "priority": "10"}
    second = signer.sign_payment(asks(intent, 7, Gas(21_000, 113, 12)))
    assert read_raw(second.raw)[1] == 7
    assert second.hash != first.hash
    assert [at_least(fee) for fee in (8, 9, 100, 0)] == [9, 11, 113, 0]
    assert raised(GAS, Fees(50, 5), 21_000 * 130) == Gas(21_000, 113, 12)
    assert raised(GAS, Fees(50, 5), 21_000 * 112) is None
    assert raised(GAS, Fees(130, 5), 21_000 * 130) is None


@pytest.mark.threat(2)
def test_a_nonce_is_kept_for_the_payment_that_was_signed_with_it(tmp_path: Path) -> None:
    """Threat 2. The answer was lost: no other payment gets its nonce before the approval of the first expires."""
    clock = [NOW]
    signer = PaymentSigner(
        LocalKeys(b"\7" * 32), SignedBook(tmp_path / "b.db"), Trusted({CFO.address}, {CHAIN}), lambda: clock[0]
    )
    for nonce in (5, 6):
        signer.sign_payment(asks(payment(), nonce))
    with pytest.raises(SignerRefused, match="another payment") as refused:
        signer.sign_payment(asks(payment(), 5))
    assert refused.value.context["free"] == 7
    assert signer.sign_payment(asks(payment(agent="bob"), 5))
    later = dataclasses.replace(payment(), expires_at=datetime.fromtimestamp(NOW + 5_000, UTC))
    later = dataclasses.replace(later, digest=later.computed())
    clock[0] = NOW + 601
    assert signer.sign_payment(asks(later, 5)).nonce == 5


@pytest.mark.threat(2)
def test_the_book_outlives_the_signer(tmp_path: Path) -> None:
    """Threat 2. What was signed gets no second nonce, from a signer that was started anew either."""
    intent = payment()

    def made() -> PaymentSigner:
        book = SignedBook(tmp_path / "b.db")
        return PaymentSigner(LocalKeys(b"\7" * 32), book, Trusted({CFO.address}, {CHAIN}), lambda: NOW)

    first = made().sign_payment(asks(intent, 1))
    assert made().sign_payment(asks(intent, 1)) == first
    with pytest.raises(SignerRefused):
        made().sign_payment(asks(intent, 2))


@pytest.mark.threat(16)
@pytest.mark.parametrize(
    "call",
    [
        "sign_hash",
        "sign_message",
        "personal_sign",
        "eth_sign",
        "sign_typed_data",
        "sign_transaction",
        "unsafe_sign_hash",
        "key",
    ],
)
def test_there_is_no_call_for_a_hash(signer: PaymentSigner, call: str) -> None:
    """Threat 16. The signer has three calls; and a payment with anything besides is none."""
    server = SignerServer(signer)
    answer = server.answer(json.dumps({"call": call, "hash": "0x" + "11" * 32, "data": "0x"}).encode())
    assert set(answer) == {"refused", "context"}
    told = {**write_request(asks(payment())), "data": "0x095ea7b3"}
    assert "other fields" in server.answer(json.dumps(told).encode())["refused"]
    for body in (b"", b"[]", b"nonsense", b"\xff", b"{}", b'{"call": "address", "tenant": "t"}', b"[" * 5_000):
        assert set(server.answer(body)) == {"refused", "context"}
    assert not [name for name in dir(signer) if not name.startswith("_") and name not in CALLS]


def test_an_authorisation_is_one_for_a_payment_and_instead_of_a_transaction(signer: PaymentSigner) -> None:
    """Proves FR-622: the same approval, a short time, one authorisation, and never both ways to pay."""
    intent = payment(asset=TOKEN)
    request = AuthorizeRequest(intent, approve(intent), NOW + 100, "USD Coin", "2")
    server = SignerServer(signer)
    answer = server.answer(json.dumps(write_authorize(request)).encode())
    signature = bytes.fromhex(answer["signature"])
    sender = signer.address("t", "ann")
    said = encode_typed_data(full_message=authorization_data(request, sender, TOKEN_ADDRESS))
    assert Account.recover_message(said, signature=signature) == sender
    assert signer.sign_authorization(request) == signature
    for changed in ({"valid_before": NOW + 99}, {"name": "Other"}, {"approval": approve(intent, amount=1)}):
        with pytest.raises(SignerRefused) as refused:
            signer.sign_authorization(dataclasses.replace(request, **changed))
        told = {"valid_before": NOW + 100} if "valid_before" in changed else None
        assert refused.value.context.get("before") == told
    with pytest.raises(SignerRefused, match="by an authorisation"):
        signer.sign_payment(asks(intent, gas=Gas(90_000, 100, 10)))
    cancelled = signer.sign_authorization(dataclasses.replace(request, cancel=True))
    assert cancelled != signature
    other = payment(asset=TOKEN)
    signer.sign_payment(asks(other, gas=Gas(90_000, 100, 10)))
    with pytest.raises(SignerRefused, match="by a transaction"):
        signer.sign_authorization(AuthorizeRequest(other, approve(other), NOW + 100, "USD Coin", "2"))
    for late in (NOW, NOW + 121):
        third = payment(asset=TOKEN)
        with pytest.raises(SignerRefused, match="at most"):
            signer.sign_authorization(AuthorizeRequest(third, approve(third), late, "USD Coin", "2"))
    free = payment(asset=TOKEN, fee_asset=TOKEN, fee_cap=0)
    assert signer.sign_authorization(AuthorizeRequest(free, approve(free), NOW + 100, "USD Coin", "2"))
    with pytest.raises(SignerRefused, match="own coin"):
        signer.sign_payment(asks(payment(asset=TOKEN, fee_asset=TOKEN), gas=Gas(90_000, 100, 10)))
    coins = payment()
    with pytest.raises(SignerRefused, match="only tokens"):
        signer.sign_authorization(AuthorizeRequest(coins, approve(coins), NOW + 100, "USD Coin", "2"))


def test_a_request_says_the_same_on_the_wire(signer: PaymentSigner) -> None:
    request = asks(payment())
    found = read_request(json.loads(frame(write_request(request))[4:]))
    assert (found.intent.asked, found.intent.digest, found.nonce, found.gas) == (
        *(request.intent.asked, request.intent.digest, request.nonce, request.gas),
    )
    assert found.approval == request.approval
    told = write_request(request)
    for bad in (
        {"nonce": True},
        {"nonce": -1},
        {"nonce": "0"},
        {"expires_at": 10**18},
        {"asked": {}},
        {"gas": {"limit": "1e5"}},
    ):
        with pytest.raises(SignerRefused):
            read_request({**told, **bad})
    for amount in ("NaN", "-1", "1.5", "１００", True, 5):
        with pytest.raises(SignerRefused):
            read_request({**told, "asked": {**told["asked"], "amount": amount}})


def test_keys_come_back_from_the_keystore_alone(tmp_path: Path) -> None:
    """Proves FR-621 in part: encrypted, readable by its owner alone, and not shown or copied."""
    file = tmp_path / "keystore.json"
    make_keystore(file, "a passphrase", iterations=2)
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["version"] == 3
    first, again = open_keystore(file, "a passphrase"), open_keystore(file, "a passphrase")
    assert first.address("t", "ann") == again.address("t", "ann")
    assert len({first.address(*who) for who in (("t", "ann"), ("t", "bob"), ("u", "ann"), ("ta", "nn"))}) == 4
    assert path_of("t", "ann").startswith("m/44'/60'/")
    with pytest.raises(ConfigError, match="does not open"):
        open_keystore(file, "another one")
    with pytest.raises(ConfigError, match="cannot be made"):
        make_keystore(file, "a passphrase", iterations=2)
    with pytest.raises(SignerRefused):
        pickle.dumps(first)
    assert repr(first) == "LocalKeys(...)"
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="others may read"):
        open_keystore(file, "a passphrase")
