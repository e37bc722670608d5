"""Payments on a real EVM and a real Postgres, from approved to captured, and what goes wrong on the way.

Proves FR-625, FR-626 and FR-630; each test says which other clause or threat it shows. The signer has no process here.
"""

import asyncio
import dataclasses
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from chimera.commerce.chain.embedded import COIN, EmbeddedChain
from chimera.commerce.chain.port import Fees, Receipt, Sending, Sent
from chimera.commerce.chain.rpc import RpcChain
from chimera.commerce.chain.totals import WalletTotals
from chimera.commerce.history import Search, search_history
from chimera.commerce.intents import Intent, IntentState
from chimera.commerce.reconcile import reconcile
from chimera.commerce.wallet.request import Gas
from chimera.commerce.wallets import ChainTransaction
from chimera.core.errors import (
    ChainDown,
    IntentConflict,
    IntentExpired,
    PaymentRefused,
    SignerRefused,
    StoreError,
    WalletQuarantined,
)
from chimera.core.errors import IntentState as WrongState
from chimera.core.tasks import stop
from chimera.store.postgres import fetch

pytest.importorskip("web3", reason="the extra commerce is not installed")

if TYPE_CHECKING:
    from tests.integration.commerce.chain.conftest import Bank  # noqa: TID251 - its type alone

S = IntentState
Odd = Callable[[int], Awaitable[tuple[Any, Callable[[], Awaitable[None]]]]]


async def newest(bank: "Bank", intent: Intent) -> ChainTransaction:
    return (await bank.payer.wallets.transactions(intent.id))[0]


async def test_a_payment_in_a_token_and_one_in_coins(bank: "Bank") -> None:
    """Proves FR-630, FR-631: what was held is captured with its true fee, and chain and books say the same."""
    await bank.budgets()
    wallet = await bank.wallet()
    tokens = await bank.approved(300)
    coins = await bank.approved(7 * 10**15, COIN)
    assert await bank.payer.pay(tokens.id) == S.CAPTURED
    assert await bank.payer.pay(coins.id) == S.CAPTURED
    assert await bank.payer.pay(tokens.id) == S.CAPTURED
    assert await bank.has(tokens.asked.payee) == 300
    assert await bank.chain.balance(None, coins.asked.payee) == 7 * 10**15
    fees = [(await newest(bank, each)).fee or 0 for each in (tokens, coins)]
    assert await bank.chain.balance(None, wallet) == 10**18 - 7 * 10**15 - sum(fees)
    assert [(await newest(bank, each)).nonce for each in (tokens, coins)] == [0, 1]
    totals = WalletTotals(bank.books.pool, bank.books.assets, bank.payer.wallets, bank.chain, 1, 0)
    compared = await reconcile(bank.books.pool, totals, bank.books.tenant)
    assert {(each.asset, each.ledger, each.chain) for each in compared} == {
        (bank.token.id, 300, 300),
        (coins.asked.asset, 7 * 10**15 + sum(fees), 7 * 10**15 + sum(fees)),
    }
    await bank.books.intact()


async def test_many_payments_at_once_have_one_nonce_each(bank: "Bank") -> None:
    """Proves FR-625: signed in shared transactions, without a gap, each once."""
    await bank.budgets()
    await bank.wallet("ann")
    await bank.wallet("bob")
    intents = [await bank.approved(10 + n, agent=("ann", "bob")[n % 2]) for n in range(12)]
    assert set(await asyncio.gather(*(bank.payer.pay(each.id) for each in intents))) == {S.CAPTURED}
    for who in ("ann", "bob"):
        made = [await newest(bank, each) for each in intents if each.asked.agent == who]
        assert sorted(each.nonce for each in made) == list(range(6))
    assert [await bank.has(each.asked.payee) for each in intents] == [10 + n for n in range(12)]
    assert await bank.payer.check_wallets(bank.books.tenant) == []
    await bank.books.intact()


