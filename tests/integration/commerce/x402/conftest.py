"""A buyer and sellers on a real EVM and a real Postgres. HTTP is in this process: an ASGI application behind httpx.

Who decides and who signs are small real ones, named for what they are: a rule that decides, and a signer whose keys
are in this process. The seller's payments are checked and made by the facilitator of the package ``x402``.
"""

import contextlib
import itertools
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount
from starlette.applications import Starlette
from starlette.requests import Request as Asked
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from web3 import AsyncWeb3
from web3.providers.eth_tester import AsyncEthereumTesterProvider

from chimera.commerce.assets import Asset, on_chain
from chimera.commerce.intents import Intent, IntentState
from chimera.commerce.ledger import Ledger
from chimera.commerce.payees import PayeeBook
from chimera.commerce.vault.contracts import built
from chimera.commerce.x402.asking import Asker
from chimera.commerce.x402.authorization import Authorization, authorization_for
from chimera.commerce.x402.buying import Buyer, Parts
from chimera.commerce.x402.evm import Web3Evm
from chimera.commerce.x402.facilitating import LocalFacilitator
from chimera.commerce.x402.journal import PurchaseStore, Request
from chimera.commerce.x402.offers import Shop, Token, choose
from chimera.commerce.x402.sales import SaleStore
from chimera.commerce.x402.selling import Paid, Price, Till
from chimera.commerce.x402.used import TokenChain
from chimera.commerce.x402.wanted import Wanted
from chimera.commerce.x402.wire import REQUIRED, payload_of, write_payload
from chimera.core.clock import SystemClock
from chimera.store.audit import AuditLog
from chimera.store.postgres import fetch

if TYPE_CHECKING:
    from tests.integration.commerce.conftest import Books  # noqa: TID251 - its type alone

CHAIN = 131_277_322_940_537
ORIGIN = "https://shop.example.com"
PRICE = 250_000
FUNDS = 10_000_000
S = IntentState
Hook = Callable[[httpx.Request], Awaitable[None]]
PATIENCE_S = 45


class RuleThatDecides:
    """Approves up to an amount, asks a human up to another, and rejects the rest, in the books."""

    def __init__(self, ledger: Ledger, approves: int = 1_000_000, asks: int = 2_000_000) -> None:
        self._ledger = ledger
        self.approves = approves
        self.asks = asks

    async def decide(self, intent: Intent) -> IntentState:
        if intent.state in (S.ESCALATED, S.APPROVED):
            return intent.state
        if intent.state == S.PROPOSED:
            await self._ledger.move(intent.id, S.SCREENED, S.PROPOSED, by="rule")
        amount = intent.asked.amount
        to = S.APPROVED if amount <= self.approves else S.ESCALATED if amount <= self.asks else S.REJECTED
        await self._ledger.move(intent.id, to, S.SCREENED, by="rule")
        return to


class KeysInThisProcess:
    """Signs with a key that it has, and counts. ``crash``: raised once, in the place of a signature."""

    def __init__(self) -> None:
        self.account: LocalAccount = Account.create()
        self.signed: list[Authorization] = []
        self.cancelled = 0
        self.crash: Exception | None = None

    async def payer(self, intent: Intent) -> str:
        return str(self.account.address)

    async def sign(self, intent: Intent, authorization: Authorization) -> bytes:
        if (crash := self.crash) is not None:
            self.crash = None
            raise crash
        self.signed.append(authorization)
        return self._of(authorization.typed_data())

    async def sign_cancellation(self, intent: Intent, authorization: Authorization) -> bytes:
        self.cancelled += 1
        return self._of(authorization.cancellation())

    def _of(self, typed: dict[str, Any]) -> bytes:
        return bytes(Account.sign_typed_data(self.account.key, full_message=typed).signature)


class Net(httpx.ASGITransport):
    """The way to the seller. ``before`` and ``after`` see each request; what they raise is what the buyer sees."""

    def __init__(self, app: Any) -> None:
        super().__init__(app=app)
        self.before: Hook | None = None
        self.after: Hook | None = None
        self.paid = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.paid += "payment-signature" in request.headers
        if self.before is not None:
            await self.before(request)
        answer = await super().handle_async_request(request)
        if self.after is not None:
            await self.after(request)
        return answer


@dataclass
class Local:
    """The chain, and a token on it."""

    w3: AsyncWeb3[Any]
    tester: Any
    gas: str
    address: str

    @property
    def evm(self) -> Web3Evm:
        return Web3Evm(self.w3, CHAIN, self.gas)

    @property
    def asset(self) -> Asset:
        return on_chain("TUSD", CHAIN, 6, self.address)

    @property
    def token(self) -> Token:
        return Token(self.asset, "Test dollar", "2")

    async def mint(self, to: str, amount: int = FUNDS) -> None:
        await self.evm.mined(await self.evm.send(self.address, built("PaidToken").call("mint", to, amount)))

    async def has(self, address: str) -> int:
        data = built("PaidToken").call("balanceOf", address)
        return int.from_bytes(await self.evm.call(self.address, data), "big")


