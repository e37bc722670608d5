"""kill -9 of the process that pays, before every step that anybody outside of it notices, and its database going away.

Threat 23. Proves FR-625 and FR-630 with real processes: whatever was half done, each payment is made once, and chain,
books and budgets agree at the end.
"""

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("web3", reason="the extra commerce is not installed")

from chimera.commerce.intents import Intent, IntentState
from chimera.core.errors import ChimeraError
from chimera.store.postgres import connect

if TYPE_CHECKING:
    from tests.integration.commerce.chain.conftest import Bank  # noqa: TID251 - its type alone
    from tests.integration.commerce.conftest import Doom  # noqa: TID251 - its type alone

S = IntentState
MOST_STEPS = 100
"""More than a payment has: a process gets through before the list is at its end."""


async def reserved(bank: "Bank", number: int) -> list[Intent]:
    """Payments that wait to be signed, each of a wallet of its own: what one left behind is in no other's way."""
    for n in range(number):
        await bank.wallet(f"ann {n}", 10**17, 1_000)
    intents = [await bank.approved(100 + n, agent=f"ann {n}") for n in range(number)]
    for each in intents:
        await bank.books.ledger.reserve(each)
    return intents


async def paid_once(bank: "Bank", intents: list[Intent]) -> None:
    """Each was made, and nothing else."""
    assert [await bank.books.state(each) for each in intents] == [S.CAPTURED] * len(intents)
    assert [await bank.has(each.asked.payee) for each in intents] == [100 + n for n in range(len(intents))]
    wallets = await bank.payer.wallets.listed(bank.chain.chain_id, bank.books.tenant)
    assert [await bank.chain.nonce(each.address) for each in wallets] == [1] * len(intents)
    assert [each.next_nonce for each in wallets] == [1] * len(intents)
    assert await bank.payer.check_wallets(bank.books.tenant) == []
    await bank.books.intact()


@pytest.mark.threat(23)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.long), 24])
async def test_a_payer_that_is_killed_at_any_step_pays_once(bank: "Bank", doom: "Doom", every: int) -> None:
    await bank.budgets()
    points = list(range(1, MOST_STEPS, every))
    intents = await reserved(bank, len(points))
    parts = {"chain": bank.chain, "signer": bank.signer, "cfo": bank.cfo}
    found = await doom("pay", [each.id for each in intents], points, parts, chain=bank.chain.chain_id)
    *killed, through = found["codes"]
    assert killed == [-9] * len(killed)
    assert (through, found["last"]) == (0, 0)
    assert len(killed) * every > 20, "a payment has more steps than that"
    await paid_once(bank, intents)


@pytest.mark.threat(23)
@pytest.mark.timeout(120)
async def test_a_payer_whose_database_goes_away_pays_once(bank: "Bank", shared_database_url: str) -> None:
    """All connections are cut, again and again, as when Postgres is started anew; the payer goes on by itself."""
    await bank.budgets()
    intents = await reserved(bank, 6)
    source, ended = random.Random(23), asyncio.Event()
    cut = (
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"
    )
    payer = bank.new_payer()

    async def turns() -> None:
        while not ended.is_set():
            try:
                await payer.turn()
            except* ChimeraError:  # the next turn goes on
                pass
            await asyncio.sleep(0.01)

    running = asyncio.create_task(turns())
    async with await connect(shared_database_url) as outside:
        for _ in range(12):
            await asyncio.sleep(source.random() * 0.15)
            await outside.execute(cut, (outside.info.backend_pid,))
    async with asyncio.timeout(60):
        while not all([await bank.books.state(each) == S.CAPTURED for each in intents]):
            assert not running.done() or running.result()
            await asyncio.sleep(0.02)
    ended.set()
    await running
    await paid_once(bank, intents)
