"""A payment service behind a tool server, as the payments file configures it: all the way, and never outside test mode.

Proves FR-673 and FR-684 with the simulator of Stripe's server, the file, and a CFO behind its socket.
"""

import json
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chimera import AgenticCommerce
from chimera.commerce.assets import USD
from chimera.commerce.cfo_key import CfoDesk
from chimera.commerce.cfo_process import serve
from chimera.commerce.configured import configured_payments
from chimera.commerce.intents import IntentState
from chimera.commerce.payment_policy import read_policy
from chimera.core.errors import PaymentRefused
from chimera.core.settings import Settings
from chimera.store.embedded import Endpoints

if TYPE_CHECKING:
    from tests.integration.payments.conftest import Office  # noqa: TID251 - its type alone

ROOT = Path(__file__).parents[3]
REPORT = {"amount": "2.00", "asset": "USD", "recipient": "report shop", "purpose": "data for the briefing"}
POLICY = f"""
production = false
new_payee = 0

[assets."{USD}"]
auto = 5_000_000
one = 50_000_000
two = 500_000_000
"""
SERVICE = """
[[services]]
kind = "stripe"
server = "stripe"
prices = { price_report = "2.00" }
"""


@pytest.fixture
async def shop(office: "Office", cfo_key: Any, tmp_path: Path, endpoints: Endpoints) -> AsyncGenerator[AgenticCommerce]:
    """An agent with a budget of ten dollars, on an installation whose file names Stripe's simulator."""
    (tmp_path / "policy.toml").write_text(POLICY)
    lines = f'policy = "policy.toml"\ncfo_socket = "cfo.sock"\ncfo_address = "{cfo_key.address}"\n'
    (tmp_path / "payments.toml").write_text(lines + SERVICE)
    simulator = {"command": sys.executable, "args": ["-m", "chimera.sim.vendors", "stripe"]}
    servers = {"mcpServers": {"stripe": {**simulator, "env": {"PYTHONPATH": str(ROOT)}}}}
    (tmp_path / "servers.json").write_text(json.dumps(servers))
    places = {"home": tmp_path / "home", "database_url": office.url, "redis_url": endpoints.redis_url}
    files = {"payments": str(tmp_path / "payments.toml"), "servers": tmp_path / "servers.json"}
    settings = Settings.model_validate({**places, **files})
    desk, policy = office.desk, read_policy(tmp_path / "policy.toml")
    await office.budget(10_000_000, await desk.ledger.assets.get(USD))
    await office.book.add(office.tenant, "report shop", "stripe:price_report", "ada")
    await office.book.add(office.tenant, "another shop", "stripe:price_other", "ada")
    keeper = CfoDesk(cfo_key, desk.ledger, desk.findings, desk.approvals, policy, office.audit)
    async with await serve(tmp_path / "cfo.sock", keeper, {os.getuid()}):
        setup = configured_payments(settings)
        async with AgenticCommerce(setup, settings, agent="ann", tenant=office.tenant) as commerce:
            yield commerce


async def test_a_payment_goes_through_the_service_and_is_in_the_books(shop: AgenticCommerce, office: "Office") -> None:
    done = await shop.wallet.execute_transaction(REPORT)
    assert (done.state, done.paid, done.delivered) == (IntentState.DELIVERED, True, True)
    assert (await shop.wallet.execute_transaction(REPORT)).intent_id == done.intent_id
    assert [one["intent"] for one in await office.events("money.signed")] == [done.intent_id]
    assert [one["intent"] for one in await office.events("money.paid")] == [done.intent_id]


async def test_what_the_list_does_not_have_is_not_ordered(shop: AgenticCommerce, office: "Office") -> None:
    with pytest.raises(PaymentRefused, match="not for a price of the list"):
        await shop.wallet.execute_transaction({**REPORT, "recipient": "another shop"})
    (budget,) = [one for one in await office.budgets.listed(office.tenant) if one.asset == USD]
    assert (budget.held, budget.posted) == (0, 0)
