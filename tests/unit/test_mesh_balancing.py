"""Proves how a replica is chosen, left alone, tried again, and when a call is made twice. Proves FR-542 and FR-543."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

import pytest

from chimera.core.clock import ManualClock
from chimera.core.errors import ToolRefused
from chimera.tools.capability import ToolResult
from chimera.tools.mesh.breaker import IN_A_ROW, REST_MOST_S, Breaker
from chimera.tools.mesh.failures import Lost
from chimera.tools.mesh.hedge import UNKNOWN_S, Patience, first_answer
from chimera.tools.mesh.load import FADE_S, Load, less_busy


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def breaker(clock: ManualClock) -> Breaker:
    return Breaker(clock, Random(1))


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.enter()
        breaker.failure()


def test_a_circuit_opens_after_failures_in_a_row_and_one_probe_decides(breaker: Breaker, clock: ManualClock) -> None:
    fail(breaker, IN_A_ROW - 1)
    assert not breaker.is_open
    fail(breaker, 1)
    assert breaker.is_open
    clock.advance(2)
    assert breaker.wants_probe
    breaker.enter()
    assert breaker.is_open, "one probe at a time"
    breaker.failure()
    assert breaker.is_open
    clock.advance(3)
    breaker.enter()
    breaker.success()
    assert not breaker.is_open
    assert not breaker.wants_probe


def test_a_success_between_failures_keeps_the_circuit_closed(breaker: Breaker) -> None:
    for _ in range(3):
        fail(breaker, IN_A_ROW - 1)
        breaker.success()
    assert not breaker.is_open


def test_the_rests_grow_to_a_most_and_are_forgotten_after_a_good_while(breaker: Breaker, clock: ManualClock) -> None:
    rests: list[float] = []
    fail(breaker, IN_A_ROW)
    for _ in range(8):
        rests.append(breaker.left_s())
        clock.advance(breaker.left_s())
        fail(breaker, 1)
    assert rests[0] < 1.3
    assert rests[-1] > 0.8 * REST_MOST_S
    assert max(rests) <= 1.2 * REST_MOST_S
    clock.advance(breaker.left_s())
    breaker.enter()
    breaker.success()
    clock.advance(61)
    fail(breaker, IN_A_ROW)
    assert breaker.left_s() < 1.3


def test_calls_that_fail_together_because_a_server_died_count_as_one(breaker: Breaker, clock: ManualClock) -> None:
    begun = clock.monotonic()
    clock.advance(1)
    for _ in range(3 * IN_A_ROW):
        breaker.failure(begun)
    assert not breaker.is_open
    for _ in range(IN_A_ROW - 1):
        begun = clock.monotonic() + 0.5
        clock.advance(1)
        breaker.failure(begun)
    assert breaker.is_open


def test_a_failure_that_was_under_way_when_the_circuit_opened_does_not_make_its_rest_longer(breaker: Breaker) -> None:
    fail(breaker, IN_A_ROW)
    left = breaker.left_s()
    breaker.failure()
    assert breaker.left_s() == left


def test_a_replica_that_fails_often_but_never_in_a_row_is_set_aside_for_a_while(
    breaker: Breaker, clock: ManualClock
) -> None:
    for _ in range(5):
        breaker.success()
        breaker.success()
        breaker.failure()
    assert breaker.is_aside
    assert not breaker.is_open
    clock.advance(2)
    assert not breaker.is_aside


def test_what_another_process_found_opens_the_circuit_here_and_is_not_told_on(
    breaker: Breaker, clock: ManualClock
) -> None:
    breaker.open_for(5)
    assert breaker.is_open
    assert breaker.news() is None
    clock.advance(5)
    fail(breaker, 1)
    told = breaker.news()
    assert told is not None
    assert told > 0
    assert breaker.news() is None


@dataclass
class One:
    load: Load
    name: str


def test_a_slow_replica_is_left_out_until_its_slowness_fades(clock: ManualClock) -> None:
    fast, slow = One(Load(clock), "fast"), One(Load(clock), "slow")
    fast.load.took(0.01)
    slow.load.took(0.5)
    pick = Random(3)
    assert {less_busy([fast, slow], pick).name for _ in range(50)} == {"fast"}
    fast.load.in_hand = 60
    assert less_busy([fast, slow], pick).name == "slow"
    fast.load.in_hand = 0
    clock.advance(5 * FADE_S)
    fast.load.took(0.01)
    assert less_busy([fast, slow], pick).name == "slow"


def test_equal_replicas_share_the_calls(clock: ManualClock) -> None:
    replicas = [One(Load(clock), str(number)) for number in range(4)]
    pick, chosen = Random(5), dict[str, int]()
    for _ in range(400):
        one = less_busy(replicas, pick)
        chosen[one.name] = chosen.get(one.name, 0) + 1
    assert min(chosen.values()) > 60
    assert len(chosen) == 4


def test_a_given_up_call_is_no_proof_of_speed(clock: ManualClock) -> None:
    load = Load(clock)
    load.took(1.0)
    load.took_more_than(0.001)
    assert load.cost() == pytest.approx(1.0)


def test_late_is_learnt_and_second_calls_are_rationed() -> None:
    patience = Patience()
    assert patience.seconds() == UNKNOWN_S
    for _ in range(40):
        patience.took(0.1)
    assert 0.1 <= patience.seconds() < 0.2
    usual = patience.seconds()
    for _ in range(10):
        patience.lost()
    assert patience.seconds() >= UNKNOWN_S
    for _ in range(11):
        patience.took(0.1)
    assert patience.seconds() <= usual


class Calls:
    """Two calls whose ends the test decides."""

    def __init__(self) -> None:
        self.ends = [asyncio.Event(), asyncio.Event()]
        self.cancelled: list[int] = []
        self.overtaken = 0

    async def call(self, place: int, error: Exception | None = None) -> ToolResult:
        try:
            await self.ends[place].wait()
        except asyncio.CancelledError:
            self.cancelled.append(place)
            raise
        if error is not None:
            raise error
        return ToolResult(text=str(place))

    def note(self) -> None:
        self.overtaken += 1


async def test_a_late_call_is_overtaken_and_cancelled() -> None:
    calls = Calls()
    calls.ends[1].set()
    result = await first_answer(calls.call(0), 0.01, lambda: calls.call(1), calls.note)
    assert (result.text, calls.cancelled, calls.overtaken) == ("1", [0], 1)


async def test_a_call_in_time_is_not_made_twice() -> None:
    calls = Calls()
    calls.ends[0].set()
    result = await first_answer(calls.call(0), 5, lambda: pytest.fail("not late"), calls.note)
    assert (result.text, calls.overtaken) == ("0", 0)


async def test_a_refusal_is_an_answer_and_a_failure_is_not() -> None:
    calls = Calls()
    calls.ends[1].set()
    refused = ToolRefused("no such row")
    with pytest.raises(ToolRefused):
        await first_answer(calls.call(0), 0.01, lambda: calls.call(1, refused), calls.note)
    assert calls.cancelled == [0]
    calls = Calls()
    lost = Lost("gone", sent=True, dead=True)
    calls.ends[1].set()
    waiting = asyncio.ensure_future(first_answer(calls.call(0), 0.01, lambda: calls.call(1, lost), calls.note))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    calls.ends[0].set()
    assert (await waiting).text == "0"
    assert calls.overtaken == 0


async def test_when_all_fail_the_first_failure_is_told() -> None:
    calls = Calls()
    for end in calls.ends:
        end.set()
    calls.ends[0].clear()
    first, second = Lost("first", sent=True, dead=True), Lost("second", sent=True, dead=True)
    waiting = asyncio.ensure_future(first_answer(calls.call(0, first), 0.01, lambda: calls.call(1, second), calls.note))
    await asyncio.sleep(0.05)
    calls.ends[0].set()
    with pytest.raises(Lost, match="first"):
        await waiting


async def test_a_caller_that_goes_away_leaves_no_call_behind() -> None:
    calls = Calls()
    waiting = asyncio.ensure_future(first_answer(calls.call(0), 0.01, lambda: calls.call(1), calls.note))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert sorted(calls.cancelled) == [0, 1]
