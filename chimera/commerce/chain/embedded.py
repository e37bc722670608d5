"""A chain in this process, for when nothing is configured: a real EVM (py-evm), blocks of its own, money without worth.

It is reached through web3 like any other. Nobody else can see it, and it is gone with the process:
:data:`LOCAL_CHAIN` is not the id of any public chain. Its keys with money are numbers that everybody knows.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from chimera.commerce.assets import Asset, on_chain
from chimera.commerce.chain.local import LOCAL_CHAIN
from chimera.commerce.chain.rpc import RpcChain
from chimera.commerce.wallet.calldata import transfer_call
from chimera.core.errors import ChainDown, ExtraMissing

if TYPE_CHECKING:
    from eth_tester import EthereumTester
    from web3 import AsyncWeb3

COIN = on_chain("ETH", LOCAL_CHAIN, 18)
TOKEN_DECIMALS = 6
_SUPPLY = 10**15
_FUNDER = (1).to_bytes(32, "big")
_DEPLOY_GAS, _SEND_GAS = 2_000_000, 200_000
_CHANGES = frozenset({"eth_sendRawTransaction", "eth_sendTransaction", "evm_mine"})


class EmbeddedChain(RpcChain):
    """The chain in this process, with what tests and demonstrations need besides: money, and blocks when wanted."""

    def __init__(self, w3: "AsyncWeb3[Any]", tester: "EthereumTester") -> None:
        super().__init__([w3], LOCAL_CHAIN)
        self.w3 = w3
        self.tester = tester
        self._funding = asyncio.Lock()

    async def fund(self, address: str, amount: int, token: str | None = None) -> None:
        """Give an address coins, or units of a token that :meth:`deploy` made."""
        if token is None:
            await self._spend(address, b"", amount)
        else:
            await self._spend(token, transfer_call(address, amount), 0)

    async def deploy(self, code: bytes, arguments: Sequence[int] = ()) -> str:
        """The address, in lower case, of a contract that is made from creation code and whole numbers."""
        return await self._spend(None, code + b"".join(each.to_bytes(32, "big") for each in arguments), 0)

    async def token(self) -> Asset:
        """A test token with 6 decimals, whose units are with the funder."""
        return on_chain("LUSD", LOCAL_CHAIN, TOKEN_DECIMALS, await self.deploy(local_token(), (_SUPPLY,)))

    async def mine(self, blocks: int = 1) -> None:
        """Add empty blocks, or one with what waits."""
        await asyncio.to_thread(self.tester.mine_blocks, blocks)

    async def _spend(self, to: str | None, data: bytes, value: int) -> str:
        from eth_account import Account

        async with self._funding:
            account, fees = Account.from_key(_FUNDER), await self.fees()
            made: dict[str, Any] = {
                "type": 2,
                "chainId": LOCAL_CHAIN,
                "nonce": await self.nonce(account.address),
                "value": value,
                "data": data,
                "gas": _SEND_GAS if to else _DEPLOY_GAS,
                "maxFeePerGas": 2 * fees.base + fees.tip,
                "maxPriorityFeePerGas": fees.tip,
            }
            signed = account.sign_transaction({**made, "to": bytes.fromhex(to[2:])} if to else made)
            sent = await self.send_raw(bytes(signed.raw_transaction))
            found: Any = await self.w3.eth.get_transaction_receipt(signed.hash)
            if found["status"] != 1:
                raise ChainDown(f"the local chain did not do it: {sent.detail}")
            return str(found["contractAddress"] or "").lower()


def local_token() -> bytes:
    """The creation code of the test token (``local_token.vy``)."""
    told = json.loads(files("chimera.commerce.chain").joinpath("local_token.json").read_text())
    return bytes.fromhex(told["bytecode"][2:])


async def open_embedded() -> EmbeddedChain:
    """A new chain; about five seconds.

    Raises:
        ExtraMissing: the packages of the extra ``commerce`` are not installed.
    """
    try:
        return chain_of(await asyncio.to_thread(new_tester))
    except ImportError:
        raise ExtraMissing(
            "the local chain needs the extra 'commerce'", remedy="pip install 'chimera-swarm[commerce]'"
        ) from None


def new_tester() -> "EthereumTester":
    """An EVM with a genesis block in which ten known keys have a million coins each."""
    from eth_tester import EthereumTester, PyEVMBackend

    return EthereumTester(PyEVMBackend())


def chain_of(tester: "EthereumTester", after: Callable[[], None] = lambda: None) -> EmbeddedChain:
    """The chain of an EVM, for one event loop; it computes in threads, one call at a time.

    ``after``: runs after each call that changes it.
    """
    from web3 import AsyncWeb3, EthereumTesterProvider
    from web3.providers.async_base import AsyncBaseProvider
    from web3.providers.eth_tester import AsyncEthereumTesterProvider

    class InThread(AsyncEthereumTesterProvider):
        """The provider of eth-tester for a chain of ours, beside the event loop."""

        def __init__(self) -> None:
            AsyncBaseProvider.__init__(self)  # its own makes a chain of its own
            self._calls = EthereumTesterProvider(tester)
            self._turn = asyncio.Lock()

        async def make_request(self, method: Any, params: Any) -> Any:
            async with self._turn:
                answer = await asyncio.to_thread(self._calls.make_request, method, params)
                if method in _CHANGES:
                    await asyncio.to_thread(after)
                return answer

    return EmbeddedChain(AsyncWeb3(InThread()), tester)
