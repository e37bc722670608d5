"""A paid endpoint: each authorisation buys one thing once, as often as it is asked for, and an error costs nothing.

Proves FR-671 and FR-672.
"""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from chimera.commerce.x402.wire import RESPONSE, SIGNATURE, read_settled

if TYPE_CHECKING:
    from tests.integration.commerce.x402.conftest import Market  # noqa: TID251 - its type alone

PRICE = 250_000
ORIGIN = "https://shop.example.com"


async def get(market: "Market", path: str, header: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=market.net) as client:
        return await client.get(ORIGIN + path, headers={SIGNATURE: header})


async def test_one_authorisation_buys_one_thing_however_often_it_is_sent(market: "Market") -> None:
    """Proves FR-671: copies at the same time and later ones get the same answer for one price, and the receipt."""
    header = await market.signed("/report/one")
    found = await asyncio.gather(*(get(market, "/report/one", header) for _ in range(5)))
    assert {answer.status_code for answer in found} <= {200, 503}
    again = await get(market, "/report/one", header)
    bodies = {answer.content for answer in found if answer.status_code == 200} | {again.content}
    assert (again.status_code, len(bodies), market.served) == (200, 1, 1)
    assert await market.spent() == PRICE
    receipt = read_settled(again.headers[RESPONSE])
    assert (receipt.success, receipt.network) == (True, market.local.token.network)
    assert (await get(market, "/report/two", header)).status_code == 402
    assert (market.served, await market.spent()) == (1, PRICE)


async def test_an_answer_that_is_an_error_costs_nothing(market: "Market") -> None:
    """Proves FR-672."""
    header = await market.signed("/broken")
    assert (await get(market, "/broken", header)).status_code == 500
    assert await market.spent() == 0
    assert (await get(market, "/report/one", header)).status_code == 200, "it still buys something"
    assert await market.spent() == PRICE


async def test_what_was_not_paid_is_not_given(market: "Market") -> None:
    """Proves FR-672: less than the price, a token's name, a wallet without money, and headers without a payment."""
    wrong = [
        await market.signed("/report/one", amount=PRICE - 1),
        await market.signed("/report/one", replace(market.local.token, name="Other")),
        "e30=",
        "nothing",
    ]
    market.keys = type(market.keys)()
    wrong.append(await market.signed("/report/one"))
    for header in wrong:
        assert (await get(market, "/report/one", header)).status_code == 402
    assert await market.local.has(market.keeper) == 0


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_seller_who_dies_at_the_settlement_gives_the_goods_later(market: "Market", when: str) -> None:
    """Proves FR-671: the answer is kept before the payment is made, so the same authorisation gets it afterwards."""
    till = market.paid._till  # pyright: ignore[reportPrivateUsage]
    facilitator = till.facilitator

    class Dies:
        """A facilitator whose answer to the settlement nobody hears."""

        verify = facilitator.verify

        async def settle(self, payload: object, requirements: object) -> object:
            if when == "after":
                await facilitator.settle(payload, requirements)
            raise RuntimeError("killed")

    header = await market.signed("/report/one")
    market.paid._till = replace(till, facilitator=Dies())  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(RuntimeError):
        await get(market, "/report/one", header)
    market.paid._till = till  # pyright: ignore[reportPrivateUsage]
    answer = await get(market, "/report/one", header)
    assert (answer.status_code, market.served, await market.spent()) == (200, 1, PRICE)
