"""Chimera's own service for money: a stranger pays for a mission, and gets its result; what fails costs nothing.

Proves FR-685 on the whole server, a real EVM and the facilitator of the package ``x402``, also behind HTTP.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from x402.schemas import PaymentPayload, PaymentRequirements

from chimera.app import App
from chimera.commerce.deciding import Payments
from chimera.commerce.x402.facilitating import LocalFacilitator, RemoteFacilitator, remote_facilitator
from chimera.commerce.x402.ports import Facilitate
from chimera.commerce.x402.sales import SaleStore
from chimera.commerce.x402.selling import PaidEndpoint, Till
from chimera.commerce.x402.wire import RESPONSE, SIGNATURE, read_settled
from chimera.core.errors import ConfigError, OutcomeUnknown
from chimera.server.asgi import Address, compose
from chimera.store.postgres import fetch

if TYPE_CHECKING:
    from tests.integration.commerce.x402.conftest import Market  # noqa: TID251 - its type alone
    from tests.integration.conftest import Stage  # noqa: TID251 - its type alone

PRICE = 250_000
ORIGIN = "https://shop.example.com"
PATH = "/paid/missions"
Open = Callable[..., Any]


class Shopfront:
    """A server that sells missions, as a buyer reaches it."""

    def __init__(self, market: "Market", app: App) -> None:
        self.market, self.app = market, app

    async def order(self, body: Any, header: str = "") -> httpx.Response:
        """Send one order."""
        async with httpx.AsyncClient(transport=self.market.net, timeout=60) as client:
            return await client.post(ORIGIN + PATH, json=body, headers={SIGNATURE: header} if header else {})

    async def missions(self) -> list[dict[str, Any]]:
        """The missions of the tenant that sells."""
        query = "SELECT id, status, asked_by FROM missions WHERE tenant = %s"
        return await fetch(self.app.pool, query, (self.market.books.tenant,))


@pytest.fixture
def shopfront(market: "Market", stage: "Stage", enrol: Callable[..., None], shared_database_url: str) -> Open:
    """Opens a server that sells missions, worked as a play says."""

    @asynccontextmanager
    async def opened(play: Any = None, facilitator: Facilitate | None = None) -> AsyncGenerator[Shopfront]:
        tenant = market.books.tenant
        for name, how in (("ada", {}), ("clerk", {"kind": "service", "roles": ("service",)})):
            await asyncio.to_thread(enrol, shared_database_url, name, tenant=tenant, **how)
        till = market.paid._till  # pyright: ignore[reportPrivateUsage]
        till = Till(till.sales, facilitator or till.facilitator, till.chain)
        sold = PaidEndpoint(PATH, tenant, "clerk", market.price, till)
        async with stage.swarm(play or stage.play({"go": [stage.plan(stage.task(1))]})) as swarm:
            payments = Payments(cast("Any", SimpleNamespace()), sells=[sold])
            app = replace(swarm.app, context=replace(swarm.app.context, payments=payments))

            @asynccontextmanager
            async def running() -> AsyncGenerator[App]:
                yield app

            served = compose(app.settings, running, Address(["shop.example.com"], []))
            async with served.router.lifespan_context(served):
                market.net.app = served
                yield Shopfront(market, app)

    return opened


async def test_a_stranger_pays_for_a_mission_and_gets_its_result_once(shopfront: Open, market: "Market") -> None:
    async with shopfront() as shop:
        unpaid = await shop.order({"goal": "go"})
        assert (unpaid.status_code, await shop.missions()) == (402, [])
        header = await market.signed(PATH)
        bought = await shop.order({"goal": "go"}, header)
        assert (bought.status_code, bought.json()["status"]) == (200, "done"), bought.text
        assert bought.json()["answer"]
        assert read_settled(bought.headers[RESPONSE]).success
        again = await shop.order({"goal": "go"}, header)
        assert again.json() == bought.json(), "a lost answer is asked for again"
        (mission,) = await shop.missions()
        assert (str(mission["id"]), mission["asked_by"]) == (bought.json()["mission_id"], "clerk")
        assert await market.spent() == PRICE
        assert (await shop.order({"goal": "go on"}, header)).status_code == 402, "it buys nothing else"


async def test_a_seller_that_dies_before_it_kept_the_answer_works_the_order_once(
    shopfront: Open, market: "Market", monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is known by its authorisation, so it is the same mission when it comes again."""
    kept = SaleStore.made

    async def dies(*_: object) -> None:
        monkeypatch.setattr(SaleStore, "made", kept)
        raise RuntimeError("killed")

    async with shopfront() as shop:
        header = await market.signed(PATH)
        monkeypatch.setattr(SaleStore, "made", dies)
        with pytest.raises(RuntimeError, match="killed"):
            await shop.order({"goal": "go"}, header)
        await fetch(shop.app.pool, "UPDATE x402_sales SET touched_at = touched_at - interval '2 minutes' RETURNING 1")
        bought = await shop.order({"goal": "go"}, header)
        (mission,) = await shop.missions()
        assert (bought.status_code, bought.json()["mission_id"]) == (200, str(mission["id"]))
        assert await market.spent() == PRICE


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"goal": ""}, 422),
        ([], 422),
        ({"goal": "go", "budget": {"max_tokens": 10**9}}, 422),
        ({"goal": "go", "tenant": "default"}, 422),
        ({"goal": "summarise /etc/passwd"}, 422),
    ],
)
async def test_an_order_that_cannot_be_worked_costs_nothing(
    shopfront: Open, market: "Market", order: Any, status: int
) -> None:
    """Neither does it name what is not the buyer's: a budget, a tenant, a file of the server."""
    async with shopfront() as shop:
        answer = await shop.order(order, await market.signed(PATH))
        assert (answer.status_code, await market.spent(), await shop.missions()) == (status, 0, []), answer.text


