"""The vault on a real EVM: what it pays, and that it pays nothing else, whoever asks.

Proves FR-661 to FR-664; each test says which threat it shows. The agent's host is lost in all of them: the agent's key
signs the transactions.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from chimera.commerce.vault.approval import COIN, policy_mark, signature_parts
from chimera.commerce.vault.calls import REFUSALS, Change, Kind, Setting, change_name, refusal
from chimera.core.errors import VaultRefused

if TYPE_CHECKING:
    from tests.integration.vault.conftest import Scene  # noqa: TID251 - its type alone

DAY, WINDOW, DELAY = 86_400, 24 * 600, 3_600
HALF = 57896044618658097711785492504343953926418782139537452191302581570759080747168
ORDER = 2 * HALF + 1


@pytest.mark.threat(8)
def test_what_the_cfo_signed_is_paid_once(scene: "Scene") -> None:
    """Proves FR-661. Threat 8: the same approval pays once, whatever else is sent along."""
    payment = scene.payment(700)
    signature = scene.sign(payment)
    assert scene.pay(payment, signature).ok
    assert scene.has(scene.shop.address) == 700
    assert scene.pay(payment, signature).reason == "replay"
    again = replace(payment, amount=1)
    assert scene.pay(again).reason == "replay", "a second approval of the same payment pays nothing either"
    assert scene.has(scene.shop.address) == 700
    assert scene.spent(scene.token) == 700


def test_coins_are_paid_like_tokens(scene: "Scene") -> None:
    """Proves FR-661."""
    before = scene.evm.coins(scene.shop.address)
    assert scene.pay(scene.payment(10**15, asset=COIN)).ok
    assert scene.evm.coins(scene.shop.address) - before == 10**15
    assert scene.pay(scene.payment(10**15 + 1, asset=COIN)).reason == "payment limit"


CHANGED: dict[str, Any] = {
    "intent": b"\x07" * 32,
    "asset": COIN,
    "amount": 101,
    "fee_cap": 10**15 + 1,
    "policy": policy_mark("p2"),
    "expiry": 2**40,
}


@pytest.mark.threat(7)
@pytest.mark.parametrize("field", [*CHANGED, "payee"])
def test_nothing_that_was_signed_can_be_changed(scene: "Scene", field: str) -> None:
    """Proves FR-661. Threat 7: a payment that was changed after its approval is not paid."""
    payment = scene.payment()
    signature = scene.sign(payment)
    changed = replace(payment, **{field: CHANGED.get(field, scene.other.address)})
    assert scene.pay(changed, signature).reason == "cfo"
    assert scene.pay(payment, signature).ok


@pytest.mark.threat(9)
def test_an_approval_is_good_for_one_vault_on_one_chain(scene: "Scene") -> None:
    """Proves FR-661. Threat 9: an approval for another chain, or another vault, pays nothing here."""
    payment = scene.payment()
    assert scene.pay(payment, scene.sign(payment, chain_id=1)).reason == "cfo"
    assert scene.pay(payment, scene.sign(payment, vault=scene.token)).reason == "cfo"


@pytest.mark.threat(10)
def test_nobody_but_the_cfo_approves_and_nobody_but_the_agent_pays(scene: "Scene") -> None:
    """Proves FR-661. Threat 10: the agent cannot approve itself, and no other sender pays."""
    payment = scene.payment()
    for person in (scene.agent, scene.owner, scene.guardian, scene.stranger):
        assert scene.pay(payment, scene.sign(payment, person)).reason == "cfo"
    for person in (scene.owner, scene.cfo, scene.guardian, scene.stranger):
        assert scene.pay(payment, by=person).reason == "agent"


def test_a_signature_has_one_form(scene: "Scene") -> None:
    """Proves FR-661: the other signature that follows from a signature, and bytes that are none, are refused."""
    payment = scene.payment()
    v, r, s = signature_parts(scene.sign(payment))
    other = r + (ORDER - int.from_bytes(s, "big")).to_bytes(32, "big") + bytes([55 - v])
    assert scene.pay(payment, other).reason == "cfo"
    assert scene.pay(payment, bytes(64) + b"\x1b").reason == "cfo"
    with pytest.raises(VaultRefused):
        scene.calls.pay(payment, b"short")


@pytest.mark.threat(11)
def test_an_approval_expires(scene: "Scene") -> None:
    """Proves FR-661. Threat 11."""
    payment = scene.payment(expiry=scene.evm.now + 50)
    signature = scene.sign(payment)
    assert scene.pay(payment, signature, at=payment.expiry + 1).reason == "expired"
    payment = scene.payment(expiry=scene.evm.now + 50)
    assert scene.pay(payment, at=payment.expiry).ok


@pytest.mark.threat(12)
def test_only_listed_payees_and_assets_are_paid(scene: "Scene") -> None:
    """Proves FR-661. Threat 12."""
    assert scene.pay(scene.payment(payee=scene.stranger.address)).reason == "payee"
    assert scene.pay(scene.payment(asset=scene.deploy_token())).reason == "asset"
    assert scene.pay(scene.payment(0)).reason == "amount"
    assert scene.pay(scene.payment(1_001)).reason == "payment limit"


def test_fees_are_part_of_what_was_approved(scene: "Scene") -> None:
    """Proves FR-661: a transaction that may cost more than the fee that was approved is refused."""
    gas, price = 400_000, 10**9
    assert scene.pay(scene.payment(fee_cap=gas * price // 2), gas=gas).reason == "fee"
    done = scene.pay(scene.payment(fee_cap=(gas + 30_000) * price), gas=gas)
    assert done.ok
    assert done.gas * price <= (gas + 30_000) * price


@pytest.mark.threat(5)
def test_no_window_holds_more_than_its_limit(scene: "Scene") -> None:
    """Proves FR-662. Threat 5: two days' limits do not fit around midnight, or around any other moment."""
    midnight = (scene.evm.now // DAY + 2) * DAY
    assert scene.pay(scene.payment(1_000), at=midnight - 2).ok
    assert scene.pay(scene.payment(1_000), at=midnight - 1).ok
    assert scene.pay(scene.payment(501), at=midnight + 1).reason == "window limit"
    assert scene.pay(scene.payment(500), at=midnight + 2).ok
    assert scene.pay(scene.payment(1), at=midnight - 1 + WINDOW).reason == "window limit"
    assert scene.pay(scene.payment(1_000), at=midnight + WINDOW + 601).ok


def test_lowering_is_at_once_and_raising_waits(scene: "Scene") -> None:
    """Proves FR-663: what is looser takes effect after the delay, and the guardian can drop it until then."""
    lower, raised = Setting(scene.token, 500, 500), Change(Kind.LIMIT, scene.token, 5_000, 5_000)
    assert scene.do(scene.guardian, scene.calls.lower(lower)).ok
    assert scene.pay(scene.payment(501)).reason == "payment limit"
    assert scene.do(scene.guardian, scene.calls.lower(Setting(scene.token, 501, 501))).reason == "raise"
    assert scene.do(scene.guardian, scene.calls.schedule(raised)).reason == "owner"
    assert scene.do(scene.owner, scene.calls.make(raised)).reason == "unknown"
    asked = scene.do(scene.owner, scene.calls.schedule(raised))
    assert scene.do(scene.owner, scene.calls.make(raised), at=asked.at + DELAY - 1).reason == "delay"
    assert scene.do(scene.guardian, scene.calls.drop(change_name(raised))).ok
    assert scene.do(scene.owner, scene.calls.make(raised), at=asked.at + DELAY).reason == "unknown"
    scene.change(raised)
    assert scene.pay(scene.payment(5_000)).ok


def test_a_change_that_nobody_made_in_time_is_stale(scene: "Scene") -> None:
    """Proves FR-663."""
    change = Change(Kind.PAYEE, scene.stranger.address)
    asked = scene.do(scene.owner, scene.calls.schedule(change))
    assert scene.do(scene.owner, scene.calls.make(change), at=asked.at + DELAY + 14 * DAY + 1).reason == "stale"
    scene.change(change)
    assert scene.pay(scene.payment(payee=scene.stranger.address)).ok


def test_the_guardian_stops_everything_and_lets_nothing_go_on(scene: "Scene") -> None:
    """Proves FR-663."""
    assert scene.do(scene.stranger, scene.calls.pause()).reason == "keeper"
    assert scene.do(scene.guardian, scene.calls.pause()).ok
    assert scene.pay(scene.payment()).reason == "paused"
    assert scene.do(scene.guardian, scene.calls.schedule(Change(Kind.UNPAUSE))).reason == "owner"
    scene.change(Change(Kind.UNPAUSE))
    assert scene.pay(scene.payment()).ok


@pytest.mark.threat(46)
def test_a_payee_an_approval_and_a_policy_can_be_taken_back(scene: "Scene") -> None:
    """Proves FR-663. Threat 46 on the chain: what was approved under a revoked policy is not paid."""
    payment = scene.payment()
    assert scene.do(scene.guardian, scene.calls.spoil(payment.intent)).ok
    assert scene.pay(payment).reason == "replay"
    assert scene.do(scene.owner, scene.calls.revoke_policy(policy_mark("p0"))).ok
    assert scene.pay(scene.payment(policy=policy_mark("p0"))).reason == "policy"
    assert scene.do(scene.guardian, scene.calls.unlist(scene.shop.address)).ok
    assert scene.pay(scene.payment()).reason == "payee"
    for call in (scene.calls.spoil(payment.intent), scene.calls.unlist(scene.other.address)):
        assert scene.do(scene.agent, call).reason == "keeper"
        assert scene.do(scene.cfo, call).reason == "keeper"


@pytest.mark.parametrize("kind", [Kind.AGENT, Kind.CFO, Kind.GUARDIAN, Kind.OWNER])
def test_nobody_has_two_roles(scene: "Scene", kind: Kind) -> None:
    """Proves FR-663: also after a change, whoever asks is not who approves."""
    holders = {Kind.AGENT: scene.agent, Kind.CFO: scene.cfo, Kind.GUARDIAN: scene.guardian, Kind.OWNER: scene.owner}
    others = [person.address for known, person in holders.items() if known != kind]
    for subject in (*others, COIN):
        change = Change(kind, subject)
        asked = scene.do(scene.owner, scene.calls.schedule(change))
        assert scene.do(scene.owner, scene.calls.make(change), at=asked.at + DELAY).reason == "role"
    scene.change(Change(kind, scene.stranger.address))
    by = scene.stranger if kind == Kind.AGENT else scene.agent
    payment = scene.payment()
    signer = scene.stranger if kind == Kind.CFO else scene.cfo
    assert scene.pay(payment, scene.sign(payment, signer), by).ok


def test_the_owner_takes_money_out_after_the_delay_alone(scene: "Scene") -> None:
    """Proves FR-663."""
    before = scene.has(scene.owner.address)
    scene.change(Change(Kind.WITHDRAW, scene.token, 900_000))
    assert scene.has(scene.owner.address) - before == 900_000
    assert scene.has(scene.calls.address) == 100_000


@pytest.mark.threat(42)
@pytest.mark.parametrize(("mode", "reason"), [(1, "false"), (2, "false"), (3, "arrived")])
def test_a_token_that_lies_is_not_paid(scene: "Scene", odd_token: tuple[Any, str], mode: int, reason: str) -> None:
    """Proves FR-664. Threat 42: tokens that answer no, or keep a part, revert; nothing moved and nothing is used up."""
    code, token = odd_token
    scene.change(Change(Kind.LIMIT, token, 1_000, 1_000))
    assert scene.evm.send(scene.owner, token, code.call("mint", scene.calls.address, 1_000)).ok
    assert scene.evm.send(scene.owner, token, code.call("behave", mode, scene.shop.address, b"")).ok
    payment = scene.payment(500, asset=token)
    assert scene.pay(payment).reason == reason
    assert scene.has(scene.calls.address, token) == 1_000
    assert scene.evm.send(scene.owner, token, code.call("behave", 0, scene.shop.address, b"")).ok
    assert scene.pay(payment).ok


@pytest.mark.threat(42)
def test_a_token_that_answers_nothing_is_paid(scene: "Scene", silent_token: tuple[Any, str]) -> None:
    """Proves FR-664. Threat 42."""
    code, token = silent_token
    scene.change(Change(Kind.LIMIT, token, 1_000, 1_000))
    assert scene.evm.send(scene.owner, token, code.call("mint", scene.calls.address, 1_000)).ok
    assert scene.pay(scene.payment(500, asset=token)).ok
    assert scene.has(scene.shop.address, token) == 500
    assert scene.pay(scene.payment(501, asset=token)).reason == "window limit"


def test_an_address_without_code_is_no_token(scene: "Scene") -> None:
    """Proves FR-664."""
    scene.change(Change(Kind.LIMIT, scene.stranger.address, 1_000, 1_000))
    assert not scene.pay(scene.payment(500, asset=scene.stranger.address)).ok


def test_a_token_that_calls_back_gets_nothing(scene: "Scene", odd_token: tuple[Any, str]) -> None:
    """Proves FR-664: a second payment from within the first one is refused, though the token were the agent."""
    code, token = odd_token
    scene.change(Change(Kind.LIMIT, token, 1_000, 1_000))
    assert scene.evm.send(scene.owner, token, code.call("mint", scene.calls.address, 1_000)).ok
    scene.change(Change(Kind.AGENT, token))
    inner = scene.payment(300, asset=token, fee_cap=10**18)
    payload = scene.calls.pay(inner, scene.sign(inner)).data
    assert scene.evm.send(scene.owner, token, code.call("behave", 4, scene.calls.address, payload)).ok
    scene.change(Change(Kind.WITHDRAW, token, 100))
    assert scene.has(scene.owner.address, token) == 100
    assert scene.has(scene.shop.address, token) == 0
    assert scene.has(scene.calls.address, token) == 900


def test_refusals_are_told_in_words() -> None:
    assert refusal("window limit").context["reason"] == "window limit"
    for reason, words in REFUSALS.items():
        assert words in str(refusal(reason))
