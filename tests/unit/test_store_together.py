"""Writers that share a transaction: one call for all who wait, and a failure for whom it concerns. Proves FR-367."""

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext

import pytest

from chimera.core.errors import StoreUnavailable
from chimera.store.together import MANY, MOST_BYTES, SPACED_S, Together, Turns


class Written:
    """Doubles numbers, refuses odd ones, and is gone when told so."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gone = False

    async def write(self, _: None, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        await asyncio.sleep(0)
        if self.gone:
            raise StoreUnavailable("gone")
        if any(item % 2 for item in items):
            raise ValueError("odd")
        return [2 * item for item in items]


def writing(written: Written, turns: Turns[None] | None = None) -> Together[None, int, int]:
    return Together(turns or Turns(nullcontext), written.write)


async def test_what_comes_at_the_same_time_is_one_call() -> None:
    written = Written()
    together = writing(written)
    first = [asyncio.create_task(together.submit(item)) for item in (2, 4)]
    async with asyncio.timeout(40):
        while not written.batches:  # noqa: ASYNC110 - a turn of the loop or two
            await asyncio.sleep(0)
    assert await asyncio.gather(*first, *(together.submit(item) for item in (6, 8))) == [4, 8, 12, 16]
    assert written.batches == [[2, 4], [6, 8]], "what comes meanwhile gathers"
    assert await together.submit(10) == 20


async def test_different_things_share_one_turn_and_fail_apart() -> None:
    opened: list[list[Written]] = []

    class Turn(nullcontext[None]):
        def __enter__(self) -> None:
            opened.append([])

        async def __aenter__(self) -> None:
            self.__enter__()

    class Noting(Written):
        async def write(self, _: None, items: Sequence[int]) -> list[int]:
            opened[-1].append(self)
            return await super().write(None, items)

    last, one, other = Noting(), Noting(), Noting()
    turns: Turns[None] = Turns(Turn)
    wrote = [Together(turns, last.write, last=True), Together(turns, one.write), Together(turns, other.write)]
    assert await asyncio.gather(*(each.submit(2) for each in wrote)) == [4, 4, 4]
    assert opened == [[one, other, last]], "one turn for all, and who holds what others wait for comes last"
    done = await asyncio.gather(
        *(each.submit(item) for each, item in zip(wrote, (4, 5, 6), strict=True)), return_exceptions=True
    )
    assert [type(found) for found in done] == [int, ValueError, int]


async def test_after_many_the_next_turn_waits_for_more_and_after_few_it_does_not() -> None:
    """Proves FR-367: a turn of many is followed by one that more can share; who is alone waits for nobody."""
    opened: list[float] = []

    class Turn(nullcontext[None]):
        async def __aenter__(self) -> None:
            opened.append(asyncio.get_running_loop().time())

    async def turns_of(first: int) -> float:
        together = writing(Written(), turns := Turns[None](Turn))
        opened.clear()
        tasks = [asyncio.create_task(together.submit(2)) for _ in range(first)]
        while not opened:  # noqa: ASYNC110 - a turn of the loop or two
            await asyncio.sleep(0)
        tasks.append(asyncio.create_task(together.submit(4)))
        await asyncio.gather(*tasks)
        await turns.settled()
        assert len(opened) == 2
        return opened[1] - opened[0]

    assert await turns_of(MANY) >= SPACED_S * 0.99
    assert min([await turns_of(MANY - 1) for _ in range(20)]) < SPACED_S


async def test_what_is_large_is_carried_in_parts() -> None:
    written = Written()
    together: Together[None, int, int] = Together(Turns(nullcontext), written.write, size=lambda item: item)
    await asyncio.gather(*(together.submit(item) for item in (MOST_BYTES, 2, 4, MOST_BYTES, 6)))
    assert written.batches == [[MOST_BYTES], [2, 4, MOST_BYTES], [6]]


async def test_what_is_kept_is_told_before_those_who_wait() -> None:
    told: list[object] = []
    together: Together[None, int, int] = Together(
        Turns(nullcontext), Written().write, kept=lambda items, answers: told.append((list(items), list(answers)))
    )
    assert await asyncio.gather(*(together.submit(item) for item in (2, 3)), return_exceptions=True) != [4, 6]
    assert told == [([2], [4])], "and never of what is not"


async def test_an_item_that_cannot_be_written_fails_alone() -> None:
    together = writing(Written())
    done = await asyncio.gather(*(together.submit(item) for item in (2, 3, 4)), return_exceptions=True)
    assert [type(one) for one in done] == [int, ValueError, int]


async def test_a_store_that_is_gone_is_told_to_all_and_not_asked_for_each() -> None:
    written = Written()
    written.gone = True
    together = writing(written)
    done = await asyncio.gather(*(together.submit(item) for item in (2, 4, 6)), return_exceptions=True)
    assert [type(one) for one in done] == [StoreUnavailable] * 3
    assert written.batches == [[2, 4, 6]]


async def test_who_gives_up_takes_nobody_along() -> None:
    together = writing(Written())
    tasks = [asyncio.create_task(together.submit(item)) for item in (2, 4, 6)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert await asyncio.gather(*tasks[1:]) == [8, 12]