@pytest.mark.threat(2)
async def test_callers_that_ask_again_pay_once(bank: "Bank") -> None:
    """Threat 2. Three callers at a time in each of two payers, and again later: one nonce, one debit."""
    await bank.budgets()
    await bank.wallet()
    intent = await bank.approved(100)
    other = bank.new_payer()
    await asyncio.gather(
        *(payer.pay(intent.id) for payer in (bank.payer, other) for _ in range(3)), return_exceptions=True
    )
    for payer in (bank.payer, other):
        assert await payer.pay(intent.id) == S.CAPTURED
    assert len(await bank.payer.wallets.transactions(intent.id)) == 1
    assert await bank.has(intent.asked.payee) == 100
    await bank.books.intact()


@pytest.mark.threat(2, 23)
async def test_an_answer_of_the_signer_that_is_lost_costs_nothing(bank: "Bank") -> None:
    """Threats 2 and 23 in part. It signed, nobody heard of it, and another payment of the wallet comes first.

    The signer keeps the nonce for the first one, which gets the same transaction when it comes again.
    """
    await bank.budgets()
    wallet = await bank.wallet()
    first, second = await bank.approved(11), await bank.approved(22)
    for each in (first, second):
        await bank.books.ledger.reserve(each)
    bank.signer.down = 1
    assert not await bank.payer.step(first.id)
    assert await bank.books.state(first) == S.RESERVED
    assert not await bank.payer.step(second.id)
    assert (await newest(bank, second)).nonce == 1
    assert "nonce 0" in (await bank.payer.check_wallets(bank.books.tenant))[0]
    assert await bank.payer.pay(first.id) == S.CAPTURED
    assert await bank.payer.pay(second.id) == S.CAPTURED
    assert [(await newest(bank, each)).nonce for each in (first, second)] == [0, 1]
    assert await bank.chain.nonce(wallet) == 2
    await bank.books.intact()


@pytest.mark.threat(6)
async def test_the_payee_of_an_approved_payment_cannot_be_changed(bank: "Bank") -> None:
    """Threat 6. What was approved is compared where it is signed; an approval of another payment is none."""
    await bank.budgets()
    await bank.wallet()
    intent, other = await bank.approved(100), await bank.approved(100)
    bank.cfo.kept[intent.id] = bank.cfo.kept[other.id]
    with pytest.raises(SignerRefused, match="no approval"):
        await bank.payer.pay(intent.id)
    bank.cfo.kept[intent.id] = dataclasses.replace(bank.cfo.kept[other.id], intent=intent.digest)
    with pytest.raises(SignerRefused):
        await bank.payer.pay(intent.id)
    assert await bank.books.state(intent) == S.RESERVED
    assert await bank.payer.wallets.transactions(intent.id) == []


@pytest.mark.threat(26)
async def test_a_payment_that_nobody_approved_is_not_made(bank: "Bank") -> None:
    """Threat 26 in part: whoever has the payer and the signer, and no signature of the CFO, pays nothing."""
    await bank.budgets()
    await bank.wallet()
    intent = await bank.approved(100)
    bank.cfo.kept.clear()
    with pytest.raises(SignerRefused):
        await bank.payer.pay(intent.id)
    proposed = await bank.books.at(S.PROPOSED)
    with pytest.raises(WrongState):
        await bank.payer.pay(proposed.id)
    assert bank.signer.asked == 0


async def test_a_wallet_without_money_keeps_the_hold_and_pays_later(bank: "Bank") -> None:
    """Proves FR-626: refused by the endpoint, it is not signed anew, and what is held stays held."""
    await bank.budgets()
    wallet = await bank.wallet(coins=10**9, tokens=0)
    intent = await bank.approved(100)
    await bank.books.ledger.reserve(intent)
    assert not await bank.payer.step(intent.id)
    assert await bank.books.state(intent) == S.SIGNED
    assert len(await bank.alarms()) == 1
    raw = (await newest(bank, intent)).raw
    await bank.chain.fund(wallet, 10**18)
    await bank.chain.fund(wallet, 100, bank.token.address)
    assert await bank.payer.pay(intent.id) == S.CAPTURED
    assert (await newest(bank, intent)).raw == raw
    assert bank.signer.asked == 1


