"""What the token says of an authorisation. Sellers and facilitators say what they like; this decides what was paid."""

from dataclasses import dataclass
from enum import StrEnum

from chimera.commerce.vault.contracts import built, keccak
from chimera.commerce.x402.authorization import MOST_VALID_S, Authorization
from chimera.commerce.x402.ports import Evm, Log

DEPTH = 2
"""Blocks from which on what a block says counts, its own among them."""
SPAN = 2_000
"""Blocks whose events are asked for at once; endpoints answer no more."""
_SKEW_S = 3_600
_TRANSFER = "Transfer(address,address,uint256)"
_WORD = 32


class Fate(StrEnum):
    """What became of an authorisation."""

    PAID = "paid"
    CANCELLED = "cancelled"
    DEAD = "dead"
    """Its time is over, on the chain, and it was not used: it never will be."""
    OPEN = "open"
    """It was not used yet, as far as is final."""
    ODD = "odd"
    """The token says that it was used, and that another amount moved, or none."""


@dataclass(frozen=True)
class Use:
    """The fate of an authorisation, and the transaction that decided it."""

    fate: Fate
    transaction: str = ""


class TokenChain:
    """Reads authorisations from a chain, at a depth at which it counts."""

    def __init__(self, evm: Evm, depth: int = DEPTH) -> None:
        self._evm = evm
        self._depth = depth
        self._token = built("PaidToken")

    async def fate(self, authorization: Authorization) -> Use:
        """What became of an authorisation, by the events of its token."""
        number, time = await self._evm.block(self._depth - 1)
        token, who = authorization.token.address, (authorization.payer, authorization.nonce)
        state = await self._evm.call(token, self._token.call("authorizationState", *who), number)
        if not self._token.answer("authorizationState", state):
            return Use(Fate.DEAD if time >= authorization.valid_before else Fate.OPEN)
        if used := await self._found("AuthorizationUsed", authorization, number):
            return await self._paid(authorization, used)
        gone = await self._found("AuthorizationCanceled", authorization, number)
        return Use(Fate.CANCELLED if gone else Fate.ODD, gone)

    async def stands(self, authorization: Authorization) -> bool:
        """Whether an authorisation is used as of the newest block; one that was may not be any more, if blocks went."""
        token, who = authorization.token.address, (authorization.payer, authorization.nonce)
        state = await self._evm.call(token, self._token.call("authorizationState", *who))
        return bool(self._token.answer("authorizationState", state))

    async def cancel(self, authorization: Authorization, signature: bytes) -> str:
        """Use an authorisation up without paying; the transaction, once it is in a block. It may have come too late."""
        parts = (signature[64], signature[:32], signature[32:64])
        data = self._token.call("cancelAuthorization", authorization.payer, authorization.nonce, *parts)
        return (await self._evm.mined(await self._evm.send(authorization.token.address, data))).transaction

    async def _found(self, event: str, authorization: Authorization, upto: int) -> str:
        """The transaction of an event of an authorisation, looked for back to when it was signed; none is empty."""
        topics: list[bytes | None] = [self._token.topic(event), _word(authorization.payer), authorization.nonce]
        signed_at = authorization.valid_before - MOST_VALID_S - _SKEW_S
        while True:
            since = max(0, upto - SPAN + 1)
            if found := await self._evm.logs(authorization.token.address, topics, since, upto):
                return found[0].transaction
            if since == 0 or await self._evm.time(since) < signed_at:
                return ""
            upto = since - 1

    async def _paid(self, authorization: Authorization, transaction: str) -> Use:
        mined = await self._evm.mined(transaction)
        moved = [log for log in mined.logs if _moves(log, authorization)]
        return Use(Fate.PAID if mined.ok and len(moved) == 1 else Fate.ODD, transaction)


def _moves(log: Log, authorization: Authorization) -> bool:
    """Whether an event says that exactly this was paid, by this payer to this payee."""
    return (
        log.address.casefold() == authorization.token.address.casefold()
        and log.topics == (keccak(_TRANSFER.encode()), _word(authorization.payer), _word(authorization.payee))
        and log.data == authorization.amount.to_bytes(_WORD, "big")
    )


def _word(address: str) -> bytes:
    return bytes.fromhex(address[2:]).rjust(_WORD, b"\0")
