"""What buying and selling need from others: who decides, who signs, and the chain."""

from dataclasses import dataclass
from typing import Any, Protocol

from chimera.commerce.intents import Intent, IntentState
from chimera.commerce.x402.authorization import Authorization


class Decide(Protocol):
    """Screens, scores and approves payments, or asks people. Nothing here can say yes in its place."""

    async def decide(self, intent: Intent) -> IntentState:
        """Bring a payment as far as it can be decided now, and say where it is: approved, escalated, rejected.

        One that is approved already is signed by the CFO, if it was not.
        """
        ...


class SignAuthorization(Protocol):
    """Has the keys of wallets, elsewhere. It checks the payment and its approval by itself before it signs."""

    async def payer(self, intent: Intent) -> str:
        """The address of the wallet that pays, with its checksum."""
        ...

    async def sign(self, intent: Intent, authorization: Authorization) -> bytes:
        """The signature (r, s, v) under an authorisation.

        Raises:
            PaymentRefused: it signs no such thing.
        """
        ...

    async def sign_cancellation(self, intent: Intent, authorization: Authorization) -> bytes:
        """The signature that uses the authorisation up without paying."""
        ...


@dataclass(frozen=True)
class Log:
    """An event of a contract, in a block that is deep enough."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    transaction: str


@dataclass(frozen=True)
class Mined:
    """What became of a transaction."""

    transaction: str
    ok: bool
    block: int
    logs: tuple[Log, ...]


class Evm(Protocol):
    """A chain of the EVM, as far as authorisations need it. Errors are :class:`~chimera.core.errors.ChimeraError`."""

    @property
    def chain_id(self) -> int:
        """Its id."""
        ...

    async def call(self, to: str, data: bytes, block: int | None = None) -> bytes:
        """What a contract answers, after a block; by default the newest one.

        Raises:
            VaultRefused: it refuses; the reason is the contract's.
        """
        ...

    async def code(self, address: str) -> bytes:
        """The code at an address."""
        ...

    async def logs(self, address: str, topics: list[bytes | None], since: int, upto: int) -> list[Log]:
        """The events of a contract with these topics, in these blocks."""
        ...

    async def time(self, number: int) -> int:
        """The time of a block, in seconds since 1970."""
        ...

    async def block(self, back: int = 0) -> tuple[int, int]:
        """Number and time (seconds since 1970) of the newest block, or of one before it."""
        ...

    async def send(self, to: str, data: bytes) -> str:
        """Send a call from the account that pays for gas; the hash of the transaction."""
        ...

    async def mined(self, transaction: str) -> Mined:
        """What became of a transaction, once it is in a block.

        Raises:
            OutcomeUnknown: it is in none for too long.
        """
        ...


class Facilitate(Protocol):
    """Checks payments and makes them, for a seller: somebody's service, or our own facilitator."""

    async def verify(self, payload: Any, requirements: Any) -> Any:
        """Whether a payment could be made now: a ``VerifyResponse``."""
        ...

    async def settle(self, payload: Any, requirements: Any) -> Any:
        """Make it: a ``SettleResponse``."""
        ...
