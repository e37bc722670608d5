"""kill -9 of the process that buys, before every step that anybody outside of it notices.

Proves FR-666 with nothing in the place of a real part: verdict and signature of the CFO, whose key is in a process of
its own, the authorisation by the signer's process, the token on a real EVM, the facilitator of the package ``x402``.
"""

from typing import TYPE_CHECKING, Any

import pytest

from chimera.commerce.intents import IntentState
from chimera.commerce.vault.contracts import built
from chimera.store.postgres import fetch

if TYPE_CHECKING:
    from tests.integration.commerce.conftest import Doom  # noqa: TID251 - its type alone
    from tests.integration.commerce.x402.conftest import Market  # noqa: TID251 - its type alone

Real = tuple[dict[str, Any], dict[str, Any]]
PRICE, FUNDS = 250_000, 10_000_000
MOST_STEPS = 300
"""More than a purchase has: a process gets through before the list is at its end."""


async def bought_once(market: "Market", wallet: str, keys: list[str], funds: int = FUNDS) -> None:
    """Each was paid by one transfer under one authorisation of its own, and the goods of each came."""
    spent = len(keys) * PRICE
    assert (funds - await market.local.has(wallet), await market.local.has(market.keeper)) == (spent, spent)
    who = bytes.fromhex(wallet[2:]).rjust(32, b"\0")
    number, _ = await market.local.evm.block()
    used = await market.local.evm.logs(
        market.local.address, [built("PaidToken").topic("AuthorizationUsed"), who], 0, number
    )
    assert len(used) == len({each.topics[2] for each in used}) == len(keys)
    rows = await fetch(
        market.books.pool,
        "SELECT p.key, p.nonce, p.goods, i.state FROM x402_payments AS p JOIN intents AS i ON i.id = p.intent "
        "WHERE p.tenant = %s",
        (market.books.tenant,),
    )
    assert {row["key"] for row in rows} == set(keys)
    assert {row["state"] for row in rows} == {str(IntentState.DELIVERED)}
    assert {bytes(row["nonce"]) for row in rows} == {each.topics[2] for each in used}
    assert all(row["key"].encode() in bytes(row["goods"]) for row in rows)
    assert market.served == len(keys), "each was made once"


@pytest.mark.timeout(120)
async def test_a_purchase_with_real_parts_alone(market: "Market", real_order: Real, doom: "Doom") -> None:
    """Proves FR-665 and FR-650: what the CFO signs and the signer makes of it is what the token takes."""
    order, parts = real_order
    found = await doom("buy", ["one"], [], parts, **order)
    assert found == {"codes": [], "last": 0}
    await bought_once(market, order["wallet"], ["one"])
    assert await market.told() == ["money.payee", "money.screened", "money.verdict", "money.signed", "money.bought"]


@pytest.mark.threat(1, 2, 23)
@pytest.mark.timeout(400)
@pytest.mark.parametrize("every", [pytest.param(2, marks=pytest.mark.long), 64])
async def test_a_buyer_that_is_killed_anywhere_buys_once(
    market: "Market", real_order: Real, doom: "Doom", every: int
) -> None:
    order, parts = real_order
    points = list(range(1, MOST_STEPS, every))
    keys = [f"thing-{point}" for point in points]
    await market.books.budget(len(keys) * PRICE, asset=market.local.asset)
    await market.local.mint(order["wallet"], len(keys) * PRICE)
    found = await doom("buy", keys, points, parts, **order)
    *killed, through = found["codes"]
    assert killed == [-9] * len(killed)
    assert (through, found["last"]) == (0, 0)
    assert len(killed) * every > 60, "a purchase has more steps than that"
    await bought_once(market, order["wallet"], keys, FUNDS + len(keys) * PRICE)
