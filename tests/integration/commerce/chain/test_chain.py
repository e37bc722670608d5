"""The port to chains on real EVMs: what endpoints say is compared, and one that is down or lies pays nothing.

Proves FR-627 and FR-633; each test says which threat it shows.
"""

import socket
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("web3", reason="the extra commerce is not installed")
from eth_account import Account
from eth_tester import EthereumTester

from chimera.commerce.chain.embedded import LOCAL_CHAIN, EmbeddedChain, chain_of, new_tester
from chimera.commerce.chain.port import Sent, Transfer
from chimera.commerce.chain.rpc import RpcChain, connect_chain
from chimera.core.errors import ChainDisagrees, ChainDown, ConfigError

if TYPE_CHECKING:
    from tests.integration.commerce.chain.conftest import Bank  # noqa: TID251 - its type alone


def together(*chains: EmbeddedChain) -> RpcChain:
    """Chains as the endpoints of one."""
    return RpcChain([chain.w3 for chain in chains], LOCAL_CHAIN)


async def test_two_endpoints_of_one_chain_agree(chain: EmbeddedChain, tester: EthereumTester, bank: "Bank") -> None:
    both = together(chain, chain_of(tester))
    payee = Account.create().address
    await chain.fund(payee, 70)
    await chain.fund(payee, 5, bank.token.address)
    assert await both.balance(None, payee) == 70
    assert await both.balance(bank.token.address, payee) == 5
    assert await both.nonce(payee) == 0
    assert await both.head() == await chain.head()
    (came,) = await both.transfers(str(bank.token.address), 0, await both.head(), payee=payee)
    assert isinstance(came, Transfer)
    assert (came.amount, came.payee) == (5, payee.lower())
    receipt = await both.receipt(came.hash)
    assert receipt is not None
    assert receipt.transfers == (came,)
    assert (receipt.ok, receipt.depth) == (True, 1)
    assert receipt.fee == receipt.gas_used * receipt.price > 0
    assert await both.receipt("0x" + "11" * 32) is None
    await chain.mine(2)
    again = await both.receipt(came.hash)
    assert again is not None
    assert again.depth == 3


@pytest.mark.threat(41)
async def test_endpoints_that_disagree_are_believed_in_nothing(chain: EmbeddedChain) -> None:
    """Threat 41. Two real EVMs with other histories behind one port."""
    other = chain_of(new_tester())
    both = together(chain, other)
    payee = Account.create().address
    await chain.fund(payee, 70)
    while await other.head() < await chain.head():
        await other.mine(10)
    with pytest.raises(ChainDisagrees, match="balance"):
        await both.balance(None, payee, await chain.head())
    funder = Account.from_key((1).to_bytes(32, "big")).address
    await chain.mine(20)
    with pytest.raises(ChainDisagrees, match="nonce"):
        await both.nonce(funder)


@pytest.mark.threat(41)
async def test_a_receipt_that_one_endpoint_does_not_have_is_none(chain: EmbeddedChain, bank: "Bank") -> None:
    """Threat 41. One endpoint claims a payment that the other has not seen; and one that is down is no yes."""
    other = chain_of(new_tester())
    await other.mine(3)
    payee = Account.create().address
    await chain.fund(payee, 5, bank.token.address)
    (came,) = await chain.transfers(str(bank.token.address), 0, await chain.head(), payee=payee)
    assert await chain.receipt(came.hash) is not None
    assert await together(chain, other).receipt(came.hash) is None
    down = await endpoint_down()
    with pytest.raises(ChainDown):
        await RpcChain([chain.w3, down], LOCAL_CHAIN, 5.0).receipt(came.hash)
    await down.provider.disconnect()


@pytest.mark.threat(21)
async def test_sending_needs_one_endpoint_that_takes_it(chain: EmbeddedChain) -> None:
    """Threat 21 in part: what they say is told apart, and none of it is a receipt."""
    account = Account.from_key((3).to_bytes(32, "big"))

    async def raw(nonce: int, **more: Any) -> bytes:
        made = {
            "type": 2,
            "chainId": LOCAL_CHAIN,
            "nonce": nonce,
            "to": b"\1" * 20,
            "value": 1,
            "data": b"",
            "gas": 21_000,
            "maxFeePerGas": 10**10,
            "maxPriorityFeePerGas": 1,
            **more,
        }
        return bytes(account.sign_transaction(made).raw_transaction)

    down = await endpoint_down()
    both = RpcChain([down, chain.w3], LOCAL_CHAIN, 5.0)
    nonce = await chain.nonce(account.address)
    assert (await both.send_raw(await raw(nonce))).outcome == Sent.TAKEN
    assert (await both.send_raw(await raw(nonce))).outcome == Sent.NONCE_TOO_LOW
    assert (await both.send_raw(await raw(nonce + 5))).outcome == Sent.REFUSED
    assert (await both.send_raw(await raw(nonce + 1, value=10**30))).outcome == Sent.REFUSED
    with pytest.raises(ChainDown):
        await RpcChain([down], LOCAL_CHAIN, 5.0).send_raw(b"\x02")
    await down.provider.disconnect()


async def test_an_endpoint_that_is_not_there_is_an_error_at_once() -> None:
    """An address where nobody listens; none at all; and no text of the library."""
    with pytest.raises(ChainDown) as failed:
        await connect_chain([f"http://127.0.0.1:{free_port()}"], 1, 5.0)
    assert "127.0.0.1" not in failed.value.message
    with pytest.raises(ConfigError):
        await connect_chain([], 1)


async def endpoint_down() -> Any:
    from web3 import AsyncHTTPProvider, AsyncWeb3

    return AsyncWeb3(AsyncHTTPProvider(f"http://127.0.0.1:{free_port()}", exception_retry_configuration=None))


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