class Endpoint(RpcChain):
    """The bank's chain, whose answers go wrong as a test says."""

    def __init__(self, chain: EmbeddedChain) -> None:
        super().__init__([chain.w3], chain.chain_id)
        self.lose_answers = 0
        self.lose_sends = 0
        self.costs: Fees | None = None
        self.change: Callable[[Receipt], Receipt] | None = None

    async def fees(self) -> Fees:
        return self.costs or await super().fees()

    async def send_raw(self, raw: bytes) -> Sending:
        if self.lose_sends:
            self.lose_sends -= 1
            raise ChainDown("it never arrived")
        said = await super().send_raw(raw)
        if self.lose_answers:
            self.lose_answers -= 1
            raise ChainDown("the answer was lost")
        return said

    async def receipt(self, hash_: str) -> Receipt | None:
        found = await super().receipt(hash_)
        return self.change(found) if self.change and found else found


@pytest.mark.threat(2)
@pytest.mark.parametrize("lost", ["lose_answers", "lose_sends"])
async def test_an_unknown_outcome_is_never_signed_anew(bank: "Bank", lost: str) -> None:
    """Threat 2. The transaction arrived or did not; the same bytes go out again, and it is paid once."""
    await bank.budgets()
    wallet = await bank.wallet()
    endpoint = Endpoint(bank.chain)
    payer = bank.new_payer(chain=endpoint)
    intent = await bank.approved(100)
    await bank.books.ledger.reserve(intent)
    setattr(endpoint, lost, 1)
    assert not await payer.step(intent.id)
    assert await bank.books.state(intent) == S.UNKNOWN
    assert await payer.pay(intent.id) == S.CAPTURED
    assert (await bank.chain.nonce(wallet), bank.signer.asked) == (1, 1)
    assert await bank.has(intent.asked.payee) == 100


@pytest.mark.threat(21)
async def test_a_nonce_that_somebody_else_used_stops_the_wallet(bank: "Bank") -> None:
    """Threat 21. `nonce too low` without a receipt of ours: quarantine, on the record, and no other payment."""
    await bank.budgets()
    wallet = await bank.wallet()
    intent, later = await bank.approved(100), await bank.approved(50)
    endpoint = Endpoint(bank.chain)
    endpoint.lose_sends = 1
    payer = bank.new_payer(chain=endpoint)
    await bank.books.ledger.reserve(intent)
    await payer.step(intent.id)
    await foreign(bank, wallet)
    assert await payer.step(intent.id)
    assert await bank.books.state(intent) == S.QUARANTINED
    assert "not ours" in (await bank.alarms("money.quarantined"))[0]
    with pytest.raises(WalletQuarantined):
        await payer.pay(later.id)
    await bank.payer.wallets.release(bank.chain.chain_id, wallet, "ada", "the key was found in a test")
    assert await bank.has(intent.asked.payee) == 0


@pytest.mark.threat(21)
async def test_a_transaction_of_somebody_else_is_found_before_a_payment_is(bank: "Bank") -> None:
    """Threat 21. The key was used while nothing was under way; and the chain's totals cannot be said any more."""
    await bank.budgets()
    wallet = await bank.wallet()
    intent = await bank.approved(100)
    await bank.payer.pay(intent.id)
    await foreign(bank, wallet)
    assert "given out" in (await bank.payer.check_wallets(bank.books.tenant))[0]
    assert len(await bank.alarms("money.quarantined")) == 1
    totals = WalletTotals(bank.books.pool, bank.books.assets, bank.payer.wallets, bank.chain, 1, 0)
    with pytest.raises(WalletQuarantined):
        await totals.totals(bank.books.tenant)
    later = await bank.approved(30)
    with pytest.raises(WalletQuarantined):
        await bank.payer.pay(later.id)
    free = await bank.chain.nonce(wallet)
    assert await bank.payer.wallets.release(bank.chain.chain_id, wallet, "ada", "the key was in a backup", free)
    assert await bank.payer.pay(later.id) == S.CAPTURED
    assert (await newest(bank, later)).nonce == free
    assert await bank.payer.check_wallets(bank.books.tenant) == []