class Market:
    """A buyer, and a seller of two things."""

    def __init__(self, local: Local, books: "Books", shop_keeper: str) -> None:
        self.local, self.books, self.keeper = local, books, shop_keeper
        self.served = 0
        self.price = Price(local.token, shop_keeper, PRICE, "a report")
        self.chain = TokenChain(local.evm, depth=1)
        till = Till(SaleStore(books.pool), LocalFacilitator(local.evm, local.gas), self.chain)
        self.paid = Paid(self._goods(), self.price, till)
        self.net = Net(self.paid)
        self.keys = KeysInThisProcess()
        self.audit = AuditLog(books.pool, SystemClock())
        self.rule = RuleThatDecides(books.ledger)
        self.store = PurchaseStore(books.pool)
        self.shops = [Shop(ORIGIN, local.token, shop_keeper, 5_000_000)]
        self._numbers = itertools.count()

    def _goods(self) -> Starlette:
        async def report(asked: Asked) -> Response:
            self.served += 1
            return JSONResponse({"report": asked.path_params["name"], "nth": self.served})

        async def broken(asked: Asked) -> Response:
            return Response("no", 500)

        return Starlette(routes=[Route("/report/{name}", report), Route("/broken", broken)])

    def buyer(self, **more: Any) -> Buyer:
        """A buyer, as a process that was started anew would have."""
        client = httpx.AsyncClient(transport=self.net)
        parts = Parts(self.books.ledger, self.store, Asker(client), self.rule, self.keys, self.chain, self.audit)
        return Buyer(replace(parts, **more), self.shops, confirm_s=0.5)

    def wanted(self, path: str = "/report/one", **fields: Any) -> Wanted:
        made = Wanted(
            tenant=self.books.tenant,
            key=f"x{next(self._numbers)}",
            request=Request(ORIGIN + path),
            purpose="data for the briefing",
            agent="ann",
            policy_version="p1",
        )
        return replace(made, **fields)

    async def signed(self, path: str, token: Token | None = None, amount: int = PRICE) -> str:
        """A header that pays, signed by the buyer's key, without any books."""
        async with httpx.AsyncClient(transport=self.net) as client:
            asked = await client.get(ORIGIN + path)
        offer = choose(asked.headers[REQUIRED], ORIGIN + path, self.shops)
        proposal = self.books.asks(amount, asset=self.local.asset.id, chain_id=self.local.asset.chain_id)
        proposal = replace(proposal, payee=self.keeper, fee_asset=self.local.asset.id)
        intent = await self.books.ledger.propose(proposal)
        payer, now = await self.keys.payer(intent), await self.store.now()
        authorization = authorization_for(intent, token or self.local.token, payer, now, offer.valid_s)
        signature = await self.keys.sign(intent, authorization)
        return write_payload(payload_of(offer.asked, authorization.signed(signature)))

    async def told(self) -> list[str]:
        """What is on the record about money, in its order."""
        query = "SELECT kind FROM audit_events WHERE tenant = %s AND kind LIKE 'money.%%' ORDER BY seq"
        rows = await fetch(self.books.pool, query, (self.books.tenant,))
        return [row["kind"] for row in rows if row["kind"] not in ("money.asset", "money.budget")]

    async def spent(self) -> int:
        return FUNDS - await self.local.has(str(self.keys.account.address))


@pytest.fixture(scope="session")
def tester_web3() -> tuple[AsyncWeb3[Any], Any]:
    provider = AsyncEthereumTesterProvider()
    return AsyncWeb3(provider), provider.ethereum_tester


@pytest.fixture(scope="session")
def token_places() -> dict[str, str]:
    return {}


@pytest.fixture
async def local(tester_web3: tuple[AsyncWeb3[Any], Any], token_places: dict[str, str]) -> Local:
    w3, tester = tester_web3
    gas = str((await w3.eth.accounts)[0])
    if not token_places:
        creation = built("PaidToken").creation("Test dollar", "TUSD", "2", 6)
        sent = await w3.eth.send_transaction({"from": gas, "data": "0x" + creation.hex(), "gas": 4_000_000})  # pyright: ignore[reportArgumentType]
        token_places["token"] = str((await w3.eth.get_transaction_receipt(sent))["contractAddress"])
    return Local(w3, tester, gas, token_places["token"])


@pytest.fixture
async def market(local: Local, books: "Books") -> AsyncGenerator[Market]:
    """A market whose buyer has money, in the wallet and in the budget. The chain is set back afterwards.

    Its blocks are a second apart at least, so that many tests would take it further and further ahead of the time.
    """
    mark = local.tester.take_snapshot()
    await books.assets.add(local.asset, "ada")
    await books.budget(FUNDS, asset=local.asset)
    made = Market(local, books, str(Account.create().address))
    await local.mint(str(made.keys.account.address))
    yield made
    local.tester.revert_to_snapshot(mark)
    await books.intact()


