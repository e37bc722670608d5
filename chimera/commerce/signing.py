"""From reserved to signed in one transaction: lock the payment, check it again, allocate a nonce, sign, write, commit.

Whatever is reserved at the same time shares a transaction, as in the ledger. Nothing of it is sent before it is
committed; when it is rolled back, the nonces are free again, and the signer, which keeps a book of its own, gives the
same transactions again.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from chimera.commerce.intents import Intent, IntentState
from chimera.commerce.ledger import Ledger
from chimera.commerce.rows import intent_of
from chimera.commerce.wallet.approval import Approval
from chimera.commerce.wallet.client import Signer
from chimera.commerce.wallet.request import Gas, Signed, SignRequest
from chimera.commerce.wallets import Wallet, keep_signed, wallet_of
from chimera.core.errors import (
    ChimeraError,
    IntentConflict,
    IntentExpired,
    IntentNotFound,
    SignerRefused,
    WalletQuarantined,
)
from chimera.core.errors import IntentState as WrongState
from chimera.store.postgres import Connection, Pool
from chimera.store.together import MOST_BYTES, Together, Turns

_LOCK = b"SELECT i.*, ledger_now() AS now FROM lock_intents(%s::uuid[]) AS i"
_WALLETS = b"""
    SELECT * FROM wallets WHERE chain_id = %s AND address = ANY (%s) ORDER BY chain_id, address FOR UPDATE
"""
_TAKEN = b"SELECT nonce FROM wallet_nonces WHERE chain_id = %s AND address = %s AND nonce >= %s"
_TRIES = 64
_AT_ONCE = 100
"""Payments in one transaction, so that a signer which is slow does not hold it for long."""
_NEXT = b"UPDATE wallets SET next_nonce = %s WHERE chain_id = %s AND address = %s"


@dataclass(frozen=True)
class ToSign:
    """A reserved payment, as it was approved, and what its transaction may cost. ``sender``: the wallet's address."""

    intent: Intent
    approval: Approval
    chain_id: int
    sender: str
    gas: Gas


@dataclass
class _Purse:
    """The nonces of a locked wallet. ``free``: the first that may be; ``taken``: those from there on that are not."""

    wallet: Wallet
    free: int
    taken: set[int]

    def first(self, least: int = 0) -> int:
        nonce = max(self.free, least)
        while nonce in self.taken:
            nonce += 1
        return nonce

    def take(self, nonce: int) -> None:
        self.taken.add(nonce)
        self.free = self.first()


