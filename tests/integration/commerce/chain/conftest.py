"""A chain of its own kind to test with: a real EVM, a token, books that know it, a signer, and a CFO that approves.

The EVM is made once for the session (five seconds); wallets are of each test's own. The signer is the real one without
its process, unless a test starts that.
"""

import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("web3", reason="the extra commerce is not installed")
pytest.importorskip("eth_tester", reason="the extra commerce is not installed")
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_tester import EthereumTester

from chimera.commerce.assets import Asset
from chimera.commerce.chain.embedded import COIN, LOCAL_CHAIN, EmbeddedChain, chain_of, local_token, new_tester
from chimera.commerce.chain.port import Chain
from chimera.commerce.intents import Intent, IntentState
from chimera.commerce.paying import Patience, Payer
from chimera.commerce.wallet.approval import approval_for, typed_data
from chimera.commerce.wallet.book import SignedBook
from chimera.commerce.wallet.client import Signer, SignerClient
from chimera.commerce.wallet.keys import LocalKeys
from chimera.commerce.wallet.request import Signed, SignRequest
from chimera.commerce.wallet.rules import PaymentSigner, Trusted
from chimera.core.clock import SystemClock
from chimera.core.errors import SignerDown
from chimera.core.ids import random_ids
from chimera.store.audit import AuditLog

if TYPE_CHECKING:
    from tests.integration.commerce.conftest import Books  # noqa: TID251 - its type alone

CFO = Account.from_key(b"\2" * 32)
FEE_CAP = 10**16
PASSPHRASE = "a passphrase of the tests"
ODD = json.loads(Path(__file__).with_name("odd_token.json").read_text())["bytecode"]


class Approving:
    """The CFO of a test: signs every payment that it is shown, and keeps that."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}

    def approve(self, intent: Intent) -> None:
        approval = approval_for(intent)
        signature = CFO.sign_message(encode_typed_data(full_message=typed_data(approval))).signature
        self.kept[intent.id] = dataclasses.replace(approval, signature=bytes(signature))

    async def signed(self, intent_id: str) -> Any:
        kept = self.kept.get(intent_id)
        return None if kept is None else Kept(kept.intent, kept.signature)


@dataclasses.dataclass(frozen=True)
class Kept:
    digest: bytes
    signature: bytes


class InProcess:
    """The signer without its process. ``down``: how many of its answers are lost after it has signed."""

    def __init__(self, signer: PaymentSigner) -> None:
        self._signer = signer
        self.down = 0
        self.asked = 0

    async def address(self, tenant: str, agent: str) -> str:
        return self._signer.address(tenant, agent)

    async def sign_payment(self, request: SignRequest) -> Signed:
        self.asked += 1
        signed = self._signer.sign_payment(request)
        if self.down:
            self.down -= 1
            raise SignerDown("the answer was lost")
        return signed


class Bank:
    """Everything that pays: books, chain, wallets, signer and CFO of one tenant."""

    def __init__(self, books: "Books", chain: EmbeddedChain, token: Asset, folder: Path) -> None:
        self.books = books
        self.chain = chain
        self.token = token
        self.cfo = Approving()
        self.keys = LocalKeys(random_ids()().encode())
        self.signer = InProcess(self.rules(folder))
        self.audit = AuditLog(books.pool, SystemClock())
        self.payer = self.new_payer()

    def rules(self, folder: Path) -> PaymentSigner:
        return PaymentSigner(self.keys, SignedBook(folder / "book.db"), Trusted({CFO.address}, {LOCAL_CHAIN}))

    def new_payer(self, signer: Signer | None = None, chain: Chain | None = None, **patience: Any) -> Payer:
        """A payer as another process has it."""
        known: dict[str, Any] = {"depth": 1, "poll_s": 0.01, "resend_s": 0.0, "stuck_s": 3_600.0, "pay_s": 30.0}
        patient = Patience(**{**known, **patience})
        chain = chain or self.chain
        return Payer(self.books.pool, self.books.ledger, self.audit, chain, signer or self.signer, self.cfo, patient)

    async def wallet(self, agent: str = "ann", coins: int = 10**18, tokens: int = 10**9) -> str:
        """An agent's wallet with money in it."""
        address = (await self.payer.wallet(self.books.tenant, agent)).address
        await self.chain.fund(address, coins)
        if tokens:
            await self.chain.fund(address, tokens, self.token.address)
        return address

    async def budgets(self, cap: int = 10**12) -> None:
        await self.books.budget(cap, asset=self.token)
        await self.books.budget(10**19, asset=COIN)

    async def approved(self, amount: int = 100, asset: Asset | None = None, **fields: Any) -> Intent:
        """A payment that the CFO approved."""
        asset = asset or self.token
        known: dict[str, Any] = {
            "asset": asset.id,
            "chain_id": LOCAL_CHAIN,
            "fee_asset": COIN.id,
            "fee_cap": FEE_CAP,
            "payee": str(Account.create().address),
        }
        intent = await self.books.at(IntentState.APPROVED, amount, **{**known, **fields})
        self.cfo.approve(intent)
        return intent

    async def has(self, address: str, asset: Asset | None = None) -> int:
        asset = asset or self.token
        return await self.chain.balance(asset.address, address)

    async def alarms(self, kind: str = "money.alarm") -> list[str]:
        from chimera.store.postgres import fetch

        query = "SELECT body FROM audit_events WHERE tenant = %s AND kind = %s ORDER BY seq"
        rows = await fetch(self.books.pool, query, (self.books.tenant, kind))
        return [str(json.loads(row["body"])["data"]["why"]) for row in rows]


