"""Turns under a provider's limits: by priority, fair among tenants, given up when nobody waits any more.

Proves FR-364 within one process; ``tests/integration/test_provider_limits.py`` proves it for several.
"""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from chimera.core.clock import ManualClock, SystemClock
from chimera.core.errors import ModelTimeout
from chimera.models.limits import BURST_MS, Buckets, LocalBuckets, ProviderLimits, retry_after


class Gate(Buckets):
    """Lets as many through as it was told to."""

    def __init__(self) -> None:
        self.open = 0
        self.taken: list[int] = []
        self.settled: list[int] = []

    async def take(self, name: str, requests: int, tokens: int, wanted: int, burst_ms: int) -> float | None:
        if not self.open:
            return 0.001
        self.open -= 1
        self.taken.append(wanted)
        return 0.0

    async def settle(self, name: str, tokens: int, more: int) -> None:
        self.settled.append(more)

    async def pause(self, name: str, seconds: float) -> None:
        self.open = 0


async def served(*asked: tuple[str, int, int]) -> list[str]:
    """In which order those who asked (tenant, tokens, priority) have their turns."""
    gate = Gate()
    limits = ProviderLimits({"p": (60, 1_000)}, SystemClock(), gate)
    order: list[str] = []

    async def ask(tenant: str, tokens: int, priority: int) -> None:
        await limits.admit("p:model", tokens, tenant=tenant, priority=priority, within_s=10)
        order.append(tenant)

    async with asyncio.TaskGroup() as group:
        for one in asked:
            group.create_task(ask(*one))
        await asyncio.sleep(0)
        gate.open = len(asked)
    return order


async def test_a_tenant_that_asks_for_much_does_not_starve_another() -> None:
    order = await served(*[("greedy", 10, 0)] * 8, *[("modest", 10, 0)] * 2)
    assert order[:4].count("modest") == 2
    assert order[4:] == ["greedy"] * 6


async def test_a_large_call_counts_for_what_it_is() -> None:
    order = await served(("large", 90, 0), ("large", 90, 0), *[("small", 10, 0)] * 9)
    assert order.index("large", order.index("large") + 1) == 10, "nine small ones are as much as one large one"


async def test_the_urgent_go_first() -> None:
    assert (await served(*[("usual", 10, 0)] * 3, ("urgent", 10, 5)))[0] == "urgent"


async def test_who_gives_up_leaves_the_queue() -> None:
    gate = Gate()
    limits = ProviderLimits({"p": (60, 0)}, SystemClock(), gate)
    with pytest.raises(ModelTimeout, match="no turn"):
        await limits.admit("p:m", 1, tenant="t", priority=0, within_s=0.01)
    waiting = asyncio.create_task(limits.admit("p:m", 2, tenant="t", priority=0, within_s=10))
    await asyncio.sleep(0)
    gate.open = 2
    await waiting
    assert gate.taken == [2]
    await limits.settle("p:m", 2, 7)
    assert gate.settled == [], "there is no limit of tokens to correct"


async def test_what_has_no_limit_asks_nobody_until_its_provider_complains() -> None:
    gate = Gate()
    limits = ProviderLimits({"p": (60, 0)}, SystemClock(), gate)
    await limits.admit("other:m", 1_000, tenant="t", priority=0, within_s=0.01)
    error = ValueError()
    error.response = SimpleNamespace(headers={"retry-after": "30"})  # pyright: ignore[reportAttributeAccessIssue]
    assert await limits.refused("other:m", error) == 30
    with pytest.raises(ModelTimeout):
        await limits.admit("other:m", 1, tenant="t", priority=0, within_s=0.01)


async def test_refusals_without_a_time_are_waited_for_longer_and_longer() -> None:
    limits = ProviderLimits({}, SystemClock())
    first = [await limits.refused("p:m", ValueError()) for _ in range(4)]
    assert first == [0.5, 1, 2, 4]
    await limits.settle("p:m", 1, 1)
    assert await limits.refused("p:m", ValueError()) == 0.5
    assert [await limits.refused("p:m", ValueError()) for _ in range(40)][-1] == 300


async def test_a_model_of_its_own_limit_is_not_held_by_its_provider() -> None:
    limits = ProviderLimits({"p": (1, 1), "p:large": (9, 9)}, SystemClock())
    assert [limits.limited_by(name) for name in ("p:large", "p:small", "q:x", "offline")] == [
        "p:large",
        "p",
        "q:x",
        "offline",
    ]


async def test_a_minute_has_what_it_has_and_a_burst_of_it_at_once() -> None:
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    buckets = LocalBuckets(clock)

    async def taken(tokens: int = 0) -> int:
        count = 0
        while (await buckets.take("p", 600, 0 if not tokens else 60_000, tokens, BURST_MS)) == 0:
            count += 1
        return count

    assert await taken() == 50
    clock.advance(1)
    assert await taken() == 10
    clock.advance(60)
    assert await taken(1_000) == 5, "tokens end first"
    await buckets.settle("p", 60_000, -3_000)
    assert await taken(1_000) == 3
    clock.advance(60)
    assert await taken(1_000_000) == 1, "more than ever fits waits for an empty bucket, and is then let through"
    clock.advance(600)
    assert await taken(1_000) == 0, "and is paid for"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30),
        ({"retry-after": "soon"}, 2),
        ({"retry-after": "-5"}, 2),
        ({"retry-after-ms": "never"}, 2),
        ({}, 2),
    ],
)
def test_what_a_provider_asks_for_is_read(headers: dict[str, str], seconds: float) -> None:
    error = ValueError()
    error.response = SimpleNamespace(headers=headers)  # pyright: ignore[reportAttributeAccessIssue]
    assert retry_after(error, 2) == seconds
    assert retry_after(ValueError(), 2) == 2
