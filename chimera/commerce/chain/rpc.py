"""A chain over JSON-RPC: two endpoints are asked the same, and what they do not agree about did not happen.

Whoever runs an endpoint can say anything. A payment is final only when all of them say so, with the same block; a
transaction is sent to all of them, and one that takes it is enough.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from chimera.commerce.chain.endpoint import http_provider
from chimera.commerce.chain.port import TRANSFER_TOPIC, Fees, Receipt, Sending, Sent, Transfer
from chimera.core.errors import ChainDisagrees, ChainDown, ConfigError, ExtraMissing

if TYPE_CHECKING:
    from web3 import AsyncWeb3

Found = TypeVar("Found")
ANSWER_S = 20.0
_BALANCE_OF = "0x70a08231"
_WORD_DIGITS = 64
_TOPICS = 3
_NOT_NEEDED = ("gas_price_strategy", "ens_name_to_address", "validation", "gas_estimate")
"""What web3 does to transactions that it makes, and to names; for it, each call asks for the chain's id once more."""
_SAYS: tuple[tuple[str, Sent], ...] = (
    ("already known", Sent.KNOWN),
    ("already imported", Sent.KNOWN),
    ("known transaction", Sent.KNOWN),
    ("underpriced", Sent.UNDERPRICED),
    ("nonce too low", Sent.NONCE_TOO_LOW),
    ("nonce is too low", Sent.NONCE_TOO_LOW),
    ("invalid transaction nonce", Sent.NONCE_TOO_LOW),
)
_BEST = (Sent.TAKEN, Sent.KNOWN, Sent.NONCE_TOO_LOW, Sent.UNDERPRICED, Sent.REFUSED)


class RpcChain:
    """A :class:`~chimera.commerce.chain.port.Chain` of one or more endpoints. Make it with :func:`connect_chain`."""

    def __init__(self, endpoints: "Sequence[AsyncWeb3[Any]]", chain_id: int, answer_s: float = ANSWER_S) -> None:
        self._endpoints = endpoints
        self._chain_id = chain_id
        self._answer_s = answer_s

    @property
    def chain_id(self) -> int:
        """Its id."""
        return self._chain_id

    @property
    def endpoints(self) -> "Sequence[AsyncWeb3[Any]]":
        """The clients of its endpoints."""
        return self._endpoints

    async def head(self) -> int:
        """The newest block that every endpoint has."""
        return min(await self._all(_head))

    async def nonce(self, address: str) -> int:
        """How many transactions of an address are in blocks."""
        block = await self.head()
        return self._one("nonce", await self._all(lambda w3: w3.eth.get_transaction_count(_checksum(address), block)))

    async def balance(self, token: str | None, address: str, block: int | None = None) -> int:
        """What an address has of a token, or of the chain's coin, after a block; of the newest one by default."""
        at = await self.head() if block is None else block
        if token is None:
            return self._one("balance", await self._all(lambda w3: w3.eth.get_balance(_checksum(address), at)))
        call: Any = {"to": _checksum(token), "data": _BALANCE_OF + address[2:].lower().rjust(_WORD_DIGITS, "0")}
        words = await self._all(lambda w3: w3.eth.call(call, at))
        return int.from_bytes(self._one("balance", [bytes(word)[:32] for word in words]), "big")

    async def fees(self) -> Fees:
        """What gas costs: the higher of what the endpoints say."""
        found = await self._all(_fees)
        return Fees(max(base for base, _ in found), max(tip for _, tip in found))

    async def send_raw(self, raw: bytes) -> Sending:
        """Send a signed transaction to every endpoint; the best of what they say.

        Raises:
            ChainDown: none answers; it may have arrived all the same.
        """
        said = await asyncio.gather(*(self._send(w3, raw) for w3 in self._endpoints))
        answers = [each for each in said if each is not None]
        if not answers:
            raise ChainDown("no endpoint of the chain answers")
        return min(answers, key=lambda each: _BEST.index(each.outcome))

    async def receipt(self, hash_: str) -> Receipt | None:
        """What became of a transaction; None while it is in no block that every endpoint has."""
        head, found = await self.head(), await self._all(lambda w3: _receipt(w3, hash_))
        seen = [each for each in found if each is not None and each.block <= head]
        if len(seen) < len(found):
            return None
        receipt = self._one("receipt", seen)
        if receipt.hash != hash_:
            raise ChainDisagrees(f"an endpoint answers for {receipt.hash} when asked for {hash_}")
        return replace(receipt, depth=head - receipt.block + 1)

    async def transfers(
        self, token: str, since: int, upto: int, *, sender: str | None = None, payee: str | None = None
    ) -> Sequence[Transfer]:
        """The Transfer events of a token in blocks, from an address or to one."""
        wanted: list[Any] = [TRANSFER_TOPIC, _topic(sender), _topic(payee)]
        while wanted[-1] is None:
            wanted.pop()
        query: Any = {"address": _checksum(token), "fromBlock": since, "toBlock": upto, "topics": wanted}
        found = await self._all(lambda w3: w3.eth.get_logs(query))
        return self._one("transfers", [_transfers(logs) for logs in found])

    async def check(self) -> None:
        """Let endpoints pass that are of this chain.

        Raises:
            ConfigError: one is of another. ChainDown: one does not answer.
        """
        for told in await self._all(_chain_id_of):
            if told != self._chain_id:
                raise ConfigError(f"an endpoint is of chain {told}, not of {self._chain_id}")

    async def close(self) -> None:
        """Close the connections."""
        for w3 in self._endpoints:
            await w3.provider.disconnect()

    async def _all(self, ask: "Callable[[AsyncWeb3[Any]], Awaitable[Found]]") -> list[Found]:
        """What every endpoint answers.

        Raises:
            ChainDown: one of them does not.
        """
        return list(await asyncio.gather(*(self._answer(ask, w3) for w3 in self._endpoints)))

    async def _answer(self, ask: "Callable[[AsyncWeb3[Any]], Awaitable[Found]]", w3: "AsyncWeb3[Any]") -> Found:
        try:
            async with asyncio.timeout(self._answer_s):
                return await ask(w3)
        except ChainDisagrees:
            raise
        except Exception as error:  # noqa: BLE001 - web3 and its transports raise whatever; nothing is known then
            raise ChainDown(f"an endpoint of the chain does not answer: {type(error).__name__}") from None

    async def _send(self, w3: "AsyncWeb3[Any]", raw: bytes) -> Sending | None:
        try:
            async with asyncio.timeout(self._answer_s):
                await w3.eth.send_raw_transaction(raw)
        except (OSError, TimeoutError):
            return None
        except Exception as error:  # noqa: BLE001 - endpoints say what they think in texts only
            return _said(error)
        return Sending(Sent.TAKEN)

    def _one(self, what: str, found: Sequence[Found]) -> Found:
        if any(each != found[0] for each in found):
            raise ChainDisagrees(f"the endpoints of chain {self._chain_id} do not agree about a {what}")
        return found[0]


