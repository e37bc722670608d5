"""The vault against a plain model of it, over whatever people, agents and thieves do in any order.

Proves FR-661, FR-662 and FR-663: for each step the vault refuses for the very reason that the model says, or does what
it does; and whatever was done, no window of time holds more payments of an asset than its limit when the last was made.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from chimera.commerce.vault.approval import COIN, VaultPayment, policy_mark
from chimera.commerce.vault.calls import Change, Kind, Setting, change_name

if TYPE_CHECKING:
    from tests.integration.vault.conftest import Person, Scene  # noqa: TID251 - their types alone

WINDOW, DELAY, GRACE, BUCKETS = 24 * 600, 3_600, 14 * 86_400, 24
WIDTH = WINDOW // BUCKETS
FUNDS, PRICE, GAS = 1_000_000, 10**9, 600_000
PEOPLE = st.sampled_from(["owner", "agent", "cfo", "guardian", "stranger"])
WAITS = st.one_of(st.just(0), st.integers(1, 2 * WIDTH), st.integers(WINDOW - WIDTH, WINDOW + 2 * WIDTH))
AMOUNTS = st.one_of(st.integers(1, 400), st.sampled_from([999, 1_000, 1_001, 2_499, 2_500, 2_501]))


@dataclass
class Model:
    """What the vault should do, in plain words."""

    token: str
    limits: dict[str, tuple[int, int]]
    payees: set[str]
    used: set[bytes] = field(default_factory=set[bytes])
    revoked: set[bytes] = field(default_factory=set[bytes])
    ready: dict[bytes, int] = field(default_factory=dict[bytes, int])
    paused: bool = False
    paid: list[tuple[int, str, int, int]] = field(default_factory=list[tuple[int, str, int, int]])
    left: int = FUNDS

    def counted(self, asset: str, now: int) -> int:
        return sum(n for at, of, n, _ in self.paid if of == asset and at // WIDTH + BUCKETS >= now // WIDTH)

    def refuses(self, sender: str, payment: VaultPayment, signer: str, meant: bool, at: int) -> str:
        per_payment, per_window = self.limits.get(payment.asset, (0, 0))
        rules = (
            ("agent", sender == "agent"),
            ("paused", not self.paused),
            ("expired", at <= payment.expiry),
            ("replay", payment.intent not in self.used),
            ("policy", payment.policy not in self.revoked),
            ("payee", payment.payee in self.payees),
            ("fee", payment.fee_cap >= GAS * PRICE),
            ("cfo", signer == "cfo" and meant),
            ("asset", per_payment > 0),
            ("payment limit", payment.amount <= per_payment),
            ("window limit", self.counted(payment.asset, at) + payment.amount <= per_window),
            ("funds", payment.amount <= self.left),
        )
        return next((name for name, holds in rules if not holds), "")


class VaultMachine(RuleBasedStateMachine):
    """Steps on the contract and on the model."""

    scene: ClassVar["Scene"]

    @initialize()
    def begin(self) -> None:
        self.mark = self.scene.evm.mark()
        limits = {self.scene.token: (1_000, 2_500), COIN: (10**15, 2 * 10**15)}
        self.model = Model(self.scene.token, limits, {self.scene.shop.address, self.scene.other.address})
        self.known: list[VaultPayment] = []
        self.changes: list[Change] = []

    def teardown(self) -> None:
        self.scene.evm.back(self.mark)

    def person(self, name: str) -> "Person":
        found: Any = getattr(self.scene, name)
        return found

    def at(self, wait: int) -> int:
        return self.scene.evm.now + wait

    # --- paying ---

    @rule(amount=AMOUNTS, wait=WAITS, data=st.data())
    def pay(self, amount: int, wait: int, data: st.DataObject) -> None:
        """A payment as it should be: so that there is something to limit."""
        payee = data.draw(st.sampled_from([self.scene.shop.address, self.scene.other.address]))
        self.try_to_pay(self.scene.payment(amount, payee=payee), "agent", "cfo", True, wait)

    @rule(over=st.integers(1, 3))
    def fill(self, over: int) -> None:
        """Payments until the window is full; then one that is a little more than what is left, and one of just that."""
        room, per_payment = 0, 0
        for _ in range(4):
            per_payment, per_window = self.model.limits[self.scene.token]
            room = per_window - self.model.counted(self.scene.token, self.scene.evm.now)
            if room < per_payment or not per_payment:
                break
            self.try_to_pay(self.scene.payment(per_payment), "agent", "cfo", True, 0)
        if 0 < room < per_payment:
            for amount in (min(room + over, per_payment), room):
                self.try_to_pay(self.scene.payment(amount), "agent", "cfo", True, 0)

    @rule(amount=AMOUNTS, sender=PEOPLE, signer=PEOPLE, wait=WAITS, data=st.data())
    def pay_somehow(self, amount: int, sender: str, signer: str, wait: int, data: st.DataObject) -> None:
        """A payment with something wrong about it, mostly."""
        scene = self.scene
        payment = scene.payment(
            amount,
            payee=data.draw(st.sampled_from([scene.shop.address, scene.stranger.address])),
            asset=data.draw(st.sampled_from([scene.token, scene.stranger.address])),
            fee_cap=data.draw(st.sampled_from([10**15, 10**14])),
            policy=policy_mark(data.draw(st.sampled_from(["p1", "p2"]))),
            expiry=self.at(data.draw(st.integers(0, 2 * WINDOW))),
        )
        meant = data.draw(st.booleans())
        self.try_to_pay(payment, data.draw(st.sampled_from(["agent", sender])), signer, meant, wait)

    @rule(data=st.data(), amount=AMOUNTS)
    def pay_again(self, data: st.DataObject, amount: int) -> None:
        """An approval that was used before, as it was or with another amount."""
        if self.known:
            old = data.draw(st.sampled_from(self.known))
            self.try_to_pay(data.draw(st.sampled_from([old, replace(old, amount=amount)])), "agent", "cfo", True, 0)

    def try_to_pay(self, payment: VaultPayment, sender: str, signer: str, meant: bool, wait: int) -> None:
        said = payment if meant else replace(payment, amount=payment.amount + 1)
        signature = self.scene.sign(said, self.person(signer))
        done = self.scene.pay(payment, signature, self.person(sender), at=self.at(wait), gas=GAS)
        reason = self.model.refuses(sender, payment, signer, meant, done.at)
        assert (done.reason, done.ok) == (reason, not reason)
        self.known.append(payment)
        if done.ok:
            self.model.used.add(payment.intent)
            self.model.left -= payment.amount
            limit = self.model.limits[payment.asset][1]
            self.model.paid.append((done.at, payment.asset, payment.amount, limit))

    # --- what people do ---

    @rule(by=PEOPLE)
    def pause(self, by: str) -> None:
        self.keep(by, self.scene.do(self.person(by), self.scene.calls.pause()).reason, "")
        self.model.paused |= by in ("owner", "guardian")

    @rule(by=PEOPLE, per_payment=AMOUNTS, more=st.integers(0, 2_000))
    def lower(self, by: str, per_payment: int, more: int) -> None:
        setting = Setting(self.scene.token, per_payment, per_payment + more)
        there = self.model.limits[self.scene.token]
        lower = setting.per_payment <= there[0] and setting.per_window <= there[1]
        done = self.scene.do(self.person(by), self.scene.calls.lower(setting))
        self.keep(by, done.reason, "" if lower else "raise")
        if done.ok:
            self.model.limits[self.scene.token] = (setting.per_payment, setting.per_window)

    @rule(by=PEOPLE)
    def unlist(self, by: str) -> None:
        done = self.scene.do(self.person(by), self.scene.calls.unlist(self.scene.other.address))
        self.keep(by, done.reason, "")
        if done.ok:
            self.model.payees.discard(self.scene.other.address)

    @rule(by=PEOPLE)
    def revoke(self, by: str) -> None:
        done = self.scene.do(self.person(by), self.scene.calls.revoke_policy(policy_mark("p2")))
        self.keep(by, done.reason, "")
        if done.ok:
            self.model.revoked.add(policy_mark("p2"))

    @rule(by=PEOPLE)
    def spoil(self, by: str) -> None:
        payment = self.scene.payment()
        done = self.scene.do(self.person(by), self.scene.calls.spoil(payment.intent))
        self.keep(by, done.reason, "")
        if done.ok:
            self.model.used.add(payment.intent)
        self.known.append(payment)

    @rule(
        by=st.sampled_from(["owner", "owner", "guardian", "agent"]), what=st.sampled_from(["raise", "list", "unpause"])
    )
    def schedule(self, by: str, what: str) -> None:
        change = {
            "raise": Change(Kind.LIMIT, self.scene.token, 1_000, 2_500),
            "list": Change(Kind.PAYEE, self.scene.other.address),
            "unpause": Change(Kind.UNPAUSE),
        }[what]
        done = self.scene.do(self.person(by), self.scene.calls.schedule(change))
        name = change_name(change)
        waits = name in self.model.ready and done.at <= self.model.ready[name] + GRACE
        expected = "owner" if by != "owner" else "scheduled" if waits else ""
        assert done.reason == expected
        if done.ok:
            self.model.ready[name] = done.at + DELAY
            self.changes.append(change)

    @rule(data=st.data(), wait=st.sampled_from([0, DELAY - 60, DELAY, DELAY + GRACE + 60]))
    def make(self, data: st.DataObject, wait: int) -> None:
        if not self.changes:
            return
        change = data.draw(st.sampled_from(self.changes))
        done = self.scene.do(self.scene.owner, self.scene.calls.make(change), at=self.at(wait))
        ready = self.model.ready.get(change_name(change), 0)
        late = done.at > ready + GRACE
        assert done.reason == ("unknown" if not ready else "delay" if done.at < ready else "stale" if late else "")
        if done.ok:
            del self.model.ready[change_name(change)]
            self.apply(change)

    def apply(self, change: Change) -> None:
        if change.kind == Kind.LIMIT:
            self.model.limits[change.subject] = (change.first, change.second)
        elif change.kind == Kind.PAYEE:
            self.model.payees.add(change.subject)
        else:
            self.model.paused = False

    @rule(data=st.data(), by=PEOPLE)
    def drop(self, data: st.DataObject, by: str) -> None:
        if not self.changes:
            return
        name = change_name(data.draw(st.sampled_from(self.changes)))
        done = self.scene.do(self.person(by), self.scene.calls.drop(name))
        self.keep(by, done.reason, "" if name in self.model.ready else "unknown")
        if done.ok:
            del self.model.ready[name]

    def keep(self, by: str, reason: str, else_: str) -> None:
        assert reason == (else_ if by in ("owner", "guardian") else "keeper")

    # --- what always holds ---

    @invariant()
    def no_window_holds_more_than_its_limit(self) -> None:
        model = getattr(self, "model", None)
        if model is None:
            return
        for last, asset, _, limit in model.paid:
            within = [n for at, of, n, _ in model.paid if of == asset and last - WINDOW < at <= last]
            assert sum(within) <= limit
        paid = sum(n for _, _, n, _ in model.paid)
        assert self.scene.has(self.scene.calls.address) == FUNDS - paid == model.left


@pytest.mark.threat(5, 7, 8, 11)
@pytest.mark.timeout(300)
def test_the_vault_is_its_model(scene: "Scene") -> None:
    machine = type("Machine", (VaultMachine,), {"scene": scene})
    default: Any = settings.default or settings()
    few = settings(
        default,
        max_examples=default.max_examples // 5,
        stateful_step_count=25,
        suppress_health_check=[HealthCheck.too_slow],
    )
    run_state_machine_as_test(machine, settings=few)