async def test_a_mission_that_asks_a_human_is_given_up_and_costs_nothing(
    shopfront: Open, market: "Market", stage: "Stage"
) -> None:
    play = stage.play({"go": [stage.plan(stage.task(1), confidence=0.1)]})
    async with shopfront(play) as shop:
        answer = await shop.order({"goal": "go"}, await market.signed(PATH))
        assert (answer.status_code, await market.spent()) == (503, 0), answer.text
        (mission,) = await shop.missions()
        assert mission["status"] == "cancelled"


async def test_what_is_sold_is_sold_by_somebody(shopfront: Open, market: "Market", stage: "Stage") -> None:
    """A name that nobody enrolled keeps the server from starting, and says how to enrol it."""
    async with shopfront() as shop:
        (sold,) = shop.app.context.payments.sells
        nobody = replace(shop.app.context.payments, sells=[replace(sold, by="nobody")])
        app = replace(shop.app, context=replace(shop.app.context, payments=nobody))

        @asynccontextmanager
        async def running() -> AsyncGenerator[App]:
            yield app

        served = compose(app.settings, running, Address(["shop.example.com"], []))
        with pytest.raises(ConfigError, match="nobody"):
            async with served.router.lifespan_context(served):
                pass


# --- a facilitator behind HTTP ---------------------------------------------------------------------------------------


def facilitator_of(market: "Market", broken: bool = False) -> RemoteFacilitator:
    """The facilitator of the package, behind its HTTP interface."""
    own = LocalFacilitator(market.local.evm, market.local.gas)

    async def serve(request: Request) -> Response:
        if broken:
            return Response("<html>", 502)
        asked = await request.json()
        payload = PaymentPayload.model_validate(asked["paymentPayload"])
        requirements = PaymentRequirements.model_validate(asked["paymentRequirements"])
        work = own.verify if request.url.path == "/verify" else own.settle
        return JSONResponse((await work(payload, requirements)).model_dump(by_alias=True, exclude_none=True))

    app = Starlette(routes=[Route("/verify", serve, methods=["POST"]), Route("/settle", serve, methods=["POST"])])
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app))
    return RemoteFacilitator("https://facilitator.example.com", client)


async def test_somebodys_facilitator_makes_the_payment(shopfront: Open, market: "Market") -> None:
    async with shopfront(facilitator=facilitator_of(market)) as shop:
        bought = await shop.order({"goal": "go"}, await market.signed(PATH))
        assert (bought.status_code, await market.spent()) == (200, PRICE), bought.text


async def test_a_facilitator_that_fails_sells_nothing(shopfront: Open, market: "Market") -> None:
    async with shopfront(facilitator=facilitator_of(market, broken=True)) as shop:
        answer = await shop.order({"goal": "go"}, await market.signed(PATH))
        assert (answer.status_code, await market.spent(), await shop.missions()) == (503, 0, [])


async def test_a_facilitator_is_asked_over_https_and_what_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError, match="https"):
        async with remote_facilitator("http://facilitator.example.com"):
            pass
    async with remote_facilitator("http://127.0.0.1:9", within_s=5) as nobody:
        payload = PaymentPayload.model_construct(x402_version=2)
        requirements = PaymentRequirements.model_construct()
        with pytest.raises(OutcomeUnknown):
            await nobody.verify(payload, requirements)
