"""kill -9 of the process that pays, at every point where it talks to somebody: the signer, the CFO's record, the chain.

Threat 23. Proves FR-625 and FR-630 with real processes: whatever was half done, each payment is made once, and chain,
books and budgets agree at the end. The kill comes before a request is carried out, or before its answer.
"""

import asyncio
import pickle
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("web3", reason="the extra commerce is not installed")

from chimera.commerce.intents import IntentState

if TYPE_CHECKING:
    from tests.integration.commerce.chain.conftest import Bank  # noqa: TID251 - its type alone

S = IntentState
POINTS = (
    ("signer", "sign_payment", "before"),
    ("signer", "sign_payment", "after"),
    ("chain", "send_raw", "before"),
    ("chain", "send_raw", "after"),
    ("chain", "receipt", "after"),
    ("chain", "balance", "after"),
)
PAYMENTS = 3


class Deadly:
    """Carries out what a payer's process asks for, and kills it at one point of one kind of request."""

    def __init__(self, bank: "Bank") -> None:
        self._parts = {"chain": bank.chain, "signer": bank.signer, "cfo": bank.cfo}
        self.point: tuple[str, str, str] | None = None
        self.process: asyncio.subprocess.Process | None = None

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            length = int.from_bytes(await reader.readexactly(4), "big")
            part, method, values, named = pickle.loads(await reader.readexactly(length))
            if self._kills(part, method, "before"):
                return
            try:
                answer: tuple[bool, Any] = (True, await getattr(self._parts[part], method)(*values, **named))
            except Exception as error:  # noqa: BLE001 - told to whoever asked
                answer = (False, error)
            if self._kills(part, method, "after"):
                return
            told = pickle.dumps(answer)
            writer.write(len(told).to_bytes(4, "big") + told)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # it was killed meanwhile
        finally:
            writer.close()

    def _kills(self, *point: str) -> bool:
        if self.point != point or self.process is None:
            return False
        self.point = None
        self.process.kill()
        return True


@pytest.mark.timeout(180)
async def test_a_payer_that_is_killed_anywhere_pays_once(
    bank: "Bank", shared_database_url: str, tmp_path: Path
) -> None:
    await bank.budgets()
    wallet = await bank.wallet()
    intents = [await bank.approved(100 + n) for n in range(PAYMENTS)]
    for each in intents:
        await bank.books.ledger.reserve(each)
    deadly = Deadly(bank)
    place = tmp_path / "s"
    server = await asyncio.start_unix_server(deadly.meet, place)
    words = [str(place), str(bank.chain.chain_id), *(each.id for each in intents)]
    killed = 0
    for point in (*POINTS, None):
        deadly.process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(__file__).with_name("doomed.py")), shared_database_url, *words),
            stdout=asyncio.subprocess.PIPE,
        )
        deadly.point = point
        async with asyncio.timeout(60):
            said, _ = await deadly.process.communicate()
        killed += deadly.process.returncode == -9
        if deadly.process.returncode == 0:
            assert b"ended" in said
            break
    server.close()
    assert killed >= 4
    assert [await bank.books.state(each) for each in intents] == [S.CAPTURED] * PAYMENTS
    assert [await bank.has(each.asked.payee) for each in intents] == [100 + n for n in range(PAYMENTS)]
    assert await bank.chain.nonce(wallet) == PAYMENTS
    assert await bank.payer.check_wallets(bank.books.tenant) == []
    await bank.books.intact()