class Signing:
    """Signs payments, many in one transaction of the database."""

    def __init__(self, pool: Pool, ledger: Ledger, signer: Signer, by: str = "chimera:payer") -> None:
        self._pool = pool
        self._ledger = ledger
        self._signer = signer
        self._by = by
        turns: Turns[Connection] = Turns(self._transaction)
        self._signing: Together[Connection, ToSign, Signed | ChimeraError] = Together(
            turns, self._sign_all, size=lambda _: MOST_BYTES // _AT_ONCE
        )

    async def sign(self, item: ToSign) -> Signed:
        """Sign a reserved payment; when this returns, it is committed.

        Raises:
            IntentConflict: it is not the one that was approved. IntentState: it is not reserved. IntentExpired.
            SignerRefused. SignerDown. WalletQuarantined. IntentNotFound.
        """
        answer = await self._signing.submit(item)
        if isinstance(answer, ChimeraError):
            raise answer
        return answer

    async def replace(self, item: ToSign, nonce: int, place: int) -> Signed:
        """Sign a payment that is on its way once more, with the same nonce and higher fees; ``place``: 1 or more.

        Raises:
            SignerRefused: the fees are not at least 12.5 % higher, or above the cap. IntentState: it is not on its way.
        """
        async with self._transaction() as connection:
            (now_is,) = await self._locked(connection, [item])
            if not isinstance(now_is, Intent):
                raise now_is
            if now_is.state not in (IntentState.SIGNED, IntentState.BROADCAST, IntentState.UNKNOWN):
                raise WrongState(f"payment {now_is.id} is {now_is.state}", state=str(now_is.state))
            request = SignRequest(now_is, item.approval, nonce, item.gas)
            try:
                signed = await self._signer.sign_payment(request)
            except SignerRefused as refused:  # one that it signed before, and nobody wrote down, is taken as it is
                if (before := _before(request, refused)) is None or before.nonce != nonce or before == request:
                    raise
                signed = await self._signer.sign_payment(before)
            await keep_signed(connection, [(now_is.id, item.chain_id, signed, place)])
            return signed

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[Connection]:
        async with self._pool.connection() as connection, connection.transaction():
            yield connection

    async def _sign_all(self, connection: Connection, items: Sequence[ToSign]) -> list[Signed | ChimeraError]:
        found = await self._locked(connection, items)
        purses = await self._purses(connection, items)
        answers: list[Signed | ChimeraError] = []
        made: dict[str, tuple[str, int, Signed, int]] = {}
        for item, now_is in zip(items, found, strict=True):
            if item.intent.id in made:  # two callers asked for the same payment at the same time
                answers.append(made[item.intent.id][2])
                continue
            answer = await self._sign_one(item, now_is, purses)
            answers.append(answer)
            if isinstance(answer, Signed):
                made[item.intent.id] = (item.intent.id, item.chain_id, answer, 0)
        await keep_signed(connection, list(made.values()))
        for purse in purses.values():
            if purse.free > purse.wallet.next_nonce:
                await connection.execute(_NEXT, (purse.free, purse.wallet.chain_id, purse.wallet.address))
        for intent in made:
            moved = await self._ledger.move(
                intent, IntentState.SIGNED, IntentState.RESERVED, by=self._by, connection=connection
            )
            if not moved:
                raise WrongState(f"payment {intent} was signed before", state=str(IntentState.SIGNED))
        return answers

    async def _sign_one(
        self, item: ToSign, now_is: Intent | ChimeraError, purses: dict[tuple[int, str], _Purse]
    ) -> Signed | ChimeraError:
        if isinstance(now_is, ChimeraError):
            return now_is
        if now_is.state != IntentState.RESERVED:
            return WrongState(f"payment {now_is.id} is {now_is.state}", state=str(now_is.state))
        purse = purses.get((item.chain_id, item.sender))
        if purse is None:
            return WalletQuarantined(f"{item.sender} is no wallet of ours")
        if purse.wallet.quarantined:
            return WalletQuarantined(f"wallet {item.sender} is held back: {purse.wallet.why}", wallet=item.sender)
        try:
            signed = await self._ask(SignRequest(now_is, item.approval, purse.first(), item.gas), purse)
        except ChimeraError as error:
            return error
        if signed.sender != item.sender or signed.nonce in purse.taken:
            return SignerRefused(f"the signer signed payment {now_is.id} for another wallet or nonce")
        purse.take(signed.nonce)
        return signed

    async def _ask(self, request: SignRequest, purse: _Purse) -> Signed:
        """Ask the signer, which may know better than a database that was rolled back.

        What it signed before is taken as it is. A nonce that it keeps for another payment is left for that one.
        """
        for _ in range(_TRIES):
            try:
                return await self._signer.sign_payment(request)
            except SignerRefused as refused:
                again, free = _before(request, refused), refused.context.get("free")
                if again is None and isinstance(free, int):
                    again = replace(request, nonce=purse.first(free))
                if again is None:
                    raise
                if again == request or again.nonce < purse.wallet.next_nonce or again.nonce in purse.taken:
                    raise
                request = again
        raise SignerRefused(f"the signer finds no nonce for payment {request.intent.id}")

    async def _locked(self, connection: Connection, items: Sequence[ToSign]) -> list[Intent | ChimeraError]:
        """The payments as they are now, locked; for each that is not the one that was approved, why."""
        cursor = await connection.execute(_LOCK, ([item.intent.id for item in items],))
        rows = {str(row["id"]): row for row in await cursor.fetchall()}
        found: list[Intent | ChimeraError] = []
        for item in items:
            row = rows.get(item.intent.id)
            if row is None:
                found.append(IntentNotFound(f"there is no payment {item.intent.id}"))
                continue
            now_is = intent_of(row)
            if not now_is.computed() == now_is.digest == item.intent.digest == item.approval.intent:
                found.append(IntentConflict(f"payment {now_is.id} is not the one that was approved", intent=now_is.id))
            elif now_is.state == IntentState.RESERVED and now_is.expires_at <= row["now"]:
                found.append(IntentExpired(f"payment {now_is.id} has expired", intent=now_is.id))
            else:
                found.append(now_is)
        return found

    async def _purses(self, connection: Connection, items: Sequence[ToSign]) -> dict[tuple[int, str], _Purse]:
        """The wallets of the payments, locked, each with its nonces."""
        purses: dict[tuple[int, str], _Purse] = {}
        for chain_id in sorted({item.chain_id for item in items}):
            senders = sorted({item.sender for item in items if item.chain_id == chain_id})
            cursor = await connection.execute(_WALLETS, (chain_id, senders))
            for wallet in [wallet_of(row) for row in await cursor.fetchall()]:
                taken = await connection.execute(_TAKEN, (chain_id, wallet.address, wallet.next_nonce))
                nonces = {int(row["nonce"]) for row in await taken.fetchall()}
                purses[chain_id, wallet.address] = _Purse(wallet, wallet.next_nonce, nonces)
        return purses


def _before(request: SignRequest, refused: SignerRefused) -> SignRequest | None:
    """The request that the signer granted before for this payment, if it says so."""
    before: dict[str, Any] | None = refused.context.get("before")
    if before is None:
        return None
    gas = Gas(*(int(before[name]) for name in ("limit", "max_fee", "priority")))
    return replace(request, nonce=int(before["nonce"]), gas=gas)