async def connect_chain(urls: Sequence[str], chain_id: int, answer_s: float = ANSWER_S) -> RpcChain:
    """A chain by the URLs of its endpoints.

    Raises:
        ConfigError: there is none, or one is of another chain. ChainDown: one does not answer. ExtraMissing.
    """
    if not urls:
        raise ConfigError("a chain needs at least one endpoint, and two to compare")
    try:
        from web3 import AsyncWeb3
        from web3.middleware import ExtraDataToPOAMiddleware
    except ImportError:
        raise ExtraMissing("chains need the extra 'commerce'", remedy="pip install 'chimera-swarm[commerce]'") from None
    logging.getLogger("web3").setLevel(logging.WARNING)  # below that it writes URLs, which hold keys
    endpoints: list[Any] = [AsyncWeb3(http_provider(url)) for url in urls]
    for w3 in endpoints:
        w3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
        for name in _NOT_NEEDED:
            w3.middleware_onion.remove(name)
    chain = RpcChain(endpoints, chain_id, answer_s)
    try:
        await chain.check()
    except BaseException:
        await chain.close()
        raise
    return chain


def _said(error: Exception) -> Sending | None:
    text = " ".join(str(error).split())[:300]
    low = text.lower()
    if type(error).__module__.partition(".")[0] == "aiohttp":
        return None
    if "expected" in low and "invalid transaction nonce" in low:
        return Sending(_embedded_nonce(low), text)
    for words, outcome in _SAYS:
        if words in low:
            return Sending(outcome, text)
    return Sending(Sent.REFUSED, text)


def _embedded_nonce(text: str) -> Sent:
    """py-evm says which nonce it expected: one that is below it was used, one above it has to wait."""
    numbers = [int(each) for each in "".join(c if c.isdigit() else " " for c in text).split()]
    return Sent.NONCE_TOO_LOW if len(numbers) > 1 and numbers[1] < numbers[0] else Sent.REFUSED


async def _chain_id_of(w3: "AsyncWeb3[Any]") -> int:
    return int(await w3.eth.chain_id)


async def _head(w3: "AsyncWeb3[Any]") -> int:
    return int(await w3.eth.block_number)


async def _fees(w3: "AsyncWeb3[Any]") -> tuple[int, int]:
    block = await w3.eth.get_block("latest")
    return int(block.get("baseFeePerGas", 0)), int(await w3.eth.max_priority_fee)


async def _receipt(w3: "AsyncWeb3[Any]", hash_: str) -> Receipt | None:
    from web3.exceptions import TransactionNotFound

    try:
        found: Any = await w3.eth.get_transaction_receipt(hash_)  # pyright: ignore[reportArgumentType]
    except TransactionNotFound:
        return None
    if found["blockNumber"] is None:
        return None
    return Receipt(
        hash=_hex(found["transactionHash"]),
        block=int(found["blockNumber"]),
        block_hash=_hex(found["blockHash"]),
        ok=int(found["status"]) == 1,
        sender=str(found["from"]).lower(),
        to=str(found["to"]).lower(),
        gas_used=int(found["gasUsed"]),
        price=int(found["effectiveGasPrice"]),
        transfers=_transfers(found["logs"]),
        depth=1,
    )


def _transfers(logs: Sequence[Mapping[str, Any]]) -> tuple[Transfer, ...]:
    found: list[Transfer] = []
    for log in logs:
        topics = [_hex(each) for each in log["topics"]]
        data = bytes(log["data"])
        if len(topics) == _TOPICS and topics[0] == TRANSFER_TOPIC and len(data) == 32:
            sender, payee = ("0x" + topic[-40:] for topic in topics[1:])
            amount = int.from_bytes(data, "big")
            found.append(Transfer(str(log["address"]).lower(), sender, payee, amount, _hex(log["transactionHash"])))
    return tuple(found)


def _topic(address: str | None) -> str | None:
    return None if address is None else "0x" + address[2:].lower().rjust(_WORD_DIGITS, "0")


def _hex(value: bytes) -> str:
    return "0x" + bytes(value).hex()


def _checksum(address: str) -> Any:
    from eth_utils.address import to_checksum_address

    return to_checksum_address(address)
