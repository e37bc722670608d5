"""For any two questions: who is less sure or sees more threat asks for more, and nobody overtakes by waiting.

Proves FR-722.
"""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimera.core.contracts import ReviewItem, ReviewPoint, Threat
from chimera.review.priority import Priority, priority_of, read_units, weight_of

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
UNIT = st.floats(0, 1, allow_nan=False)
THREATS = st.sampled_from(list(Threat))
UNITS = st.integers(0, 2**63 - 1)
SECONDS = st.integers(0, 7 * 86_400)


def item(confidence: float, threat: object = Threat.NONE, units: object = 0, kind: str = "result") -> ReviewItem:
    payload = {"kind": kind, "threat": threat, "amount": {"units": units}}
    return ReviewItem(
        id="i", mission_id="m", point=ReviewPoint.QUALITY, question="?", payload=payload, confidence=confidence
    )


def priority(of: ReviewItem, waited: int = 0, left: int = 3_600, step: int = 0, later: int = 0) -> Priority:
    made, due = NOON - timedelta(seconds=waited), NOON + timedelta(seconds=left)
    return priority_of(of, made, due, step, NOON + timedelta(seconds=later))


@given(less=UNIT, more=UNIT, threat=THREATS, units=UNITS)
def test_less_sure_asks_for_more(less: float, more: float, threat: Threat, units: int) -> None:
    less, more = sorted((less, more))
    assert weight_of(item(less, threat, units)) >= weight_of(item(more, threat, units))
    if more - less > 0.01:
        assert weight_of(item(less, threat, units)) > weight_of(item(more, threat, units))


@given(confidence=UNIT, one=THREATS, other=THREATS, units=UNITS)
def test_more_threat_asks_for_more(confidence: float, one: Threat, other: Threat, units: int) -> None:
    order = list(Threat)
    milder, worse = sorted((one, other), key=order.index)
    difference = weight_of(item(confidence, worse, units)) - weight_of(item(confidence, milder, units))
    assert difference > 0.1 if milder != worse else difference == 0


@given(confidence=UNIT, one=UNITS, other=UNITS)
def test_more_money_asks_for_more(confidence: float, one: int, other: int) -> None:
    little, much = sorted((one, other))
    assert weight_of(item(confidence, units=little)) <= weight_of(item(confidence, units=much))


@given(waited=SECONDS, longer=st.integers(60, 86_400), left=SECONDS, step=st.integers(0, 3))
def test_longer_and_later_asks_for_more(waited: int, longer: int, left: int, step: int) -> None:
    this = priority(item(0.5), waited, left, step).score
    assert priority(item(0.5), waited + longer, left, step).score > this
    assert priority(item(0.5), waited, left - longer, step).score > this
    assert priority(item(0.5), waited, left, step + 1).score > this


@given(
    one=st.tuples(UNIT, THREATS, UNITS, SECONDS, SECONDS),
    other=st.tuples(UNIT, THREATS, UNITS, SECONDS, SECONDS),
    later=SECONDS,
)
def test_no_two_change_places_by_waiting(
    one: tuple[float, Threat, int, int, int], other: tuple[float, Threat, int, int, int], later: int
) -> None:
    def logs(after: int) -> list[float]:
        return [math.log2(priority(item(*of[:3]), of[3], of[4], later=after).score) for of in (one, other)]

    now, then = logs(0), logs(later)
    assert now[0] - now[1] == pytest.approx(then[0] - then[1], abs=1e-6)


@given(given=st.one_of(st.none(), st.text(), st.floats(), st.booleans(), st.integers(max_value=-1)))
def test_what_is_unclear_counts_as_the_most(given: object) -> None:
    """But for what is about no money at all."""
    assert read_units(given) == (0 if given is None else 2**63 - 1)
    assert weight_of(item(0.5, threat="mild")) == weight_of(item(0.5, threat=Threat.CRITICAL))


def test_the_factors_are_the_priority_and_say_why() -> None:
    told = priority(item(0.4, Threat.HIGH, 5_000_000, "payment"), waited=3_600, left=-7_200, step=1)
    assert told.score == pytest.approx(math.prod(factor.times for factor in told.factors))
    assert [factor.name for factor in told.factors] == [
        "confidence", "threat", "kind", "value", "age", "deadline", "escalated",
    ]  # fmt: skip
    for words in ("confidence 0.40", "threat high", "5,000,000 units", "waits for 1 h", "2 h late", "handed up 1"):
        assert words in told.words()
