"""Writers that share a transaction: one call for all who wait, and a failure for whom it concerns. Proves FR-367."""

import asyncio
from collections.abc import Sequence

import pytest

from chimera.core.errors import StoreUnavailable
from chimera.store.together import Together


class Written:
    """Doubles numbers, refuses odd ones, and is gone when told so."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gone = False

    async def write(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        await asyncio.sleep(0)
        if self.gone:
            raise StoreUnavailable("gone")
        if any(item % 2 for item in items):
            raise ValueError("odd")
        return [2 * item for item in items]


async def test_what_comes_at_the_same_time_is_one_call() -> None:
    written = Written()
    together = Together(written.write)
    assert await asyncio.gather(*(together.submit(item) for item in (2, 4, 6, 8))) == [4, 8, 12, 16]
    assert written.batches == [[2], [4, 6, 8]], "the first does not wait, and the others gather meanwhile"
    assert await together.submit(10) == 20


async def test_an_item_that_cannot_be_written_fails_alone() -> None:
    together = Together(Written().write)
    done = await asyncio.gather(*(together.submit(item) for item in (2, 3, 4)), return_exceptions=True)
    assert [type(one) for one in done] == [int, ValueError, int]


async def test_a_store_that_is_gone_is_told_to_all_and_not_asked_for_each() -> None:
    written = Written()
    written.gone = True
    together = Together(written.write)
    done = await asyncio.gather(*(together.submit(item) for item in (2, 4, 6)), return_exceptions=True)
    assert [type(one) for one in done] == [StoreUnavailable] * 3
    assert written.batches == [[2], [4, 6]]


async def test_who_gives_up_takes_nobody_along() -> None:
    together = Together(Written().write)
    tasks = [asyncio.create_task(together.submit(item)) for item in (2, 4, 6)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert await asyncio.gather(*tasks[1:]) == [8, 12]
