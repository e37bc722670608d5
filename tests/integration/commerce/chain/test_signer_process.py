"""The signer as a process: who may ask it, what it survives, and that its key stays in it.

Proves FR-621; each test says which threat it shows.
"""

import asyncio
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("web3", reason="the extra commerce is not installed")

from chimera.commerce.chain.embedded import LOCAL_CHAIN
from chimera.commerce.intents import IntentState
from chimera.commerce.wallet.approval import approval_for
from chimera.commerce.wallet.book import SignedBook
from chimera.commerce.wallet.client import SignerClient
from chimera.commerce.wallet.keys import open_keystore
from chimera.commerce.wallet.request import LENGTH_BYTES, Gas, SignRequest
from chimera.commerce.wallet.rules import PaymentSigner, Trusted
from chimera.commerce.wallet.server import SignerServer
from chimera.core.errors import ConfigError, SignerDown, SignerRefused
from chimera.store.postgres import fetch

if TYPE_CHECKING:
    from tests.integration.commerce.chain.conftest import Bank, Starts  # noqa: TID251 - its type alone

PACKAGE = Path(__file__).resolve().parents[4] / "chimera"
S = IntentState


@pytest.mark.threat(23)
async def test_the_signer_is_killed_and_started_and_pays_once(bank: "Bank", start_signer: "Starts") -> None:
    """Threat 23 in part. kill -9 while payments are made: they wait, and the one that was signed is the same again."""
    client, process = await start_signer()
    payer = bank.new_payer(signer=client)
    await bank.budgets()
    wallet = (await payer.wallet(bank.books.tenant, "ann")).address
    await bank.chain.fund(wallet, 10**18)
    await bank.chain.fund(wallet, 10**6, bank.token.address)
    first = await bank.approved(100)
    assert await payer.pay(first.id) == S.CAPTURED
    process.kill()
    await process.wait()
    second = await bank.approved(50)
    await bank.books.ledger.reserve(second)
    assert not await payer.step(second.id)
    assert await bank.books.state(second) == S.RESERVED
    assert "signer" in (await bank.alarms())[-1]
    again, _ = await start_signer()
    payer = bank.new_payer(signer=again)
    assert (await payer.wallet(bank.books.tenant, "ann")).address == wallet
    assert await payer.pay(second.id) == S.CAPTURED
    made = (await payer.wallets.transactions(first.id))[0]
    same = await again.sign_payment(SignRequest(first, bank.cfo.kept[first.id], made.nonce, made.gas))
    assert same.raw == made.raw
    with pytest.raises(SignerRefused):
        await again.sign_payment(SignRequest(first, bank.cfo.kept[first.id], made.nonce + 9, made.gas))
    assert await bank.has(first.asked.payee) == 100
    assert await bank.has(second.asked.payee) == 50


