"""An :class:`~chimera.commerce.x402.ports.Evm` over web3: an endpoint, or the chain of this process."""

import asyncio
from typing import TYPE_CHECKING, Any

from chimera.commerce.x402.ports import Log, Mined
from chimera.core.errors import OutcomeUnknown, VaultRefused

if TYPE_CHECKING:
    from web3 import AsyncWeb3

MINED_S = 60.0
ANSWER_S = 20.0
_POLL_S = 0.25
_GAS = 300_000


class Web3Evm:
    """``payer``: the account that pays for gas, which the endpoint holds; the key of a wallet is never here."""

    def __init__(self, w3: "AsyncWeb3[Any]", chain_id: int, payer: str = "", mined_s: float = MINED_S) -> None:
        self._w3 = w3
        self._chain_id = chain_id
        self._payer = payer
        self._mined_s = mined_s

    @property
    def chain_id(self) -> int:
        """Its id."""
        return self._chain_id

    async def call(self, to: str, data: bytes, block: int | None = None) -> bytes:
        """What a contract answers, after a block; by default the newest one.

        Raises:
            VaultRefused: it refuses, or the endpoint does.
        """
        asked: Any = {"to": _checksum(to), "data": "0x" + data.hex()}
        if self._payer:
            asked["from"] = self._payer
        return bytes(await self._asked(self._w3.eth.call(asked, "latest" if block is None else block)))

    async def code(self, address: str) -> bytes:
        """The code at an address."""
        return bytes(await self._asked(self._w3.eth.get_code(_checksum(address))))

    async def logs(self, address: str, topics: list[bytes | None], since: int, upto: int) -> list[Log]:
        """The events of a contract with these topics, in these blocks."""
        wanted: Any = {
            "address": _checksum(address),
            "topics": [None if topic is None else "0x" + topic.hex() for topic in topics],
            "fromBlock": since,
            "toBlock": upto,
        }
        return [_log(found) for found in await self._asked(self._w3.eth.get_logs(wanted))]

    async def block(self, back: int = 0) -> tuple[int, int]:
        """Number and time of the newest block, or of one before it."""
        newest = int(await self._asked(self._w3.eth.block_number))
        found: Any = await self._asked(self._w3.eth.get_block(max(0, newest - back)))
        return int(found["number"]), int(found["timestamp"])

    async def time(self, number: int) -> int:
        """The time of a block."""
        found: Any = await self._asked(self._w3.eth.get_block(number))
        return int(found["timestamp"])

    async def send(self, to: str, data: bytes) -> str:
        """Send a call from the account that pays for gas."""
        made: Any = {"from": self._payer, "to": _checksum(to), "data": "0x" + data.hex(), "gas": _GAS}
        return "0x" + bytes(await self._asked(self._w3.eth.send_transaction(made))).hex()

    async def mined(self, transaction: str) -> Mined:
        """What became of a transaction, once it is in a block.

        Raises:
            OutcomeUnknown: it is in none for too long.
        """
        from web3.exceptions import TransactionNotFound

        try:
            async with asyncio.timeout(self._mined_s):
                while True:
                    try:
                        found: Any = await self._w3.eth.get_transaction_receipt(transaction)  # pyright: ignore[reportArgumentType]
                    except TransactionNotFound:
                        await asyncio.sleep(_POLL_S)
                        continue
                    logs = tuple(_log(each) for each in found["logs"])
                    return Mined(transaction, found["status"] == 1, int(found["blockNumber"]), logs)
        except TimeoutError:
            raise OutcomeUnknown(f"transaction {transaction} is in no block") from None

    async def _asked(self, asked: Any) -> Any:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asked
        except TimeoutError:
            raise OutcomeUnknown("the endpoint of the chain does not answer") from None
        except Exception as error:  # noqa: BLE001 - web3, eth-tester and endpoints raise errors of many kinds
            reason = " ".join(str(error).split())[:200]
            raise VaultRefused(f"the chain refused: {reason}", reason=reason) from None


def _log(found: Any) -> Log:
    topics = tuple(bytes(topic) for topic in found["topics"])
    return Log(str(found["address"]), topics, bytes(found["data"]), "0x" + bytes(found["transactionHash"]).hex())


def _checksum(address: str) -> Any:
    from eth_utils.address import to_checksum_address

    return to_checksum_address(address)
