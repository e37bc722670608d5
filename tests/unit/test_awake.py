"""A process notices when it stood still, and is not misled by waiting. Proves FR-380 in part."""

import asyncio
import time

from chimera.fleet.awake import Awake

GAP_S = 0.5


async def watched(awake: Awake, *, blocked_s: float = 0.0, waited_s: float = 0.0) -> None:
    """What is watched: it blocks the loop, then waits, and the watch is ended at once."""
    watching = asyncio.create_task(awake.watch())
    await asyncio.sleep(0)
    time.sleep(blocked_s)  # noqa: ASYNC251 - this is what it has to notice
    await asyncio.sleep(waited_s)
    watching.cancel()
    await asyncio.wait([watching])


async def test_waiting_is_no_standstill() -> None:
    awake = Awake(GAP_S)
    await watched(awake, waited_s=2 * GAP_S)
    assert awake.always


async def test_a_standstill_is_noticed_even_when_the_watch_ends_right_after_it() -> None:
    awake = Awake(GAP_S)
    await watched(awake, blocked_s=2 * GAP_S)
    assert not awake.always


async def test_a_standstill_is_not_forgotten() -> None:
    awake = Awake(GAP_S)
    await watched(awake, blocked_s=2 * GAP_S, waited_s=GAP_S)
    await watched(awake, waited_s=GAP_S)
    assert not awake.always