async def foreign(bank: "Bank", wallet: str) -> None:
    """Somebody else who has the wallet's key sends a transaction with it."""
    made = {
        "type": 2,
        "chainId": bank.chain.chain_id,
        "nonce": await bank.chain.nonce(wallet),
        "value": 1,
        "data": b"",
        "to": b"\1" * 20,
        "gas": 21_000,
        "maxFeePerGas": 10**10,
        "maxPriorityFeePerGas": 1,
    }
    sent = await bank.chain.send_raw(bank.keys.sign(bank.books.tenant, "ann", made))
    assert sent.outcome == Sent.TAKEN


@pytest.mark.threat(22)
async def test_a_gap_before_later_payments_is_told(bank: "Bank") -> None:
    """Threat 22. Proves FR-629: a nonce that no payment has is told once, and the next payment closes the gap."""
    await bank.budgets()
    wallet = await bank.wallet()
    first = await bank.approved(1)
    await bank.payer.pay(first.id)
    stuck = await bank.approved(2)
    await bank.books.ledger.reserve(stuck)
    found = await bank.payer.wallets.find(bank.chain.chain_id, bank.books.tenant, "ann")
    assert found is not None
    await fetch(bank.books.pool, "INSERT INTO wallet_nonces (intent, chain_id, address, nonce) VALUES (%s, %s, %s, 2)",
                (stuck.id, bank.chain.chain_id, wallet))  # fmt: skip
    for _ in range(2):
        assert "nonce 1 of" in (await bank.payer.check_wallets(bank.books.tenant))[0]
    assert len(await bank.alarms()) == 1
    closing = await bank.approved(3)
    assert await bank.payer.pay(closing.id) == S.CAPTURED
    assert (await newest(bank, closing)).nonce == 1
    assert await bank.payer.check_wallets(bank.books.tenant) == []


@pytest.mark.threat(19)
async def test_a_payment_that_waits_is_replaced_and_paid_once(bank: "Bank") -> None:
    """Threat 19. A payment waits: the same nonce with at least 12.5 % more on both fees, one receipt."""
    await bank.budgets()
    wallet = await bank.wallet()
    endpoint = Endpoint(bank.chain)
    payer = bank.new_payer(chain=endpoint, stuck_s=0.0)
    intent = await bank.approved(100)
    await bank.books.ledger.reserve(intent)
    bank.chain.tester.disable_auto_mine_transactions()
    assert not await bank.payer.step(intent.id)
    assert not await payer.step(intent.id)
    second, first = await payer.wallets.transactions(intent.id)
    assert first.nonce == second.nonce
    assert second.gas.max_fee * 8 >= first.gas.max_fee * 9
    assert second.gas.priority * 8 >= first.gas.priority * 9
    endpoint.costs = Fees(10**16, 1)
    assert not await payer.step(intent.id)
    assert len(await payer.wallets.transactions(intent.id)) == 2
    assert "fee cap" in (await bank.alarms())[-1]
    await bank.chain.mine()
    bank.chain.tester.enable_auto_mine_transactions()
    assert await payer.pay(intent.id) == S.CAPTURED
    assert (await bank.chain.nonce(wallet), await bank.has(intent.asked.payee)) == (1, 100)
    mined = [each for each in await payer.wallets.transactions(intent.id) if each.block is not None]
    assert len(mined) == 1
    await bank.books.intact()


