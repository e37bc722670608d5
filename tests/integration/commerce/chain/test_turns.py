"""What a payer's turn does not do: ask the chain again about what only a block can change, or take others' payments.

Proves FR-674, and that of FR-630 which makes it cheap.
"""

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("web3", reason="the extra commerce is not installed")

from chimera.commerce.intents import IntentState
from chimera.commerce.shares import SHARES

if TYPE_CHECKING:
    from tests.integration.commerce.chain.conftest import Bank  # noqa: TID251 - its type alone

S = IntentState


class Counting:
    """The chain, with how often it was asked for a receipt."""

    def __init__(self, chain: Any) -> None:
        self._chain = chain
        self.receipts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    async def receipt(self, hash_: str) -> Any:
        self.receipts += 1
        return await self._chain.receipt(hash_)


async def test_what_waits_for_blocks_is_looked_at_with_the_block_it_waits_for(bank: "Bank") -> None:
    await bank.budgets()
    await bank.wallet()
    counting: Any = Counting(bank.chain)
    payer = bank.new_payer(chain=counting, depth=3, resend_s=60.0)
    intent = await bank.approved(5)
    await bank.books.ledger.reserve(intent)
    await payer.turn()
    assert await bank.books.state(intent) == S.BROADCAST
    asked = counting.receipts
    assert asked == 1
    for _ in range(3):
        assert await payer.turn() == 1
    await bank.chain.mine(1)
    await payer.turn()
    assert counting.receipts == asked
    await bank.chain.mine(1)
    await payer.turn()
    assert await bank.books.state(intent) == S.CAPTURED
    await bank.books.intact()


async def test_what_was_sent_and_is_in_no_block_is_sent_again_without_a_new_block(bank: "Bank") -> None:
    """A chain that has lost it makes no block for it either, so the time counts too."""
    await bank.budgets()
    await bank.wallet()
    counting: Any = Counting(bank.chain)
    payer = bank.new_payer(chain=counting, depth=3, resend_s=0.0)
    intent = await bank.approved(5)
    await bank.books.ledger.reserve(intent)
    await payer.turn()
    asked = counting.receipts
    await payer.turn()
    assert counting.receipts > asked


async def test_a_turn_takes_the_payments_of_its_shares(bank: "Bank") -> None:
    await bank.budgets()
    await bank.wallet()
    first, second = await bank.approved(5), await bank.approved(6)
    payer = bank.new_payer()
    await bank.books.ledger.reserve(first)
    await payer.turn(shares=[])
    assert await bank.books.state(first) == S.RESERVED
    left, mine = iter(range(SHARES)), -1
    while await bank.books.state(first) == S.RESERVED:
        mine = next(left)
        await payer.turn(shares=[mine])
    await bank.books.ledger.reserve(second)
    await payer.turn(shares=[share for share in range(SHARES) if share != mine])
    assert await bank.books.state(second) == S.RESERVED
    await payer.turn(shares=[mine])
    assert await bank.books.state(second) == S.CAPTURED
