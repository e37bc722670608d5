"""Limits of model providers that hold for all processes together, in a real Valkey. Proves FR-364."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from redis.asyncio import Redis

from chimera.core.clock import SystemClock
from chimera.models.limits import ProviderLimits
from chimera.store.embedded import Endpoints
from chimera.store.limits import RedisBuckets


@pytest.fixture
async def redis(endpoints: Endpoints) -> AsyncGenerator[Redis]:
    client = Redis.from_url(endpoints.redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def buckets(redis: Redis, request: pytest.FixtureRequest) -> list[RedisBuckets]:
    """Two processes' view of the same buckets, of this test alone."""
    return [RedisBuckets(redis, f"test:{request.node.name}") for _ in range(2)]


async def test_two_processes_share_one_allowance(buckets: list[RedisBuckets]) -> None:
    """60 a minute, a burst of 10 s: ten in all, and the next one in a second."""
    taken = [await each.take("p", 60, 0, 1, 10_000) for _ in range(10) for each in buckets]
    assert taken.count(0.0) in (10, 11), "one more when the test takes a second"
    assert 0 < max(wait for wait in taken if wait is not None) <= 1.0


async def test_tokens_are_counted_and_corrected(buckets: list[RedisBuckets]) -> None:
    one, other = buckets
    assert await one.take("p", 0, 6_000, 900, 10_000) == 0
    waits = await other.take("p", 0, 6_000, 900, 10_000)
    assert waits is not None
    assert 6 < waits <= 8
    await one.settle("p", 6_000, -850)
    assert await other.take("p", 0, 6_000, 900, 10_000) == 0


async def test_what_a_provider_says_to_one_holds_for_all(buckets: list[RedisBuckets]) -> None:
    one, other = buckets
    await one.pause("p", 30)
    await one.pause("p", 1)
    waits = await other.take("p", 600, 0, 1, 10_000)
    assert waits is not None
    assert 25 < waits <= 30, "a shorter pause does not end a longer one"
    assert await other.take("q", 600, 0, 1, 10_000) == 0


async def test_a_fleet_of_two_processes_stays_below_the_limit_and_serves_everybody(
    buckets: list[RedisBuckets],
) -> None:
    """1,200 a minute are 100 at once and then 20 a second: 110 calls of two processes all have their turn."""
    limits = [ProviderLimits({"p": (1_200, 0)}, SystemClock(), each) for each in buckets]
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for number in range(110):
            admitted = limits[number % 2].admit("p:m", 10, tenant=f"t{number % 3}", priority=0, within_s=20)
            group.create_task(admitted)
    wait = await buckets[0].take("p", 1_200, 0, 1, 5_000)
    assert wait is not None
    assert wait > 0, "nothing was let through that was not counted"


async def test_without_redis_each_process_keeps_the_limit_by_itself() -> None:
    nobody = RedisBuckets(Redis.from_url("redis://127.0.0.1:1/0"))
    assert await nobody.take("p", 60, 0, 1, 10_000) is None
    limits = ProviderLimits({"p": (60, 0)}, SystemClock(), nobody)
    async with asyncio.timeout(40):
        for _ in range(5):  # the burst
            await limits.admit("p:m", 1, tenant="t", priority=0, within_s=5)