@pytest.mark.threat(18)
async def test_fees_are_spent_money_and_never_above_the_cap(bank: "Bank") -> None:
    """Threat 18. What gas costs is held and captured; when it costs more than the cap allows, nothing is signed."""
    await bank.budgets()
    await bank.wallet()
    endpoint = Endpoint(bank.chain)
    endpoint.costs = Fees(10**12, 10**12)
    intent = await bank.approved(100, fee_cap=10**12 * 100_000)
    with pytest.raises(PaymentRefused, match="a unit of gas"):
        await bank.new_payer(chain=endpoint).pay(intent.id)
    assert bank.signer.asked == 0
    endpoint.costs = Fees(1, 10**30)
    paid = await bank.approved(100, fee_cap=10**15)
    assert await bank.new_payer(chain=endpoint).pay(paid.id) == S.CAPTURED
    made = await newest(bank, paid)
    assert made.gas.most <= 10**15
    assert made.fee is not None
    assert made.fee <= 10**15


@pytest.mark.threat(20)
async def test_a_block_that_is_replaced_takes_no_payment_along(bank: "Bank") -> None:
    """Threat 20. Proves FR-627: not final before its depth; gone with its block, the same bytes are sent again."""
    await bank.budgets()
    await bank.wallet()
    payer = bank.new_payer(depth=3)
    intent = await bank.approved(100)
    await bank.books.ledger.reserve(intent)
    before = bank.chain.tester.take_snapshot()
    await payer.step(intent.id)
    await bank.chain.mine()
    assert not await payer.step(intent.id)
    assert await bank.books.state(intent) == S.BROADCAST
    raw, hash_ = (await newest(bank, intent)).raw, (await newest(bank, intent)).hash
    bank.chain.tester.revert_to_snapshot(before)
    assert await bank.chain.receipt(hash_) is None
    assert not await payer.step(intent.id)
    assert await bank.chain.receipt(hash_) is not None
    await bank.chain.mine(2)
    assert await payer.step(intent.id)
    assert await bank.books.state(intent) == S.CAPTURED
    assert [each.raw for each in await payer.wallets.transactions(intent.id)] == [raw]
    assert await bank.has(intent.asked.payee) == 100


@pytest.mark.threat(41)
@pytest.mark.parametrize(
    "lie",
    [
        {"hash": "0x" + "11" * 32},
        {"sender": "0x" + "11" * 20},
        {"to": "0x" + "11" * 20},
        {"gas_used": 10**9},
        {"price": 10**20},
        {"transfers": ()},
    ],
    ids=lambda lie: next(iter(lie)),
)
async def test_a_receipt_that_cannot_be_pays_nothing(bank: "Bank", lie: dict[str, Any]) -> None:
    """Threat 41. An endpoint lies about a transaction: what it says is not what was signed, so nothing is captured."""
    await bank.budgets()
    await bank.wallet()
    endpoint = Endpoint(bank.chain)
    endpoint.change = lambda receipt: dataclasses.replace(receipt, **lie)
    payer = bank.new_payer(chain=endpoint)
    intent = await bank.approved(100)
    await bank.books.ledger.reserve(intent)
    for _ in range(2):
        assert not await payer.step(intent.id)
    assert await bank.books.state(intent) == S.BROADCAST
    assert len(await bank.alarms()) == 1
    endpoint.change = None
    assert await payer.pay(intent.id) == S.CAPTURED


