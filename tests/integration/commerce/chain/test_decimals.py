"""Amounts in tokens of any number of decimals, from the text that is asked for to what the token says, on a real EVM.

Proves FR-600 in that: what is written with six digits after the point is not taken for what has eighteen.
"""

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("web3", reason="the extra commerce is not installed")

from chimera.commerce.assets import on_chain
from chimera.commerce.chain.embedded import LOCAL_CHAIN
from chimera.commerce.intents import IntentState
from chimera.commerce.vault.contracts import built
from chimera.core.errors import InputError

if TYPE_CHECKING:
    from tests.integration.commerce.chain.conftest import Bank  # noqa: TID251 - its type alone

TEXTS = {0: "3", 6: "3.25", 8: "3.25", 18: "3.25", 27: "3.25"}


@pytest.mark.threat(14, 17)
async def test_an_amount_is_the_same_in_tokens_of_all_decimals(bank: "Bank") -> None:
    """The token, asked for its decimals, and its balances agree with the text; no coins ride along."""
    await bank.budgets()
    wallet = await bank.wallet(tokens=0)
    eth, code = bank.chain.w3.eth, built("PaidToken")
    funder = (await eth.accounts)[0]
    for decimals, text in TEXTS.items():
        made: Any = {"from": funder, "data": "0x" + code.creation("Any", "ANY", "1", decimals).hex(), "gas": 4_000_000}
        receipt: Any = await eth.get_transaction_receipt(await eth.send_transaction(made))
        address = str(receipt["contractAddress"])
        units = int(text.replace(".", "")) * 10 ** (decimals - len(text.partition(".")[2]))
        mint: Any = {"from": funder, "to": address, "data": "0x" + code.call("mint", wallet, 4 * units).hex()}
        mint["gas"] = 200_000
        await eth.send_transaction(mint)
        told: Any = {"to": address, "data": "0x" + code.call("decimals").hex()}
        asset = on_chain(f"D{decimals}", LOCAL_CHAIN, decimals, address.lower())
        assert code.answer("decimals", bytes(await eth.call(told))) == asset.decimals == decimals
        await bank.books.assets.add(asset, "ada")
        await bank.books.budget(4 * units, asset=asset)
        assert asset.units(text) == units
        with pytest.raises(InputError):
            asset.units("0." + "0" * decimals + "1")
        intent = await bank.approved(asset.units(text), asset)
        assert await bank.payer.pay(intent.id) == IntentState.CAPTURED
        assert (await bank.has(intent.asked.payee, asset), await bank.has(wallet, asset)) == (units, 3 * units)
        assert await bank.chain.balance(None, address) == 0
    await bank.books.intact()
