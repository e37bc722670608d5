"""Purchases whose blocks go: final at their depth and not before, paid once, and paid for before goods are given again.

Proves FR-666, FR-669 and FR-671 in that. A block goes by setting the EVM back to a state before it, as when others
built a longer chain without it; what was to be done with it is gone from there too.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from chimera.commerce.intents import IntentState
from chimera.commerce.x402.authorization import authorization_for
from chimera.commerce.x402.offers import choose
from chimera.commerce.x402.used import Fate, TokenChain
from chimera.commerce.x402.wire import REQUIRED, SIGNATURE, payload_of, write_payload
from chimera.core.errors import OutcomeUnknown

if TYPE_CHECKING:
    from tests.integration.commerce.x402.conftest import Market  # noqa: TID251 - its type alone

PRICE = 250_000
S = IntentState


def deep_chain(market: "Market") -> TokenChain:
    """The chain at a depth at which the token was there already."""
    market.local.tester.mine_blocks(3)
    return TokenChain(market.local.evm, depth=3)


@pytest.mark.threat(20)
async def test_a_purchase_is_final_at_its_depth_and_is_sent_again_when_its_block_goes(market: "Market") -> None:
    """What is in a block that went was not paid: what is held stays held, and the same header goes out again."""
    deep, wanted = deep_chain(market), market.wanted()
    mark = market.local.tester.take_snapshot()
    with pytest.raises(OutcomeUnknown):
        await market.buyer(chain=deep).buy(wanted)
    row = await market.store.named(wanted.tenant, wanted.key)
    assert row is not None
    assert row.header is not None
    (signed,) = market.keys.signed
    assert (await market.spent(), (await deep.fate(signed)).fate) == (PRICE, Fate.OPEN)
    market.local.tester.mine_block()
    with pytest.raises(OutcomeUnknown):
        await market.buyer(chain=deep).resume(row.intent)
    market.local.tester.revert_to_snapshot(mark)
    assert (await market.spent(), await deep.stands(signed)) == (0, False)
    with pytest.raises(OutcomeUnknown):
        await market.buyer(chain=deep).buy(wanted)
    assert (await market.books.ledger.intent(row.intent)).state == S.UNKNOWN
    assert (await market.spent(), await deep.stands(signed)) == (PRICE, True)
    market.local.tester.mine_blocks(2)
    found = await market.buyer(chain=deep).buy(wanted)
    assert found.state == S.DELIVERED
    assert (await market.store.of(row.intent)).header == row.header
    assert (await market.spent(), len(market.keys.signed), market.served) == (PRICE, 1, 1)


@pytest.mark.threat(20)
async def test_what_is_used_up_gives_back_at_its_depth(market: "Market") -> None:
    """A cancellation in a block that went used nothing up: nothing comes back before it is deep enough."""
    deep, wanted = deep_chain(market), market.wanted()

    async def silent(request: httpx.Request) -> None:
        if SIGNATURE in request.headers:
            raise httpx.ReadError("no answer")

    market.net.before = silent
    buyer = market.buyer(chain=deep)
    with pytest.raises(OutcomeUnknown):
        await buyer.buy(wanted)
    row = await market.store.named(wanted.tenant, wanted.key)
    assert row is not None
    mark = market.local.tester.take_snapshot()
    with pytest.raises(OutcomeUnknown):
        await buyer.stop(row.intent, "not needed")
    (signed,) = market.keys.signed
    assert await deep.stands(signed)
    market.local.tester.revert_to_snapshot(mark)
    assert (await deep.fate(signed)).fate == Fate.OPEN
    assert (await market.books.ledger.intent(row.intent)).state == S.UNKNOWN
    with pytest.raises(OutcomeUnknown):
        await buyer.stop(row.intent, "not needed")
    market.local.tester.mine_blocks(2)
    assert (await buyer.stop(row.intent, "not needed")).state == S.RELEASED
    assert await market.spent() == 0


@pytest.mark.threat(20)
async def test_a_seller_makes_a_payment_again_whose_block_went(market: "Market") -> None:
    """Asked again for what was sold, the seller looks: gone with its block, it is made again, or nothing is given."""
    url = market.shops[0].origin + "/report/one"
    mark = market.local.tester.take_snapshot()
    async with httpx.AsyncClient(transport=market.net) as client:
        offer = choose((await client.get(url)).headers[REQUIRED], url, market.shops)
        asked = market.books.asks(PRICE, asset=market.local.asset.id, chain_id=market.local.asset.chain_id)
        intent = await market.books.ledger.propose(replace(asked, payee=market.keeper, fee_asset=market.local.asset.id))
        payer, now = await market.keys.payer(intent), await market.store.now()
        authorization = authorization_for(intent, market.local.token, payer, now, offer.valid_s)
        signature = await market.keys.sign(intent, authorization)
        header = {SIGNATURE: write_payload(payload_of(offer.asked, authorization.signed(signature)))}
        first = await client.get(url, headers=header)
        assert (first.status_code, await market.spent()) == (200, PRICE)
        market.local.tester.revert_to_snapshot(mark)
        assert await market.spent() == 0
        again = await client.get(url, headers=header)
        assert (again.status_code, again.content, await market.spent()) == (200, first.content, PRICE)
        market.local.tester.revert_to_snapshot(mark)
        market.local.tester.time_travel(authorization.valid_before + 1)
        assert ((await client.get(url, headers=header)).status_code, await market.spent()) == (402, 0)
    assert market.served == 1
