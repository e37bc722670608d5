"""Budgets over time: calendar periods and rolling windows at their edges, by the database's clock and no other.

Proves FR-608 and FR-609.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from chimera.commerce.intents import IntentState
from chimera.core.errors import OverBudget
from chimera.store.postgres import fetch

if TYPE_CHECKING:
    from tests.integration.commerce.conftest import Books  # noqa: TID251 - its type alone

S = IntentState
Clock = Callable[[str], Awaitable[None]]


def at(moment: str) -> str:
    return f"timestamptz '{moment}+00'"


async def fits(books: "Books", amount: int) -> bool:
    """Whether so much can be reserved now; it is given back."""
    intent = await books.at(S.APPROVED, amount)
    try:
        await books.ledger.reserve(intent)
    except OverBudget:
        return False
    await books.ledger.release(intent.id)
    return True


@pytest.mark.threat(5)
async def test_a_rolling_day_has_no_midnight(alone: "Books", clock_is: Clock) -> None:
    """Threat 5. What was spent at 23:59:59 counts until 23:59:59 of the next day, and not a second longer."""
    await clock_is(at("2026-03-01 23:59:59"))
    await alone.budget(100, period="rolling", window_s=86_400)
    await alone.at(S.CAPTURED, 100)
    for moment in ("2026-03-01 23:59:59.5", "2026-03-02 00:00:01", "2026-03-02 23:59:58.999999"):
        await clock_is(at(moment))
        assert not await fits(alone, 1), moment
    await clock_is(at("2026-03-02 23:59:59"))
    assert await fits(alone, 100)
    assert not await fits(alone, 101)
    await alone.intact()


@pytest.mark.threat(5)
async def test_a_calendar_day_begins_at_midnight_in_utc(alone: "Books", clock_is: Clock) -> None:
    """Threat 5. A day, a week (from Monday) and a month are whole again when they begin, in any session's zone."""
    await clock_is(at("2026-02-28 23:59:59"))  # a Saturday
    day = await alone.budget(100, period="day")
    await alone.budget(150, period="week")
    await alone.budget(200, period="month")
    await alone.at(S.CAPTURED, 100)
    async with alone.pool.connection() as connection:
        await connection.execute("SET TIME ZONE 'Pacific/Auckland'")
    assert not await fits(alone, 1)
    await clock_is(at("2026-03-01 00:00:00"))  # another day and month, the same week
    assert await fits(alone, 50)
    assert not await fits(alone, 51)
    await alone.at(S.CAPTURED, 50)
    await clock_is(at("2026-03-01 23:59:59"))
    assert not await fits(alone, 1)
    await clock_is(at("2026-03-02 00:00:01"))  # a Monday
    assert await fits(alone, 100)
    assert await alone.used(day) == (0, 0)
    await alone.intact()


@pytest.mark.threat(5)
@pytest.mark.parametrize("period", ["day", "rolling"])
async def test_a_hold_counts_until_it_is_captured_and_then_from_there(
    alone: "Books", clock_is: Clock, period: Any
) -> None:
    """Threat 5. Reserving before midnight and capturing after it makes no room for twice the cap in one day."""
    await clock_is(at("2026-03-01 23:59:59"))
    number = await alone.budget(100, period=period, window_s=86_400 if period == "rolling" else 0)
    intent = await alone.at(S.CONFIRMED, 100, ttl_s=2_000_000)
    await clock_is(at("2026-03-05 00:00:01"))
    assert not await fits(alone, 1), "it is still held, however long ago that began"
    await alone.ledger.capture(intent.id)
    assert await alone.used(number) == (0, 100)
    await clock_is(at("2026-03-05 23:59:59"))
    assert not await fits(alone, 1), "it was spent on this day"
    await clock_is(at("2026-03-06 00:00:01"))
    assert await fits(alone, 100)
    await alone.intact()


@pytest.mark.threat(29)
async def test_a_clock_that_is_set_back_opens_nothing(alone: "Books", clock_is: Clock) -> None:
    """Threat 29. A database whose clock goes back a day forgets nothing and repeats no day."""
    await clock_is(at("2026-03-02 12:00:00"))
    for period, window_s in (("day", 0), ("rolling", 86_400)):
        await alone.budget(100, period=period, window_s=window_s)
    await alone.at(S.CAPTURED, 100)
    for moment in ("2026-03-01 12:00:00", "2026-03-02 11:59:59"):
        await clock_is(at(moment))
        assert not await fits(alone, 1)
    await alone.intact()


@pytest.mark.threat(29)
async def test_no_function_takes_a_time_from_its_caller(alone: "Books") -> None:
    """Threat 29. Of what a connection may call, nothing that changes anything has a time among its arguments."""
    rows = await fetch(
        alone.pool,
        """
        SELECT p.proname AS name, t.typname AS type FROM pg_proc AS p
        CROSS JOIN LATERAL unnest(p.proargtypes) AS a (oid) JOIN pg_type AS t ON t.oid = a.oid
        JOIN pg_roles AS r ON r.oid = p.proowner
        WHERE r.rolname = 'chimera_ledger' AND p.prosecdef AND has_function_privilege(p.oid, 'EXECUTE')
        """,
    )
    assert {"reserve_intents", "propose_intent", "reap_intents"} <= {row["name"] for row in rows}
    assert {row["type"] for row in rows} & {"timestamptz", "timestamp", "date", "time", "timetz", "interval"} == set()


async def test_a_refund_opens_a_window_as_far_as_the_payment_counts_in_it(alone: "Books", clock_is: Clock) -> None:
    await clock_is(at("2026-03-01 12:00:00"))
    rolling = await alone.budget(100, period="rolling", window_s=3_600)
    day = await alone.budget(100, period="day")
    total = await alone.budget(1_000)
    intent = await alone.at(S.CAPTURED, 100)
    await alone.ledger.refund(intent.id, 30, "r1", by="ada")
    assert [await alone.used(number) for number in (rolling, day, total)] == [(0, 70)] * 3
    await alone.at(S.CAPTURED, 30)
    await clock_is(at("2026-03-02 12:00:00"))
    await alone.at(S.CAPTURED, 100)
    await alone.ledger.refund(intent.id, 70, "r2", by="ada")
    assert [await alone.used(number) for number in (rolling, day, total)] == [(0, 100), (0, 100), (0, 130)]
    assert not await fits(alone, 1)
    await alone.intact()


async def test_the_forecast_says_when_a_budget_runs_out(alone: "Books", clock_is: Clock) -> None:
    """Proves FR-617: by what was spent a day lately, within the period; and what is used up or frozen."""
    await clock_is(at("2026-03-01 00:00:00"))
    number = await alone.budget(1_000, period="month")
    await alone.at(S.CAPTURED, 100)
    await clock_is(at("2026-03-03 00:00:00"))
    await alone.at(S.CAPTURED, 100)
    (found,) = await alone.budgets.listed("default")
    assert (found.id, found.per_day, found.left, found.warning) == (number, 100, 800, "running out")
    assert str(found.used_up_at) == "2026-03-11 00:00:00+00:00"
    assert str(found.ends_at) == "2026-04-01 00:00:00+00:00"
    await alone.budget(10_000, period="month")
    assert [one.used_up_at for one in await alone.budgets.listed("default")] == [None]
    await alone.budget(220, period="month")
    assert [one.warning for one in await alone.budgets.listed("default")] == ["nearly used up"]
    await alone.budget(200, period="month")
    assert [one.warning for one in await alone.budgets.listed("default")] == ["used up"]
    await alone.budget(200, period="month", frozen=True)
    assert [one.warning for one in await alone.budgets.listed("default")] == ["frozen"]
