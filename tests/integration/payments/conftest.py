"""An office to test with: books, payees, a policy, a CFO with a key, and a rail that books and pays nothing."""

import itertools
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chimera.commerce.addresses import checksummed
from chimera.commerce.approvals import ApprovalStore
from chimera.commerce.assets import Asset, AssetStore, on_chain
from chimera.commerce.budgets import BudgetStore, Limit
from chimera.commerce.cfo_key import load_key
from chimera.commerce.compliance import Lists
from chimera.commerce.deciding import Deciding, Delivery, Payments, Refunds
from chimera.commerce.intents import Intent, IntentState, Proposal
from chimera.commerce.ledger import Ledger
from chimera.commerce.payees import PayeeBook
from chimera.commerce.payment_policy import Level, PaymentPolicy, Steps
from chimera.commerce.scoring import shipped_scorer
from chimera.commerce.setup import Installed, Opened, PaymentSetup, assemble
from chimera.core.clock import SystemClock
from chimera.core.contracts import Mission
from chimera.core.ids import random_ids
from chimera.core.settings import Settings
from chimera.models.calls import Models
from chimera.models.gate import Caller, Sent
from chimera.store.audit import AuditLog
from chimera.store.missions import MissionStore
from chimera.store.postgres import Pool, fetch, open_pool
from chimera.store.usage import UsageLog

CHAIN = 31337
COIN = on_chain("ETH", CHAIN, 18)
TOKEN = on_chain("USDC", CHAIN, 6, "0x" + "ab" * 20)
S = IntentState
CENTS = 10_000
"""Units of a cent of TOKEN."""


def policy_of(**fields: Any) -> PaymentPolicy:
    """Up to 50 cents alone, up to 5 dollars with one human, up to 50 with two; known payees need nobody more."""
    steps = Steps(auto=50 * CENTS, one=500 * CENTS, two=5_000 * CENTS)
    known: dict[str, Any] = {"assets": {TOKEN.id: steps}, "new_payee": Level.AUTO, "production": False}
    return PaymentPolicy(**{**known, **fields})


class OpenGate:
    """Lets everything pass to the models of these tests, which are scripts."""

    async def passed(self, caller: Caller, sent: Sent) -> Sent:
        """As it is."""
        return sent


class BookRail:
    """A rail of these tests: moves the books as a payment would, and no money."""

    def __init__(self, ledger: Ledger, approvals: ApprovalStore) -> None:
        self._ledger = ledger
        self._approvals = approvals
        self.paid: list[str] = []

    async def pay(self, intent_id: str) -> IntentState:
        """Book a payment from reserved to captured."""
        self.paid.append(intent_id)
        intent = await self._ledger.intent(intent_id)
        await self._approvals.use(intent, f"rail:{intent_id}")
        for old, new in ((S.RESERVED, S.SIGNED), (S.SIGNED, S.BROADCAST), (S.BROADCAST, S.CONFIRMED)):
            await self._ledger.move(intent_id, new, old, by="rail")
        await self._ledger.capture(intent_id)
        return S.CAPTURED


@asynccontextmanager
async def book_rail(services: Installed, desk: Deciding) -> AsyncGenerator[Opened]:
    """The rail of these tests, as a setup opens it."""
    yield Opened(BookRail(desk.ledger, desk.approvals))


