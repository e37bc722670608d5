"""Facilitators, which check and make payments for a seller: somebody's service over HTTP, or our own on our chain.

Both are those of the package ``x402``. The methods of the one on our chain wait, so each of them runs in a thread, and
reaches the chain through the event loop.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from chimera.commerce.x402.ports import Evm
from chimera.core.errors import ChimeraError, ConfigError, OutcomeUnknown

WITHIN_S = 60.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
Found = TypeVar("Found")


@asynccontextmanager
async def remote_facilitator(url: str, within_s: float = WITHIN_S) -> "AsyncGenerator[RemoteFacilitator]":
    """Somebody's service. What it says of a payment counts for nothing beside the chain.

    Raises:
        ConfigError: the URL is not https, nor one of this machine.
    """
    told = urlsplit(url)
    if told.scheme != "https" and not (told.scheme == "http" and told.hostname in _LOOPBACK):
        raise ConfigError("the facilitator has to be asked over https", remedy="Give its https:// address.")
    async with httpx.AsyncClient(trust_env=False, timeout=within_s) as http:
        yield RemoteFacilitator(url, http)


class RemoteFacilitator:
    """Asks a service over HTTP (x402, "Facilitator Interface")."""

    def __init__(self, url: str, http: httpx.AsyncClient) -> None:
        self._url = url
        self._http = http

    async def verify(self, payload: Any, requirements: Any) -> Any:
        """Whether a payment could be made now.

        Raises:
            OutcomeUnknown: it does not answer, or not as the standard says.
        """
        return await _asked(self._client.verify(payload, requirements))

    async def settle(self, payload: Any, requirements: Any) -> Any:
        """Make a payment.

        Raises:
            OutcomeUnknown: it does not answer, or not as the standard says; it may have been made.
        """
        return await _asked(self._client.settle(payload, requirements))

    @cached_property
    def _client(self) -> Any:
        from x402.http.facilitator_client import HTTPFacilitatorClient
        from x402.http.facilitator_client_base import FacilitatorConfig

        return HTTPFacilitatorClient(FacilitatorConfig(url=self._url, http_client=self._http))


async def _asked(answer: Coroutine[Any, Any, Found]) -> Found:
    try:
        return await answer
    except (httpx.HTTPError, ValueError) as error:  # not its words: they are a stranger's
        raise OutcomeUnknown(f"the facilitator does not answer as it should: {type(error).__name__}") from None


class LocalFacilitator:
    """Checks payments, and makes them from an account that pays for gas."""

    def __init__(self, evm: Evm, account: str, within_s: float = WITHIN_S) -> None:
        self._evm = evm
        self._account = account
        self._within_s = within_s

    async def verify(self, payload: Any, requirements: Any) -> Any:
        """Whether a payment could be made now.

        Raises:
            OutcomeUnknown: the chain does not answer in time.
        """
        return await self._in_thread("verify", payload, requirements)

    async def settle(self, payload: Any, requirements: Any) -> Any:
        """Make a payment.

        Raises:
            OutcomeUnknown: the chain does not answer in time; it may have been made.
        """
        return await self._in_thread("settle", payload, requirements)

    async def _in_thread(self, what: str, payload: Any, requirements: Any) -> Any:
        loop = asyncio.get_running_loop()
        self._hands.loop = loop
        try:
            async with asyncio.timeout(self._within_s):
                return await asyncio.to_thread(getattr(self._scheme, what), payload, requirements)
        except TimeoutError:
            raise OutcomeUnknown("the facilitator does not answer") from None

    @cached_property
    def _hands(self) -> "_Hands":
        return _Hands(self._evm, self._account, self._within_s)

    @cached_property
    def _scheme(self) -> Any:
        from x402.mechanisms.evm.exact.facilitator import ExactEvmScheme

        return ExactEvmScheme(self._hands)  # pyright: ignore[reportArgumentType]


class _Hands:
    """What the package's facilitator reaches the chain with (its ``FacilitatorEvmSigner``)."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, evm: Evm, account: str, within_s: float) -> None:
        self._evm = evm
        self._account = account
        self._within_s = within_s

    def get_addresses(self) -> list[str]:
        return [self._account]

    def get_chain_id(self) -> int:
        return self._evm.chain_id

    def get_code(self, address: str) -> bytes:
        return self._do(self._evm.code(address))

    def get_balance(self, address: str, token_address: str) -> int:
        data = bytes.fromhex("70a08231") + bytes.fromhex(address[2:]).rjust(32, b"\0")
        return int.from_bytes(self._do(self._evm.call(token_address, data))[:32], "big")

    def read_contract(self, address: str, abi: list[dict[str, Any]], function_name: str, *args: Any) -> Any:
        from eth_abi.abi import decode
        from x402.mechanisms.evm.multicall import encode_contract_call

        outputs = next(each for each in abi if each.get("name") == function_name).get("outputs", [])
        try:
            found = self._do(self._evm.call(address, encode_contract_call(abi, function_name, *args)))
        except ChimeraError as error:  # the package looks for this word, and for the contract's reason
            raise RuntimeError(f"execution reverted: {error.message}") from None
        values = decode([each["type"] for each in outputs], found)
        return values[0] if len(values) == 1 else values

    def write_contract(
        self, address: str, abi: list[dict[str, Any]], function_name: str, *args: Any, data_suffix: str | None = None
    ) -> str:
        from x402.mechanisms.evm.multicall import encode_contract_call

        data = encode_contract_call(abi, function_name, *args)
        return self.send_transaction(address, data + bytes.fromhex((data_suffix or "").removeprefix("0x")))

    def send_transaction(self, to: str, data: bytes) -> str:
        return self._do(self._evm.send(to, data))

    def wait_for_transaction_receipt(self, tx_hash: str) -> Any:
        from x402.mechanisms.evm.types import TransactionReceipt

        mined = self._do(self._evm.mined(tx_hash))
        logs = [{"address": log.address, "topics": list(log.topics), "data": log.data} for log in mined.logs]
        return TransactionReceipt(status=int(mined.ok), block_number=mined.block, tx_hash=tx_hash, logs=logs)

    def _do(self, asked: Coroutine[Any, Any, Found]) -> Found:
        return asyncio.run_coroutine_threadsafe(asked, self.loop).result(self._within_s)
