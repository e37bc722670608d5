"""The ledger against a real Postgres: intents, holds, captures, releases, refunds, and what is refused.

Proves FR-605 and FR-611; each test says which other clause or which threat it shows.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from chimera.commerce.assets import USD, Asset, on_chain
from chimera.commerce.intents import FINAL, FRESH, IN_FLIGHT, TRANSITIONS, IntentState
from chimera.commerce.statement import balances
from chimera.core.errors import (
    BudgetMissing,
    ConflictError,
    InputError,
    IntentConflict,
    IntentExpired,
    IntentNotFound,
    OverBudget,
    StoreError,
    TooMuch,
)
from chimera.core.errors import IntentState as WrongState
from chimera.core.ids import random_ids
from chimera.store.postgres import fetch, fetch_one

if TYPE_CHECKING:
    from tests.integration.commerce.conftest import Books  # noqa: TID251 - its type alone

S = IntentState


async def test_a_payment_from_its_proposal_to_its_refund(books: "Books") -> None:
    """Proves FR-605: what is held is spent or comes back, and every step is two sides of the journal."""
    number = await books.budget(1_000)
    gas = await books.budget(500, asset=books.coin)
    intent = await books.at(S.RESERVED, 300, fee_cap=50)
    assert await books.used(number) == (300, 0)
    assert await books.used(gas) == (50, 0)
    for state in (S.SIGNED, S.BROADCAST, S.CONFIRMED):
        await books.step(intent, state)
    assert await books.ledger.capture(intent.id, 280, 20)
    assert not await books.ledger.capture(intent.id, 280, 20)
    assert (await books.used(number), await books.used(gas)) == ((0, 280), (0, 20))
    await books.ledger.move(intent.id, S.DELIVERED, S.CAPTURED, by="chimera")
    assert await books.ledger.refund(intent.id, 80, "r1", by="ada")
    assert await books.state(intent) == S.DELIVERED
    assert await books.ledger.refund(intent.id, 200, "r2", by="ada")
    assert await books.state(intent) == S.REFUNDED
    assert await books.used(number) == (0, 0)
    found = await balances(books.pool, books.tenant)
    assert {name: units for name, units in found.items() if units} == {
        ("spent:fees", books.coin.id): 20,
        ("wallet:ann", books.coin.id): -20,
    }
    await books.intact()


@pytest.mark.threat(3)
async def test_the_same_key_is_the_same_payment_and_never_another_one(books: "Books") -> None:
    """Proves FR-602. Threat 3. The same idempotency key with another payload is a conflict, whatever differs."""
    asked = books.asks(100, key="once", mission="m", pool="p", team="t")
    first, second = await asyncio.gather(books.ledger.propose(asked), books.ledger.propose(asked))
    assert first == second
    other: dict[str, Any] = {
        "payee": "0x" + "ce" * 20,
        "amount": 101,
        "fee_cap": 1,
        "fee_asset": books.token.id,
        "purpose": "other",
        "category": "other",
        "agent": "bob",
        "pool": "p2",
        "team": "t2",
        "mission": "m2",
        "policy_version": "p2",
        "ttl_s": 601,
    }
    for name, value in other.items():
        with pytest.raises(IntentConflict):
            await books.ledger.propose(replace(asked, **{name: value}))
    with pytest.raises(IntentConflict):
        await books.ledger.propose(books.asks(100, key="once", asset=books.coin.id, fee_asset=books.coin.id))
    assert (await books.ledger.propose(replace(asked, tenant="acme"))).id != first.id


async def test_what_was_approved_is_what_is_reserved(books: "Books") -> None:
    """Proves FR-602: with another digest nothing is reserved; Python and the database compute the same one."""
    number = await books.budget(1_000)
    intent = await books.at(S.APPROVED, purpose="für “Daten” 数据, 5:x")
    assert intent.computed() == intent.digest
    forged = replace(intent, digest=b"x" * 32)
    with pytest.raises(IntentConflict):
        await books.ledger.reserve(forged)
    assert await books.used(number) == (0, 0)
    assert await books.ledger.reserve(intent)
    assert not await books.ledger.reserve(intent)


async def test_the_payload_never_changes_and_states_follow_each_other(books: "Books") -> None:
    """Proves FR-601 and FR-603: the trigger refuses, also what the owner of the tables tries."""
    intent = await books.at(S.PROPOSED)
    async with books.pool.connection() as connection:
        await connection.execute("SET ROLE chimera_ledger")
        try:
            for change in (
                "payee = 'x'",
                "amount = 1",
                "digest = 'x'",
                "policy_version = 'p9'",
                "expires_at = expires_at + interval '1 day'",
                "state = 'signed'",
                "state = 'captured'",
            ):
                with pytest.raises(psycopg.errors.RaiseException):
                    await connection.execute(f"UPDATE intents SET {change} WHERE id = '{intent.id}'".encode())
            with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
                await connection.execute("DELETE FROM intents")
        finally:
            await connection.execute("RESET ROLE")
    assert await books.ledger.intent(intent.id) == intent


async def test_the_transitions_in_the_database_are_those_of_the_code(books: "Books") -> None:
    rows = await fetch(books.pool, "SELECT * FROM intent_transitions")
    found = {(S(row["from_state"]), S(row["to_state"]), row["fresh"]) for row in rows}
    assert found == {(old, new, new in FRESH) for old, follows in TRANSITIONS.items() for new in follows}
    assert {state for state in S if state not in TRANSITIONS} == FINAL - {S.DELIVERED}


@pytest.mark.parametrize("state", [S.SCREENED, S.APPROVED, S.SIGNED, S.CAPTURED])
async def test_every_other_move_is_refused(books: "Books", state: IntentState) -> None:
    """Proves FR-603. What moves money has functions of its own, and cannot be moved around them."""
    await books.budget(1_000)
    intent = await books.at(state)
    for to in S:
        money = to in (S.RESERVED, S.CAPTURED, S.RELEASED, S.REFUNDED, S.EXPIRED)
        if to != state and (money or to not in TRANSITIONS[state]):
            with pytest.raises(WrongState):
                await books.ledger.move(intent.id, to, *S, by="ada")
    assert await books.state(intent) == state
    with pytest.raises(IntentNotFound):
        await books.ledger.move(random_ids()(), S.SCREENED, S.PROPOSED, by="ada")


async def test_moves_are_kept(books: "Books") -> None:
    intent = await books.at(S.APPROVED)
    assert not await books.ledger.move(intent.id, S.APPROVED, S.SCREENED, by="bob")
    with pytest.raises(WrongState):
        await books.ledger.move(intent.id, S.REJECTED, S.SCREENED, by="bob")
    rows = await fetch(books.pool, "SELECT * FROM intent_moves WHERE intent = %s ORDER BY place", (intent.id,))
    assert [(row["from_state"], row["to_state"], row["moved_by"]) for row in rows] == [
        ("proposed", "screened", "ada"),
        ("screened", "approved", "ada"),
    ]


async def test_no_budget_is_no_money(books: "Books") -> None:
    """Proves FR-606: money that no budget counts is not reserved, and a budget that is named has to count it."""
    intent = await books.at(S.APPROVED, fee_cap=5)
    with pytest.raises(BudgetMissing, match=books.token.id.replace(":", ".")):
        await books.ledger.reserve(intent)
    number = await books.budget(1_000)
    with pytest.raises(BudgetMissing, match="native"):
        await books.ledger.reserve(intent)
    await books.budget(10, asset=books.coin)
    elsewhere = await books.budget(1_000, "agent", "bob")
    for needs in ([999_999_999], [number, elsewhere]):
        with pytest.raises(BudgetMissing, match=str(needs[-1])):
            await books.ledger.reserve(intent, needs)
    assert (await books.used(number), await books.used(elsewhere)) == ((0, 0), (0, 0))
    assert await books.ledger.reserve(intent, [number])


async def test_each_budget_counts_what_is_its_own(books: "Books") -> None:
    """Proves FR-606: per tenant, category, pool, team, mission and agent; the tightest one decides."""
    whose = {"category": "data", "pool": "p", "team": "t", "mission": "m", "agent": "ann"}
    numbers = [await books.budget(1_000), *[await books.budget(1_000, scope, name) for scope, name in whose.items()]]
    others = [await books.budget(0, scope, "another") for scope in whose]
    await books.at(S.RESERVED, 100, pool="p", team="t", mission="m")
    assert [await books.used(number) for number in numbers + others] == [(100, 0)] * 6 + [(0, 0)] * 5
    for scope, name in whose.items():
        number = await books.budget(150, scope, name)
        intent = await books.at(S.APPROVED, 51, pool="p", team="t", mission="m")
        with pytest.raises(OverBudget, match=f"budget {number}"):
            await books.ledger.reserve(intent)
        await books.budget(1_000, scope, name)
    await books.intact()


async def test_a_frozen_or_lowered_budget_lets_nothing_more_out(books: "Books") -> None:
    """Proves FR-607: a cap below what is used takes nothing back; frozen is frozen."""
    number = await books.budget(1_000)
    intent = await books.at(S.CONFIRMED, 600)
    await books.budget(500)
    late = await books.at(S.APPROVED, 1)
    with pytest.raises(OverBudget):
        await books.ledger.reserve(late)
    assert await books.ledger.capture(intent.id)
    assert await books.used(number) == (0, 600)
    await books.budget(1_000, frozen=True)
    with pytest.raises(OverBudget, match="frozen"):
        await books.ledger.reserve(late)
    await books.budget(601)
    assert await books.ledger.reserve(late)
    await books.intact()


AMOUNTS: list[Any] = [0, -1, 10**30, 1.0, True, float("nan"), float("inf"), None, "100", "１００"]


@pytest.mark.threat(13)
@pytest.mark.parametrize("amount", AMOUNTS, ids=repr)
async def test_an_amount_that_is_none_is_not_even_written_down(books: "Books", amount: Any) -> None:
    """Threat 13. No NaN, infinity, boolean, text, zero, negative or huge amount becomes a payment."""
    with pytest.raises(InputError):
        await books.ledger.propose(books.asks(amount))
    assert await fetch(books.pool, "SELECT 1 FROM intents WHERE tenant = %s", (books.tenant,)) == []


@pytest.mark.threat(13)
@pytest.mark.parametrize("amount", ["'NaN'", "'Infinity'", "'-Infinity'", "0", "-5", "1.5", "1e30", "1e400", "NULL"])
async def test_the_database_refuses_such_amounts_by_itself(books: "Books", amount: str) -> None:
    """Threat 13. Whoever calls the functions without our code gets no further."""
    number = await books.budget(1_000)
    confirmed = await books.at(S.CONFIRMED)
    captured = await books.at(S.CAPTURED)
    propose = (
        f"SELECT outcome FROM propose_intent(gen_random_uuid(), '{books.tenant}', 'bad', 'x', '{books.token.id}', "
        f"31337, {amount}, '{books.coin.id}', 0, 'why', 'c', 'ann', '', '', '', 'p', 60)"
    )
    refund = f"SELECT outcome FROM refund_intent('{captured.id}', 'amount', {amount}, 'r', 'x', 'x')"
    deposit = f"SELECT record_deposit('{books.tenant}', 'ann', '{books.token.id}', {amount}, 'd') AS outcome"
    for query in (propose, refund, *([] if amount == "1e30" else [deposit])):
        row = await fetch_one(books.pool, query)
        assert row == {"outcome": "bad_amount"}
    if amount != "NULL":  # which means all that is held
        given = f"ARRAY['{confirmed.id}']::uuid[], ARRAY[{amount}]::numeric[], ARRAY[0]"
        capture = f"SELECT outcome FROM capture_intents({given}, 'x')"
        assert (await fetch_one(books.pool, capture)) == {"outcome": "bad_amount"}
    assert await books.used(number) == (100, 100)
    await books.intact()


async def test_a_payment_of_a_wrong_chain_or_an_unknown_asset_is_refused(books: "Books") -> None:
    for fields in ({"chain_id": 1}, {"chain_id": None}, {"asset": "USDC"}, {"fee_asset": "eip155:1/native"}):
        with pytest.raises(InputError):
            await books.ledger.propose(books.asks(100, **fields))
    fiat = books.asks(100, asset=USD, chain_id=None, fee_asset=USD)
    assert (await books.ledger.propose(fiat)).state == S.PROPOSED


@pytest.mark.parametrize(
    "fields",
    [
        {"purpose": ""},
        {"purpose": " \n"},
        {"purpose": "x" * 2_001},
        {"purpose": "pay\u202eyap"},
        {"payee": ""},
        {"payee": "a\x00b"},
        {"agent": ""},
        {"category": ""},
        {"key": ""},
        {"policy_version": ""},
        {"ttl_s": 0},
        {"ttl_s": True},
        {"ttl_s": 10**9},
        {"payee": 7},
    ],
    ids=repr,
)
async def test_a_field_that_cannot_be_is_named(books: "Books", fields: dict[str, Any]) -> None:
    with pytest.raises(InputError) as refused:
        await books.ledger.propose(books.asks(100, **fields))
    assert refused.value.hint


@pytest.mark.threat(14)
async def test_assets_never_change(books: "Books") -> None:
    """Threat 14. An amount keeps its meaning: nobody changes the decimals of an asset."""
    with pytest.raises(ConflictError):
        await books.assets.add(Asset(books.token.id, "USDC", 18, 31337, books.token.address), "ada")
    async with books.pool.connection() as connection:
        await connection.execute("SET ROLE chimera_ledger")
        with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
            await connection.execute("UPDATE assets SET decimals = 18")
        await connection.execute("RESET ROLE")
    other = await books.assets.add(on_chain("USDC", 1, 6, "0x" + "ef" * 20), "ada")
    with pytest.raises(InputError, match="could be"):
        await books.assets.named("USDC")
    assert await books.assets.named("USDC", 1) == other


@pytest.mark.threat(39)
async def test_captures_and_releases_end_a_hold_once(books: "Books") -> None:
    """Threat 39. No double capture, no capture above the hold, and nothing is given back after a capture."""
    number = await books.budget(1_000)
    intent = await books.at(S.CONFIRMED, 100)
    for amount, fee in ((101, 0), (100, 1)):
        with pytest.raises(TooMuch):
            await books.ledger.capture(intent.id, amount, fee)
    assert await books.used(number) == (100, 0)
    assert await books.ledger.capture(intent.id, 60)
    for amount in (61, 100):
        with pytest.raises(IntentConflict):
            await books.ledger.capture(intent.id, amount)
    with pytest.raises(WrongState):
        await books.ledger.release(intent.id)
    assert await books.used(number) == (0, 60)
    held = await books.at(S.RESERVED, 100)
    assert await books.ledger.release(held.id)
    assert not await books.ledger.release(held.id)
    with pytest.raises(WrongState):
        await books.ledger.capture(held.id)
    await books.intact()


@pytest.mark.threat(39)
async def test_captures_and_releases_at_the_same_time(books: "Books") -> None:
    """Threat 39. Many at once, over many connections: one of them counts."""
    number = await books.budget(1_000)
    intent = await books.at(S.CONFIRMED, 100)
    capture = "SELECT outcome FROM capture_intents(ARRAY[%s]::uuid[], ARRAY[%s]::numeric[], ARRAY[0]::numeric[], 'x')"
    release = "SELECT outcome FROM release_intents(ARRAY[%s]::uuid[], ARRAY[0]::numeric[], 'x', 'x')"
    asked = [fetch(books.pool, capture, (intent.id, amount)) for amount in [100] * 8 + [50] * 8]
    asked += [fetch(books.pool, release, (intent.id,)) for _ in range(8)]
    outcomes = [rows[0]["outcome"] for rows in await asyncio.gather(*asked)]
    assert outcomes.count("ok") == 1
    assert outcomes[16:] == ["state"] * 8
    assert sum(await books.used(number)) in (100, 50)
    await books.intact()


@pytest.mark.threat(40)
async def test_refunds_are_never_more_than_was_captured(books: "Books") -> None:
    """Threat 40. Double refunds and chargebacks above the capture are refused, also at the same time."""
    number = await books.budget(1_000)
    intent = await books.at(S.CAPTURED, 100)
    assert await books.ledger.refund(intent.id, 40, "r", by="ada")
    assert not await books.ledger.refund(intent.id, 40, "r", by="ada")
    with pytest.raises(IntentConflict):
        await books.ledger.refund(intent.id, 41, "r", by="ada")
    with pytest.raises(TooMuch, match="60"):
        await books.ledger.refund(intent.id, 61, "r2", by="ada")
    tries = [books.ledger.refund(intent.id, 25, f"at once {place}", by="ada") for place in range(10)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sorted(map(str, [one for one in done if one is True])) == ["True", "True"]
    assert all(isinstance(one, TooMuch) for one in done if one is not True)
    assert await books.used(number) == (0, 10)
    unpaid = await books.at(S.RESERVED, 100)
    with pytest.raises(WrongState):
        await books.ledger.refund(unpaid.id, 1, "r", by="ada")
    await books.intact()


async def test_a_failed_payment_gives_back_all_but_its_fees(books: "Books") -> None:
    number, gas = await books.budget(1_000), await books.budget(1_000, asset=books.coin)
    intent = await books.at(S.BROADCAST, 100, fee_cap=30)
    with pytest.raises(WrongState):
        await books.ledger.release(intent.id, 7)
    await books.ledger.move(intent.id, S.FAILED, S.BROADCAST, by="chain", why="reverted")
    with pytest.raises(TooMuch):
        await books.ledger.release(intent.id, 31)
    assert await books.ledger.release(intent.id, 7)
    assert (await books.used(number), await books.used(gas)) == ((0, 0), (0, 7))
    await books.intact()


@pytest.mark.threat(38)
@pytest.mark.parametrize("state", sorted(IN_FLIGHT))
async def test_what_is_signed_is_held_however_old_it_is(
    alone: "Books", state: IntentState, later: Callable[[str], Awaitable[None]]
) -> None:
    """Proves FR-612. Threat 38. No time releases a hold whose payment may be on its way; an unsigned one it does."""
    number = await alone.budget(1_000)
    signed = await alone.at(S.SIGNED, 100)
    for step in {S.BROADCAST: [S.BROADCAST], S.CONFIRMED: [S.BROADCAST, S.CONFIRMED]}.get(state, [state]):
        if step != S.SIGNED:
            await alone.ledger.move(signed.id, step, *S, by="ada")
    waiting = {name: await alone.at(name, 10) for name in (S.PROPOSED, S.SCREENED, S.APPROVED, S.RESERVED)}
    assert await alone.ledger.reap() == []
    await later("40 days")
    assert sorted(await alone.ledger.reap()) == sorted(intent.id for intent in waiting.values())
    assert await alone.ledger.reap() == []
    assert (await alone.state(signed), await alone.used(number)) == (state, (100, 0))
    assert {await alone.state(intent) for intent in waiting.values()} == {S.EXPIRED}
    with pytest.raises(WrongState):
        await alone.ledger.release(signed.id)
    await alone.intact()


async def test_what_has_expired_is_neither_approved_nor_reserved_nor_signed(
    alone: "Books", later: Callable[[str], Awaitable[None]]
) -> None:
    """Proves FR-604."""
    await alone.budget(1_000)
    waiting = [await alone.at(state) for state in (S.SCREENED, S.APPROVED, S.RESERVED)]
    await later("601 seconds")
    with pytest.raises(IntentExpired):
        await alone.step(waiting[0], S.APPROVED)
    with pytest.raises(IntentExpired):
        await alone.ledger.reserve(waiting[1])
    with pytest.raises(IntentExpired):
        await alone.step(waiting[2], S.SIGNED)


async def test_deposits_are_written_down_once(books: "Books") -> None:
    assert await books.ledger.deposit(books.tenant, "ann", books.token.id, 500, "tx1")
    assert not await books.ledger.deposit(books.tenant, "ann", books.token.id, 500, "tx1")
    with pytest.raises(IntentConflict):
        await books.ledger.deposit(books.tenant, "ann", books.token.id, 501, "tx1")
    assert (await balances(books.pool, books.tenant))["wallet:ann", books.token.id] == 500
    await books.intact()


async def test_one_of_a_batch_fails_alone(books: "Books") -> None:
    """Proves FR-610: what many ask for at once is written together, and each hears of its own."""
    await books.budget(250)
    intents = [await books.at(S.APPROVED, 100) for _ in range(4)]
    unknown = replace(intents[0], id=random_ids()())
    asked = [*intents, unknown, intents[0]]
    done = await asyncio.gather(*map(books.ledger.reserve, asked), return_exceptions=True)
    kinds = [type(one) if isinstance(one, Exception) else one for one in done]
    assert kinds == [True, True, OverBudget, OverBudget, IntentNotFound, False]
    await books.intact()


async def test_nobody_is_told_yes_when_the_store_fails(books: "Books") -> None:
    await books.budget(250)
    intent = await books.at(S.APPROVED, 100)
    await books.pool.close()
    with pytest.raises(StoreError):
        await books.ledger.reserve(intent)
