"""The chain as payments see it. Addresses are lower-case where they come from a chain; hashes are 0x and 64 digits."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

TRANSFER_TOPIC = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
"""The first topic of Transfer(address,address,uint256)."""


@dataclass(frozen=True)
class Fees:
    """What a unit of gas costs at this moment: the base fee of the newest block, and a usual tip."""

    base: int
    tip: int


@dataclass(frozen=True)
class Transfer:
    """A Transfer event of a token."""

    token: str
    sender: str
    payee: str
    amount: int
    hash: str


@dataclass(frozen=True)
class Receipt:
    """What became of a transaction. ``depth``: blocks on top of it and its own. ``price``: paid for a unit of gas."""

    hash: str
    block: int
    block_hash: str
    ok: bool
    sender: str
    to: str
    gas_used: int
    price: int
    transfers: tuple[Transfer, ...]
    depth: int

    @property
    def fee(self) -> int:
        """Atomic units of the chain's coin that it cost."""
        return self.gas_used * self.price


class Sent(StrEnum):
    """What an endpoint says of a transaction that was sent to it. None of it says that it will be mined, or never."""

    TAKEN = "taken"
    KNOWN = "known"
    NONCE_TOO_LOW = "nonce too low"
    UNDERPRICED = "underpriced"
    REFUSED = "refused"


@dataclass(frozen=True)
class Sending:
    """What came of sending, with the words of the endpoint."""

    outcome: Sent
    detail: str = ""


class Chain(Protocol):
    """A chain of the EVM. Every method raises ChainDown, and what reads ChainDisagrees where endpoints do not agree."""

    @property
    def chain_id(self) -> int:
        """Its id."""
        ...

    async def head(self) -> int:
        """The newest block that every endpoint has."""
        ...

    async def nonce(self, address: str) -> int:
        """How many transactions of an address are in blocks."""
        ...

    async def balance(self, token: str | None, address: str, block: int | None = None) -> int:
        """What an address has of a token, or of the chain's coin, after a block; of the newest one by default."""
        ...

    async def fees(self) -> Fees:
        """What gas costs."""
        ...

    async def send_raw(self, raw: bytes) -> Sending:
        """Send a signed transaction; the same one any number of times."""
        ...

    async def receipt(self, hash_: str) -> Receipt | None:
        """What became of a transaction; None while it is in no block that every endpoint has."""
        ...

    async def transfers(
        self, token: str, since: int, upto: int, *, sender: str | None = None, payee: str | None = None
    ) -> Sequence[Transfer]:
        """The Transfer events of a token in blocks, from an address or to one."""
        ...