def plain(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


@pytest.mark.threat(24)
async def test_the_key_is_in_no_row_no_log_and_no_answer(bank: "Bank", start_signer: "Starts", tmp_path: Path) -> None:
    """Threat 24 in part. After payments and refusals: in rows, output, book and arguments there is no key."""
    client, process = await start_signer()
    payer = bank.new_payer(signer=client)
    await bank.budgets()
    wallet = (await payer.wallet(bank.books.tenant, "ann")).address
    await bank.chain.fund(wallet, 10**18)
    await bank.chain.fund(wallet, 10**6, bank.token.address)
    intent = await bank.approved(100)
    await payer.pay(intent.id)
    with pytest.raises(SignerRefused):
        await client.sign_payment(SignRequest(intent, approval_for(intent), 4, Gas(90_000, 9, 1)))
    keys = open_keystore(tmp_path / "signer" / "keystore.json", "a passphrase of the tests")
    account: Any = keys._account(bank.books.tenant, "ann")  # pyright: ignore[reportPrivateUsage]
    assert account.address == wallet
    key, secret = bytes(account.key), bytes(keys._LocalKeys__secret)  # pyright: ignore
    haystack: list[str] = []
    for table in ("intents", "intent_moves", "wallets", "wallet_nonces", "chain_transactions", "audit_events"):
        haystack += [json.dumps(row, default=plain) for row in await fetch(bank.books.pool, f"SELECT * FROM {table}")]
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    raw = b"".join(each.read_bytes() for each in files) + "\n".join(haystack).encode()
    raw += Path(f"/proc/{process.pid}/cmdline").read_bytes() if os.path.exists("/proc") else b""
    for each in (key, secret):
        assert each not in raw
        assert each.hex().encode() not in raw.lower()
    assert b"a passphrase of the tests" not in raw
    if os.path.exists("/proc"):
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        assert re.search(r"Max core file size\s+0\s+0", limits)
        if os.getuid():  # root may look into every process
            assert not os.access(f"/proc/{process.pid}/mem", os.R_OK)


@pytest.mark.threat(26)
async def test_the_kernel_says_who_asks(bank: "Bank", tmp_path: Path) -> None:
    """Threat 26 in part. Another user is not answered, whatever it sends."""
    async with serving(bank, tmp_path, users={os.getuid() + 1}) as client:
        with pytest.raises(SignerDown):
            await client.address("t", "ann")
    async with serving(bank, tmp_path, users=None) as client:
        assert (await client.address("t", "ann")).startswith("0x")
        with pytest.raises(SignerRefused):
            await client._ask({"call": "sign_hash", "hash": "0x" + "11" * 32})  # pyright: ignore[reportPrivateUsage]


@pytest.mark.threat(16)
async def test_a_peer_that_sends_anything_harms_nobody(bank: "Bank", tmp_path: Path) -> None:
    """Threat 16 in part. Frames that are too long, cut off, or no JSON."""
    async with serving(bank, tmp_path, users=None) as client:
        place = tmp_path / "own" / "signer.sock"
        for sent in (b"\xff\xff\xff\xff", b"\0\0", (9).to_bytes(LENGTH_BYTES, "big") + b"not json!", b"\0\0\0\0"):
            reader, writer = await asyncio.open_unix_connection(place)
            writer.write(sent)
            writer.write_eof()
            async with asyncio.timeout(5):
                answer = await reader.read()
            assert answer == b"" or b"refused" in answer
            writer.close()
            await writer.wait_closed()
        assert await client.address("t", "ann")


async def test_a_folder_that_others_can_enter_is_none_for_a_signer(bank: "Bank", tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    server = SignerServer(bank.rules(tmp_path))
    with pytest.raises(ConfigError, match="open to others"):
        await server.serve(folder / "s", asyncio.Event())
    async with serving(bank, tmp_path, users=None):
        with pytest.raises(ConfigError, match="already"):
            await server.serve(tmp_path / "own" / "signer.sock", asyncio.Event())


@pytest.mark.threat(26)
def test_only_the_payer_asks_the_signer() -> None:
    """Threat 26. Of the whole package, only the payments' own modules use the ways to the signer and to sending.

    Agents' code (nodes, graphs, fleet, tools, skills) reaches them in no way.
    """
    may = {"commerce", "app.py", "bench"}
    asks = re.compile(r"wallet\.client|wallet\.rules|wallet\.keys|commerce\.signing|\.sign_payment\(|send_raw")
    found = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if asks.search(path.read_text())}
    assert found
    assert {str(path) for path in found if path.parts[0] not in may} == set()


class serving:  # noqa: N801 - a context, as asyncio.timeout is
    """The signer's server in this process, for certain users."""

    def __init__(self, bank: "Bank", tmp_path: Path, users: set[int] | None) -> None:
        self._folder = tmp_path / "own"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        signer = PaymentSigner(bank.keys, SignedBook(self._folder / "b.db"), Trusted({"0x"}, {LOCAL_CHAIN}))
        self._server = SignerServer(signer, users)

    async def __aenter__(self) -> SignerClient:
        ready = asyncio.Event()
        place = self._folder / "signer.sock"
        self._serving = asyncio.create_task(self._server.serve(place, ready))
        async with asyncio.timeout(5):
            await ready.wait()
        self._client = SignerClient(place, 5.0)
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()
        self._serving.cancel()
        await asyncio.gather(self._serving, return_exceptions=True)
