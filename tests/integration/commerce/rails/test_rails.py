"""Payments through simulators of Stripe's and Coinbase's servers: the same intents, books and keys, in test mode alone.

Proves FR-673. The simulators are the product's, over the mesh; nobody outside is asked and no money moves.
"""

import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from chimera.commerce.assets import USD
from chimera.commerce.intents import Intent, IntentState
from chimera.commerce.rails.orders import Coinbase, Route, Stripe
from chimera.commerce.rails.paying import Rail
from chimera.core.errors import OfferRefused, OutcomeUnknown, ToolServerDown
from chimera.core.settings import Settings
from chimera.tools.mesh.mesh import ToolMesh
from chimera.tools.mesh.servers import ServerSpec

if TYPE_CHECKING:
    from tests.integration.commerce.conftest import Books  # noqa: TID251 - its type alone

S = IntentState
HERE = {"PYTHONPATH": SecretStr(str(Path(__file__).parents[4]))}
STRIPE = Stripe({"price_report": 2_000_000})
COINBASE = Coinbase({"https://data.example.com/report": 250_000})
PAYEES = {"stripe": "stripe:price_report", "coinbase": "coinbase:https://data.example.com/report"}


class Calls:
    """Calls the tools of a mesh and keeps what was asked with which key. ``fails``: raised after the next order."""

    def __init__(self, mesh: ToolMesh) -> None:
        self._mesh = mesh
        self.made: list[tuple[str, str]] = []
        self.fails: Exception | None = None

    async def __call__(self, tool: str, arguments: dict[str, Any], idempotency_key: str) -> dict[str, Any] | None:
        found = await self._mesh.call(tool, arguments, scope="m1", idempotency_key=idempotency_key, deadline_s=30)
        self.made.append((tool, idempotency_key))
        if self.fails is not None and not idempotency_key.endswith("/probe"):
            raise self.fails
        return found.data


@pytest.fixture
async def calls(tmp_path: Path) -> AsyncGenerator[Calls]:
    specs = [
        ServerSpec(
            name=name, transport="stdio", command=sys.executable, args=["-m", "chimera.sim.vendors", name], env=HERE
        )
        for name in PAYEES
    ]
    async with ToolMesh(specs, Settings(home=tmp_path)) as mesh:
        yield Calls(mesh)


async def approved(books: "Books", route: Route, amount: int, payee: str = "") -> Intent:
    fields = {"asset": USD, "fee_asset": USD, "chain_id": None, "payee": payee or PAYEES[route.name]}
    return await books.at(S.APPROVED, amount, **fields)


async def test_a_payment_on_each_rail_is_in_the_books(books: "Books", calls: Calls) -> None:
    number = await books.budget(10_000_000, asset=await books.assets.get(USD))
    for route, amount in ((STRIPE, 2_000_000), (COINBASE, 250_000)):
        intent = await approved(books, route, amount)
        found = await Rail(books.ledger, route, calls).pay(intent.id)
        assert found.intent.state == S.DELIVERED
        assert found.answer is not None
        assert found.answer["simulator"] is True
        assert calls.made[-2:] == [
            (route.probe().tool, f"{intent.id}/probe"),
            (route.order(intent).tool, intent.id),
        ], "the payment's id is the key of the order"
        again = await Rail(books.ledger, route, calls).pay(intent.id)
        assert (again.intent.state, again.answer, calls.made[-1][1]) == (S.DELIVERED, None, intent.id)
    assert await books.used(number) == (0, 2_250_000)
    await books.intact()


async def test_what_is_not_on_the_list_is_not_ordered(books: "Books", calls: Calls) -> None:
    await books.budget(10_000_000, asset=await books.assets.get(USD))
    for route, amount, payee in (
        (STRIPE, 2_000_001, ""),
        (STRIPE, 2_000_000, "stripe:price_other"),
        (STRIPE, 2_000_000, "coinbase:price_report"),
        (COINBASE, 250_000, "coinbase:https://other.example.com/"),
    ):
        with pytest.raises(OfferRefused):
            await Rail(books.ledger, route, calls).pay((await approved(books, route, amount, payee)).id)
    assert calls.made == []


async def test_a_service_that_is_not_in_test_mode_is_not_used(books: "Books", calls: Calls) -> None:
    number = await books.budget(10_000_000, asset=await books.assets.get(USD))
    intent = await approved(books, STRIPE, 2_000_000)

    async def live(tool: str, arguments: dict[str, Any], idempotency_key: str) -> dict[str, Any]:
        assert tool == "stripe__get_balance", "nothing is ordered"
        return {"livemode": True}

    with pytest.raises(OfferRefused) as refused:
        await Rail(books.ledger, STRIPE, live).pay(intent.id)
    assert refused.value.context["rule"] == "test mode"
    assert await books.used(number) == (0, 0)


async def test_an_order_without_an_answer_is_made_again_with_the_same_key(books: "Books", calls: Calls) -> None:
    number = await books.budget(10_000_000, asset=await books.assets.get(USD))
    intent = await approved(books, STRIPE, 2_000_000)
    calls.fails = ToolServerDown("gone", outcome="unknown")
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await Rail(books.ledger, STRIPE, calls).pay(intent.id)
    assert (await books.state(intent), await books.used(number)) == (S.UNKNOWN, (2_000_000, 0))
    calls.fails = None
    assert (await Rail(books.ledger, STRIPE, calls).pay(intent.id)).intent.state == S.DELIVERED
    orders = [key for tool, key in calls.made if tool == "stripe__create_checkout_session"]
    assert orders == [intent.id] * 3
    assert await books.used(number) == (0, 2_000_000)


async def test_an_order_that_was_certainly_not_made_gives_its_money_back(books: "Books", calls: Calls) -> None:
    number = await books.budget(10_000_000, asset=await books.assets.get(USD))
    intent = await approved(books, COINBASE, 250_000)
    calls.fails = ToolServerDown("never started", outcome="not done")
    found = await Rail(books.ledger, COINBASE, calls).pay(intent.id)
    assert (found.intent.state, await books.used(number)) == (S.RELEASED, (0, 0))