class Office:
    """What decides about payments of one tenant, on a real database."""

    coin: Asset = COIN
    token: Asset = TOKEN
    policy_of = staticmethod(policy_of)

    def __init__(self, pool: Pool, url: str, key: Any, tenant: str) -> None:
        self.pool, self.url, self.key, self.tenant = pool, url, key, tenant
        self.audit = AuditLog(pool, SystemClock())
        self.missions = MissionStore(pool, url)
        self.book = PayeeBook(pool, self.audit)
        self.budgets = BudgetStore(pool, AssetStore(pool, self.audit), self.audit)
        self.payments = self.with_policy(policy_of())
        self._numbers = itertools.count()

    @property
    def desk(self) -> Deciding:
        """What decides."""
        return self.payments.deciding

    def setup(
        self,
        policy: PaymentPolicy,
        lists: Lists | None = None,
        delivery: Delivery | None = None,
        refunds: Refunds | None = None,
    ) -> PaymentSetup:
        """An operator's choices, with the rail of these tests."""
        # The score has tests of its own; here it looks at nothing, so that rules alone explain what happens.
        calm = replace(shipped_scorer(), look=2.0)
        return PaymentSetup(
            policy, lists, cfo_key=self.key, rails=book_rail, delivery=delivery, refunds=refunds, scorer=calm
        )

    def with_policy(
        self, policy: PaymentPolicy, models: dict[str, Any] | None = None, lists: Lists | None = None, **more: Any
    ) -> Payments:
        """The services under a policy; the CFO's model is a script, or rules alone."""
        settings = Settings.model_validate({"database_url": self.url, "model_retries": 0})
        asked = Models(settings, UsageLog(self.pool), random_ids(), models, gate=OpenGate())
        installed = Installed(self.pool, self.audit, asked, self.missions, SystemClock(), random_ids(), settings)
        made = assemble(self.setup(policy, lists, **more), installed)
        self.payments = replace(made, payer=BookRail(made.deciding.ledger, made.deciding.approvals))
        return self.payments

    @staticmethod
    def address(digits: str) -> str:
        """An address with its checksum."""
        return checksummed("0x" + digits)

    async def ready(self) -> "Office":
        """With two assets, a budget and a payee."""
        for asset in (COIN, TOKEN):
            await self.desk.ledger.assets.add(asset, "ada")
        await self.budget(100_000 * CENTS)
        await self.payee("weather data")
        return self

    async def budget(self, cap: int, asset: Asset = TOKEN, **more: Any) -> None:
        """What may be spent."""
        scope, subject = more.pop("scope", "tenant"), more.pop("subject", "")
        await self.budgets.set(Limit(self.tenant, scope, subject, asset, cap, **more), "ada")

    async def payee(self, name: str, digits: str = "cd" * 20, owner: str = "") -> str:
        """Somebody who can be paid; his address."""
        address = checksummed("0x" + digits)
        await self.book.add(self.tenant, name, address, "ada", chain_id=CHAIN, owner=owner)
        return address

    def asks(self, units: int = 10 * CENTS, **fields: Any) -> Proposal:
        """A proposal that nothing speaks against."""
        known: dict[str, Any] = {
            "tenant": self.tenant,
            "key": f"k{next(self._numbers)}",
            "payee": checksummed("0x" + "cd" * 20),
            "asset": TOKEN.id,
            "chain_id": CHAIN,
            "amount": units,
            "fee_asset": COIN.id,
            "fee_cap": 0,
            "purpose": "data for the briefing",
            "category": "data",
            "agent": "ann",
            "policy_version": self.desk.policy.version,
            "ttl_s": 600,
        }
        return Proposal(**{**known, **fields})

    async def mission(self) -> str:
        """The id of a mission of this tenant."""
        made = random_ids()()
        await self.missions.create(made, Mission(goal="brief", tenant=self.tenant))
        return made

    async def decided(self, asked: Proposal) -> Intent:
        """A payment that was proposed, screened and judged."""
        intent = await self.desk.ledger.propose(asked)
        await self.desk.screen(intent.id)
        await self.desk.verdict(intent.id)
        return await self.desk.ledger.intent(intent.id)

    async def pay_before(self, times: int = 1, units: int = 10 * CENTS, **fields: Any) -> None:
        """Payments that were made and delivered, an hour of the books ago or less."""
        for _ in range(times):
            intent = await self.decided(self.asks(units, **fields))
            assert await self.desk.sign(intent.id) is S.APPROVED, intent
            await self.desk.reserve(intent.id)
            assert self.payments.payer is not None
            await self.payments.payer.pay(intent.id)
            await self.desk.ledger.move(intent.id, S.DELIVERED, S.CAPTURED, by="ada")

    async def events(self, kind: str) -> list[dict[str, Any]]:
        """What the record has of a kind, oldest first."""
        rows = await fetch(
            self.pool, "SELECT body FROM audit_events WHERE tenant = %s AND kind = %s ORDER BY seq", (self.tenant, kind)
        )
        return [json.loads(row["body"])["data"] for row in rows]

    async def untouched(self, intent_id: str) -> None:
        """Nothing was signed, reserved or entered for a payment."""
        for table in ("payment_signatures", "holds", "journal"):
            rows = await fetch(self.pool, f"SELECT 1 FROM {table} WHERE intent = %s", (intent_id,))
            assert rows == [], table


@pytest.fixture(scope="session")
def cfo_key(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A key of the CFO, in a file."""
    pytest.importorskip("eth_account", reason="the extra commerce is not installed")
    return load_key(tmp_path_factory.mktemp("cfo") / "key")


@pytest.fixture
async def office(shared_database_url: str, cfo_key: Any) -> AsyncGenerator[Office]:
    """The office of a tenant of this test's own."""
    async with open_pool(shared_database_url, 8) as pool:
        yield await Office(pool, shared_database_url, cfo_key, f"t{random_ids()()[:8]}").ready()


@pytest.fixture
async def alone(pool: Pool, database_url: str, cfo_key: Any) -> Office:
    """The office of a database of this test's own, whose clock it may set."""
    return await Office(pool, database_url, cfo_key, "default").ready()


@pytest.fixture
def later(alone: Office) -> Callable[[str], Awaitable[None]]:
    """Sets the ledger's clock forward by an interval; only the owner of its functions can do that."""

    async def move(by: str) -> None:
        async with alone.pool.connection() as connection, connection.transaction():
            await connection.execute("GRANT CREATE ON SCHEMA public TO chimera_ledger")
            await connection.execute("SET LOCAL ROLE chimera_ledger")
            await connection.execute(
                "CREATE OR REPLACE FUNCTION ledger_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS "
                f"$$ SELECT clock_timestamp() + interval '{by}' $$".encode()
            )

    return move


@pytest.fixture
def lists_at(tmp_path: Path) -> Callable[[str, str | None], Path]:
    """Makes a folder with a list of addresses, and the day that it says."""

    def make(text: str, dated: str | None) -> Path:
        folder = tmp_path / "lists"
        folder.mkdir(exist_ok=True)
        (folder / "sanctioned_addresses_ETH.txt").write_text(text)
        if dated is not None:
            (folder / "DATED").write_text(dated)
        return folder

    return make
