"""Histograms of latencies: how exact they are, what counts as the framework's time, and what is forgotten when.

Proves FR-353 in part.
"""

import asyncio
import contextvars
from contextlib import suppress

import numpy as np
import pytest

from chimera.core.timing import (
    LEAST_S,
    PER_DOUBLING,
    WINDOW_S,
    Latencies,
    Watch,
    bucket,
    carry,
    percentile,
    spent,
    step_ended,
    watch,
    watched,
)


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def latencies(hand: Hand) -> Latencies:
    return Latencies(hand)


def total(latencies: Latencies, part: str) -> list[float]:
    """The times of a part, each as exactly as its bucket."""
    counts = {key[1]: value for key, value in latencies.gathered().items()}.get(part, {})  # type: ignore[call-overload]
    return [
        round(LEAST_S * 2 ** ((place + 0.5) / PER_DOUBLING), 3) for place, n in sorted(counts.items()) for _ in range(n)
    ]


def near(*seconds: float) -> list[object]:
    return [pytest.approx(each, rel=0.03) for each in seconds]


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_percentiles_are_right_to_three_hundredths(share: float) -> None:
    times = np.random.default_rng(7).lognormal(-4, 2, 20_000)
    counts: dict[int, int] = {}
    for each in times:
        counts[bucket(float(each))] = counts.get(bucket(float(each)), 0) + 1
    exact = float(np.quantile(times, share, method="inverted_cdf"))
    assert percentile(counts, share) == pytest.approx(exact, rel=0.023)


def test_the_ends_of_the_scale() -> None:
    assert bucket(-1.0) == bucket(0.0) == bucket(LEAST_S) == 0
    assert bucket(1e9) == bucket(float(2**60))
    assert percentile({}, 0.5) is None


def test_what_is_in_no_part_of_a_step_is_the_frameworks(hand: Hand, latencies: Latencies) -> None:
    with watched(latencies, "p"):
        hand.at += 1
        with spent("model"):
            hand.at += 10
        hand.at += 2
        with spent("guard"):
            hand.at += 0.5
        step_ended()
        with spent("tool"):
            hand.at += 4
        hand.at += 0.25
        step_ended()
    assert watch() is None
    found = {part: total(latencies, part) for part in ("framework", "guard", "model", "tool")}
    assert found == {"framework": near(0.25, 3), "guard": near(0.5), "model": near(10), "tool": near(4)}


async def test_parts_side_by_side_are_taken_off_once(hand: Hand, latencies: Latencies) -> None:
    first, second = asyncio.Event(), asyncio.Event()

    async def tool(until: asyncio.Event) -> None:
        with spent("tool"):
            await until.wait()

    with watched(latencies, "p"):
        async with asyncio.TaskGroup() as group:
            group.create_task(tool(first))
            group.create_task(tool(second))
            await asyncio.sleep(0)
            hand.at += 3
            first.set()
            await asyncio.sleep(0.01)
            hand.at += 2
            second.set()
        hand.at += 1
        step_ended()
    assert total(latencies, "tool") == near(3, 5)
    assert total(latencies, "framework") == near(1)


def test_a_part_that_fails_counts_and_one_that_outlasts_its_step_is_divided(hand: Hand, latencies: Latencies) -> None:
    with watched(latencies, "p"):
        with suppress(ValueError), spent("model"):
            hand.at += 1
            raise ValueError
        with spent("tool"):
            hand.at += 2
            step_ended()
            hand.at += 4
        hand.at += 8
        step_ended()
    assert total(latencies, "model") == near(1)
    assert total(latencies, "tool") == near(6)
    assert latencies.gathered()["p", "framework"] == {0: 1, bucket(8.0): 1}


def test_a_watch_goes_into_an_empty_context_only_where_it_is_carried(latencies: Latencies) -> None:
    with watched(latencies, "p"):
        apart = contextvars.Context()
        assert apart.run(watch) is None
        apart.run(carry, watch())
        assert isinstance(apart.run(watch), Watch)


def test_nothing_is_measured_without_a_watch(latencies: Latencies) -> None:
    with watched(None, "p"), spent("tool"):
        step_ended()
    assert latencies.gathered() == {}


def test_what_is_older_than_the_window_is_forgotten(hand: Hand, latencies: Latencies) -> None:
    latencies.add("p", "queue", 1.0)
    for _ in range(4):
        hand.at += WINDOW_S / 5
        assert latencies.gathered()["p", "queue"] == {bucket(1.0): 1}
        latencies.add("p", "model", 1.0)
    hand.at += WINDOW_S / 5
    assert latencies.gathered() == {("p", "model"): {bucket(1.0): 4}}
    hand.at += WINDOW_S
    assert latencies.gathered() == {}