@pytest.mark.threat(42)
@pytest.mark.parametrize(
    ("kind", "ends", "came"),
    [(1, S.RELEASED, 0), (2, S.QUARANTINED, 90), (3, S.QUARANTINED, 0), (4, S.QUARANTINED, 90)],
)
async def test_a_token_that_does_not_keep_its_word(
    bank: "Bank", odd_token: Odd, kind: int, ends: IntentState, came: int
) -> None:
    """Threat 42. Proves FR-628: it answers false, keeps a part, or says that it moved what it did not."""
    asset, become = await odd_token(kind)
    await bank.books.budget(10**6, asset=asset)
    await bank.budgets()
    wallet = await bank.wallet(tokens=0)
    await bank.chain.fund(wallet, 1_000, asset.address)
    await become()
    intent = await bank.approved(100, asset)
    await bank.books.ledger.reserve(intent)
    assert await bank.payer.step(intent.id)
    assert await bank.books.state(intent) == ends
    assert await bank.has(intent.asked.payee, asset) == came
    if ends == S.RELEASED:
        assert await bank.has(wallet, asset) == 1_000
        assert (await newest(bank, intent)).fee
    else:
        assert "the payee has" in (await bank.alarms())[0]
        assert await bank.payer.step(intent.id)
    await bank.books.intact()


async def test_a_transfer_that_reverts_gives_the_money_back_but_its_fee(bank: "Bank") -> None:
    await bank.budgets()
    await bank.wallet(tokens=50)
    intent = await bank.approved(100)
    assert await bank.payer.pay(intent.id) == S.RELEASED
    made = await newest(bank, intent)
    assert made.fee
    rows = await fetch(bank.books.pool, "SELECT leg, captured FROM holds WHERE intent = %s", (intent.id,))
    assert {row["leg"]: int(row["captured"]) for row in rows} == {"amount": 0, "fee": made.fee}
    await bank.books.intact()


async def test_a_turn_goes_on_with_whatever_was_left(bank: "Bank") -> None:
    """Proves FR-630: left at every step by another process; what expired is ended, and the books are sealed."""
    await bank.budgets()
    await bank.wallet()
    endpoint = Endpoint(bank.chain)
    left = [await bank.approved(n) for n in (1, 2, 3)]
    for each in left:
        await bank.books.ledger.reserve(each)
    endpoint.lose_sends = 1
    await bank.new_payer(chain=endpoint).step(left[0].id)
    await bank.new_payer(depth=9).step(left[1].id)
    fresh = bank.new_payer()
    for _ in range(3):
        await fresh.turn()
    assert [await bank.books.state(each) for each in left] == [S.CAPTURED] * 3
    rows = await fetch(bank.books.pool, "SELECT 1 AS one FROM journal_seals WHERE tenant = %s", (bank.books.tenant,))
    assert rows
    await bank.books.intact()


@pytest.mark.threat(23)
@pytest.mark.parametrize("times", [pytest.param(40, marks=pytest.mark.long), 8])
async def test_a_payer_that_is_stopped_anywhere_pays_once(bank: "Bank", times: int) -> None:
    """Threat 23 in part. Cancelled at whatever it waits for, again and again, and gone on with by another payer.

    Processes that are killed leave nothing behind but what is in the database, the signer's book and on the chain.
    """
    await bank.budgets()
    wallet = await bank.wallet()
    intents = [await bank.approved(10 + n) for n in range(6)]
    source = random.Random(23)
    for _ in range(times):
        payer = bank.new_payer(resend_s=0.2)
        paying = [asyncio.create_task(payer.pay(each.id)) for each in source.sample(intents, 3)]
        await asyncio.sleep(source.random() * 0.1)
        await asyncio.gather(*(stop(task) for task in paying))  # again, where the pool loses a cancellation
    payer = bank.new_payer(resend_s=0.2)
    assert set(await asyncio.gather(*(payer.pay(each.id) for each in intents))) == {S.CAPTURED}
    assert [await bank.has(each.asked.payee) for each in intents] == [10 + n for n in range(6)]
    assert await bank.chain.nonce(wallet) == 6
    assert await payer.check_wallets(bank.books.tenant) == []
    await bank.books.intact()


async def test_what_was_not_signed_in_time_is_not_signed(bank: "Bank") -> None:
    await bank.budgets()
    await bank.wallet()
    intent = await bank.approved(5, ttl_s=3)
    await bank.books.ledger.reserve(intent)
    await asyncio.sleep((intent.expires_at - intent.created_at).total_seconds() + 0.1)
    with pytest.raises((IntentExpired, SignerRefused)):
        await bank.payer.step(intent.id)
    assert bank.signer.asked == 0
    await bank.payer.turn()
    assert await bank.books.state(intent) == S.EXPIRED