# --- the CFO's key and the signer, each in a process of its own ------------------------------------------------------

POLICY = """
production = false
new_payee = 0
most_payments = 1000
[assets."{token}"]
auto = {auto}
one = {auto}
two = {auto}
"""


@dataclass
class Staff:
    """The processes that have keys, and what is secret about them: it is known here, so that it can be looked for."""

    folder: Path
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    cfo: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    passphrase: str = field(default_factory=lambda: f"correct horse {secrets.token_hex(8)}")
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list["subprocess.Popen[bytes]"])

    @property
    def cfo_address(self) -> str:
        """Whose signature counts."""
        return str(Account.from_key(self.cfo).address)

    @property
    def signer_socket(self) -> Path:
        return self.folder / "signer" / "signer.sock"

    @property
    def cfo_socket(self) -> Path:
        return self.folder / "cfo.sock"

    @property
    def keystore(self) -> Path:
        return self.folder / "signer" / "keystore.json"

    @property
    def cfo_key(self) -> Path:
        return self.folder / "cfo.key"

    def keys_file(self) -> None:
        """Put the keys where they belong."""
        self.keystore.parent.mkdir(mode=0o700)
        kept = Account.encrypt(self.secret, self.passphrase, kdf="scrypt", iterations=2)
        for file, text in ((self.keystore, json.dumps(kept)), (self.cfo_key, self.cfo.hex())):
            file.touch(0o600)
            file.write_text(text)

    def start_signer(self) -> "subprocess.Popen[bytes]":
        """Start the signer, on the chain of these tests."""
        read, write = os.pipe()
        os.write(write, self.passphrase.encode() + b"\n")
        os.close(write)
        words = ["--cfo", self.cfo_address, "--chain", str(CHAIN), "--passphrase-fd", str(read)]
        made = self._start("chimera.commerce.wallet", str(self.keystore.parent), *words, pass_fds=(read,))
        os.close(read)
        return made

    def start_cfo(self, url: str, policy: Path) -> "subprocess.Popen[bytes]":
        """Start the process with the CFO's key."""
        words = ["--socket", str(self.cfo_socket), "--key", str(self.cfo_key), "--policy", str(policy)]
        return self._start("chimera.commerce.cfo_process", *words, env={**os.environ, "CHIMERA_DATABASE_URL": url})

    def _start(
        self, module: str, *words: str, pass_fds: tuple[int, ...] = (), env: dict[str, str] | None = None
    ) -> "subprocess.Popen[bytes]":
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", module, *words]
            made = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, pass_fds=pass_fds, env=env)
        self.processes.append(made)
        return made

    @staticmethod
    def ready(process: "subprocess.Popen[bytes]") -> bytes:
        """The line that says that it serves."""
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, "it did not start"
        return said


@pytest.fixture
def staff(tmp_path: Path) -> Generator[Staff]:
    """Whoever has keys. Nothing of theirs may be anywhere else, whatever a test does."""
    made = Staff(tmp_path / "staff")
    made.folder.mkdir(mode=0o700)
    made.keys_file()
    yield made
    for process in made.processes:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.communicate(timeout=PATIENCE_S)


Order = dict[str, Any]


class Reached:
    """What a buyer's process reaches in this one besides the chain: the sellers, over the same way as other buyers."""

    def __init__(self, market: Market) -> None:
        self._market = market

    async def ask(
        self, method: str, url: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        async with httpx.AsyncClient(transport=self._market.net) as client:
            found = await client.request(method, url, headers=headers, content=body)
            return found.status_code, dict(found.headers), found.content


@pytest.fixture
async def real_order(
    market: Market, staff: Staff, shared_database_url: str, tmp_path: Path
) -> tuple[Order, dict[str, Any]]:
    """What a buyer's process is told (``doomed.py``), with real ones who decide and sign, and what it reaches here.

    Its wallet, that of ``ann``, has money.
    """
    from chimera.commerce.wallet.keys import LocalKeys

    policy = tmp_path / "policy.toml"
    policy.write_text(POLICY.format(token=market.local.asset.id, auto=FUNDS))
    signer, cfo = staff.start_signer(), staff.start_cfo(shared_database_url, policy)
    await PayeeBook(market.books.pool, market.audit).add(
        market.books.tenant, "reports", market.keeper, "ada", chain_id=CHAIN
    )
    wallet = LocalKeys(staff.secret).address(market.books.tenant, "ann")
    await market.local.mint(wallet)
    assert staff.ready(signer) == b"ready\n"
    assert staff.ready(cfo).decode().strip() == staff.cfo_address
    order: Order = {
        "chain": CHAIN,
        "policy": str(policy),
        "cfo": str(staff.cfo_socket),
        "cfo_address": staff.cfo_address,
        "signer": str(staff.signer_socket),
        "token": market.local.address,
        "keeper": market.keeper,
        "origin": ORIGIN,
        "tenant": market.books.tenant,
        "wallet": wallet,
    }
    return order, {"evm": market.local.evm, "seller": Reached(market)}