@pytest.fixture(scope="session")
def tester() -> EthereumTester:
    return new_tester()


@pytest.fixture
async def chain(tester: EthereumTester) -> AsyncGenerator[EmbeddedChain]:
    yield chain_of(tester)
    tester.enable_auto_mine_transactions()


_TOKENS: dict[str, str] = {}


async def deployed(chain: EmbeddedChain, kind: int | None = None) -> Asset:
    """The test token, or an odd one, which starts as a plain one; each is deployed once."""
    name = f"T{kind}" if kind is not None else "LUSD"
    if name not in _TOKENS:
        odd = bytes.fromhex(ODD.removeprefix("0x"))
        code, arguments = (local_token(), [10**15]) if kind is None else (odd, [10**15, 0])
        _TOKENS[name] = await chain.deploy(code, arguments)
    from chimera.commerce.assets import on_chain

    return on_chain(name, LOCAL_CHAIN, 6, _TOKENS[name])


@pytest.fixture
async def bank(books: "Books", chain: EmbeddedChain, tmp_path: Path) -> Bank:
    """A bank whose wallets hold nothing yet."""
    token = await deployed(chain)
    for asset in (COIN, token):
        await books.assets.add(asset, "ada")
    return Bank(books, chain, token, tmp_path)


@pytest.fixture
def odd_token(bank: Bank, chain: EmbeddedChain) -> Any:
    """Makes a token that is plain until ``become`` is called: (asset, become)."""

    async def make(kind: int) -> tuple[Asset, Any]:
        asset = await deployed(chain, kind)
        await bank.books.assets.add(asset, "ada")

        async def become() -> None:
            from eth_utils.crypto import keccak

            data = keccak(text="become(uint256)")[:4] + kind.to_bytes(32, "big")
            account = Account.from_key((2).to_bytes(32, "big"))
            made = {
                "type": 2,
                "chainId": LOCAL_CHAIN,
                "nonce": await chain.nonce(account.address),
                "to": bytes.fromhex(str(asset.address)[2:]),
                "value": 0,
                "data": data,
                "gas": 100_000,
                "maxFeePerGas": 10**10,
                "maxPriorityFeePerGas": 1,
            }
            await chain.send_raw(bytes(account.sign_transaction(made).raw_transaction))

        return asset, become

    return make


Starts = Callable[[], Awaitable[tuple[SignerClient, asyncio.subprocess.Process]]]


@pytest.fixture
async def start_signer(tmp_path: Path) -> AsyncGenerator[Starts]:
    """Starts the signer's process on a folder of the test's, and gives a client of it."""
    folder = tmp_path / "signer"
    folder.mkdir(mode=0o700)
    started: list[tuple[SignerClient, asyncio.subprocess.Process]] = []

    async def start() -> tuple[SignerClient, asyncio.subprocess.Process]:
        read, write = os.pipe()
        os.write(write, PASSPHRASE.encode() + b"\n")
        os.close(write)
        words = ["--cfo", CFO.address, "--chain", str(LOCAL_CHAIN), "--passphrase-fd", str(read), "--make"]
        with (tmp_path / "signer.err").open("a") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "chimera.commerce.wallet", str(folder), *words, "--scrypt", "2"),
                pass_fds=(read,),
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        os.close(read)
        assert process.stdout is not None
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"ready\n"
        started.append((SignerClient(folder / "signer.sock"), process))
        return started[-1]

    yield start
    for client, process in started:
        await client.close()
        if process.returncode is None:
            process.kill()
        await process.wait()
