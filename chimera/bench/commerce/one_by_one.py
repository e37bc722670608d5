"""How payments are usually made: one at a time, in one transaction from the budgets' locks to the receipt.

It does the same work with the same functions, signer and node: lock the budgets FOR UPDATE, take the nonce from the
wallet's locked row, sign, send, wait for the receipt, write it all down, commit. It is spared what ours does besides:
one endpoint is asked, and the first receipt counts, whatever comes on top of it.
"""

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence

from chimera.commerce.chain.port import Chain
from chimera.commerce.intents import Intent, IntentState
from chimera.commerce.ledger import Ledger
from chimera.commerce.paying import gas_for
from chimera.commerce.wallet.approval import Signatures, approval_of
from chimera.commerce.wallet.client import Signer
from chimera.commerce.wallet.request import SignRequest
from chimera.commerce.wallets import keep_signed
from chimera.store.postgres import Connection, Pool, take_time

_S = IntentState
BY = "bench"
CALLERS = 16
_WITHIN_S, _LOOK_S = 600.0, 0.02
_RESERVE = b"SELECT * FROM reserve_intents(%s::uuid[], %s::bytea[], ARRAY['{}'], %s)"
_CAPTURE = b"SELECT * FROM capture_intents(%s::uuid[], %s::numeric[], %s::numeric[], %s)"
_NONCE = b"SELECT next_nonce FROM wallets WHERE chain_id = %s AND address = %s FOR UPDATE"
_NEXT = b"UPDATE wallets SET next_nonce = next_nonce + 1 WHERE chain_id = %s AND address = %s"
_MINED = b"UPDATE chain_transactions SET block = %s, fee = %s::numeric WHERE hash = %s"


class OneByOne:
    """The usual way. ``wallets``: the address of each agent's."""

    def __init__(
        self,
        pool: Pool,
        ledger: Ledger,
        chain: Chain,
        signer: Signer,
        signatures: Signatures,
        wallets: Mapping[str, str],
    ) -> None:
        self._pool = pool
        self._ledger = ledger
        self._chain = chain
        self._signer = signer
        self._signatures = signatures
        self._wallets = wallets

    async def rate(self, intents: Sequence[Intent]) -> float:
        """Payments a second of many callers."""
        left, began = iter(intents), time.perf_counter()

        async def caller() -> None:
            for intent in left:
                await self._pay(intent)

        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(caller())
        return len(intents) / (time.perf_counter() - began)

    async def _pay(self, intent: Intent) -> None:
        approval, chain_id = await approval_of(intent, self._signatures), self._chain.chain_id
        wallet, ids = self._wallets[intent.asked.agent], [uuid.UUID(intent.id)]
        async with self._pool.connection(_WITHIN_S, within_s=_WITHIN_S) as connection, connection.transaction():
            await take_time(connection)
            await _one(connection, _RESERVE, (ids, [intent.digest], BY))
            row = await (await connection.execute(_NONCE, (chain_id, wallet))).fetchone()
            assert row is not None  # noqa: S101 - it was made with the stage
            gas = gas_for(intent, await self._chain.fees())
            signed = await self._signer.sign_payment(SignRequest(intent, approval, int(row["next_nonce"]), gas))
            await keep_signed(connection, [(intent.id, chain_id, signed, 0)])
            await connection.execute(_NEXT, (chain_id, wallet))
            await self._move(connection, intent, _S.RESERVED, _S.SIGNED)
            await self._chain.send_raw(signed.raw)
            await self._move(connection, intent, _S.SIGNED, _S.BROADCAST)
            while (receipt := await self._chain.receipt(signed.hash)) is None:  # noqa: ASYNC110 - a chain is polled
                await asyncio.sleep(_LOOK_S)
            await connection.execute(_MINED, (receipt.block, receipt.fee, signed.hash))
            await self._move(connection, intent, _S.BROADCAST, _S.CONFIRMED)
            await _one(connection, _CAPTURE, (ids, [str(intent.asked.amount)], [str(receipt.fee)], BY))

    async def _move(self, connection: Connection, intent: Intent, old: IntentState, new: IntentState) -> None:
        await self._ledger.move(intent.id, new, old, by=BY, connection=connection)


async def _one(connection: Connection, query: bytes, values: Sequence[object]) -> None:
    row = await (await connection.execute(query, values)).fetchone()
    if row is None or row["outcome"] != "ok":
        raise AssertionError(f"a payment that fits was not made: {row}")
