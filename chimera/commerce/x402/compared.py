"""Several endpoints of one chain as one: what they do not agree about did not happen."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from chimera.commerce.x402.ports import Evm, Log, Mined
from chimera.core.errors import ChainDisagrees

Found = TypeVar("Found")


class ComparedEvm:
    """An :class:`~chimera.commerce.x402.ports.Evm` of others. Every read raises ChainDisagrees where they differ."""

    def __init__(self, endpoints: Sequence[Evm]) -> None:
        self._endpoints = endpoints

    @property
    def chain_id(self) -> int:
        """Its id."""
        return self._endpoints[0].chain_id

    async def call(self, to: str, data: bytes, block: int | None = None) -> bytes:
        """What a contract answers, after a block; by default the newest one that all have."""
        at = (await self.block())[0] if block is None else block
        return await self._same("a call", [each.call(to, data, at) for each in self._endpoints])

    async def code(self, address: str) -> bytes:
        """The code at an address."""
        return await self._same("code", [each.code(address) for each in self._endpoints])

    async def logs(self, address: str, topics: list[bytes | None], since: int, upto: int) -> list[Log]:
        """The events of a contract with these topics, in these blocks."""
        return await self._same("events", [each.logs(address, topics, since, upto) for each in self._endpoints])

    async def time(self, number: int) -> int:
        """The time of a block."""
        return await self._same("a block", [each.time(number) for each in self._endpoints])

    async def block(self, back: int = 0) -> tuple[int, int]:
        """Number and time of the newest block that all have, or of one before it."""
        newest = await asyncio.gather(*(each.block() for each in self._endpoints))
        number = max(0, min(number for number, _ in newest) - back)
        return number, await self.time(number)

    async def send(self, to: str, data: bytes) -> str:
        """Send a call from the account that pays for gas, which the first endpoint holds."""
        return await self._endpoints[0].send(to, data)

    async def mined(self, transaction: str) -> Mined:
        """What became of a transaction, once it is in a block."""
        return await self._same("a receipt", [each.mined(transaction) for each in self._endpoints])

    async def _same(self, what: str, asked: Sequence[Coroutine[Any, Any, Found]]) -> Found:
        first, *others = await asyncio.gather(*asked)
        if any(other != first for other in others):
            raise ChainDisagrees(f"the endpoints of the chain do not agree about {what}")
        return first