async def test_what_was_signed_never_changes_in_the_database(bank: "Bank") -> None:
    """Proves FR-625: raw transactions, nonces and wallets are kept, whoever writes to the tables."""
    await bank.budgets()
    await bank.wallet()
    intent = await bank.approved(5)
    await bank.payer.pay(intent.id)
    for query in (
        "UPDATE chain_transactions SET raw = 'x' WHERE intent = %s",
        "UPDATE chain_transactions SET block = 1 WHERE intent = %s",
        "DELETE FROM chain_transactions WHERE intent = %s",
        "UPDATE wallet_nonces SET nonce = 9 WHERE intent = %s",
        "DELETE FROM wallet_nonces WHERE intent = %s",
        "UPDATE wallets SET next_nonce = 0 WHERE %s <> ''",
        "UPDATE wallets SET agent = 'eve' WHERE %s <> ''",
    ):
        with pytest.raises(StoreError):
            await fetch(bank.books.pool, query, (intent.id,))
    for table in ("chain_transactions", "wallet_nonces", "wallets"):
        with pytest.raises(StoreError):
            await fetch(bank.books.pool, f"TRUNCATE {table} CASCADE")


async def test_what_wallets_paid_is_found(bank: "Bank") -> None:
    """Proves FR-632: by words, payee, hash, agent, state and time."""
    await bank.budgets()
    await bank.wallet("ann")
    await bank.wallet("bob")
    weather = await bank.approved(5, purpose="weather of May", mission="m1")
    maps = await bank.approved(6, purpose="100% of the maps", agent="bob")
    for each in (weather, maps):
        await bank.payer.pay(each.id)
    tenant, pool = bank.books.tenant, bank.books.pool

    async def found(**wanted: Any) -> list[str]:
        return [each.intent for each in await search_history(pool, Search(tenant, **wanted))]

    assert await found() == [maps.id, weather.id]
    assert await found(words="WEATHER") == [weather.id]
    assert await found(words="100%") == [maps.id]
    assert await found(words="%") == [maps.id]
    assert await found(words=maps.asked.payee[:12]) == [maps.id]
    assert await found(words=(await newest(bank, weather)).hash[:20]) == [weather.id]
    assert await found(agent="bob") == [maps.id]
    assert await found(state="released") == []
    when = (await newest(bank, maps)).signed_at
    assert await found(since=when) == [maps.id]
    assert await found(until=when) == [weather.id]
    (one,) = await search_history(pool, Search(tenant, words="weather"))
    assert (one.amount, one.state, one.nonce, one.plain()["amount"]) == (5, "captured", 0, "5")
    assert one.fee


async def test_a_transaction_takes_its_gas_from_what_is_asked(bank: "Bank") -> None:
    """A replacement of a payment that is over is refused, and so is one that is not what was approved."""
    await bank.budgets()
    await bank.wallet()
    intent = await bank.approved(5)
    await bank.payer.pay(intent.id)
    made = await newest(bank, intent)
    from chimera.commerce.signing import Signing, ToSign
    from chimera.commerce.wallet.approval import approval_for

    signing = Signing(bank.books.pool, bank.books.ledger, bank.signer)
    more = Gas(made.gas.limit, made.gas.max_fee * 2, made.gas.priority * 2)
    item = ToSign(intent, approval_for(intent), bank.chain.chain_id, made.sender, more)
    with pytest.raises(WrongState):
        await signing.replace(item, made.nonce, 1)
    other = dataclasses.replace(intent, digest=b"\1" * 32)
    with pytest.raises(IntentConflict):
        await signing.replace(dataclasses.replace(item, intent=other), made.nonce, 1)
