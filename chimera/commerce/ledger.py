"""The ledger: payments are written down, reserved, captured, released and refunded, each by a function of the database.

Whatever many callers of a process ask for at the same time shares a transaction, and each gets an answer of its own: on
a budget that everybody uses, a transaction for each would wait for all before it. The transactions are the ledger's own
and not those of the record and the checkpoints, so that locks of both kinds are never held together.
"""

import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from chimera.commerce.assets import AssetStore
from chimera.commerce.intents import Intent, IntentState, Proposal, check_proposal
from chimera.commerce.outcomes import DONE, DUPLICATE, refusal
from chimera.commerce.rows import intent_of
from chimera.core.errors import ConflictError, InputError, IntentConflict, IntentNotFound
from chimera.core.ids import NewId, canonical_id
from chimera.core.money import checked_units
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Connection, Pool, fetch_one
from chimera.store.together import Together, Turns

REAPED_AT_ONCE = 500
SEALER = "chimera:ledger"
_RESERVE = b"SELECT * FROM reserve_intents(%s::uuid[], %s::bytea[], %s::text[], %s)"
_CAPTURE = b"SELECT * FROM capture_intents(%s::uuid[], %s::numeric[], %s::numeric[], %s)"
_RELEASE = b"SELECT * FROM release_intents(%s::uuid[], %s::numeric[], %s, %s)"
_PROPOSE = b"SELECT * FROM propose_intent(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
Outcome = tuple[str, str]


@dataclass(frozen=True)
class _Reserve:
    intent: str
    digest: bytes
    needs: tuple[int, ...]


@dataclass(frozen=True)
class _Settle:
    intent: str
    amount: int | None
    fee: int | None
    why: str = ""


class Ledger:
    """Everything that moves money in the books. ``name`` is who does it, as far as nobody else is named."""

    def __init__(self, pool: Pool, assets: AssetStore, audit: AuditLog, new_id: NewId, name: str = "chimera") -> None:
        self.assets = assets
        self._pool = pool
        self._audit = audit
        self._new_id = new_id
        self._name = name
        turns: Turns[Connection] = Turns(self._transaction)
        self._reserving: Together[Connection, _Reserve, Outcome] = Together(turns, self._reserve_all)
        self._capturing: Together[Connection, _Settle, Outcome] = Together(turns, self._capture_all)
        self._releasing: Together[Connection, _Settle, Outcome] = Together(turns, self._release_all)

    # --- intents -------------------------------------------------------------------------------------------------

    async def propose(self, asked: Proposal) -> Intent:
        """Write a payment down, or find the one that was proposed with this key.

        Raises:
            InputError: a field cannot be, the asset is unknown, or is of another chain.
            IntentConflict: the key stands for something else.
        """
        check_proposal(asked)
        asset, fee_asset = await self.assets.get(asked.asset), await self.assets.get(asked.fee_asset)
        asset.checked(asked.amount)
        fee_asset.checked(asked.fee_cap, positive=False)
        if asked.chain_id != asset.chain_id:
            raise InputError(
                f"{asset.symbol} ({asset.id}) is not on chain {asked.chain_id}",
                remedy="Name the chain of the asset, or the asset of that chain.",
            )
        a = asked
        row = await fetch_one(
            self._pool,
            _PROPOSE.decode(),
            (
                *(self._new_id(), a.tenant, a.key, a.payee, a.asset, a.chain_id, a.amount, a.fee_asset, a.fee_cap),
                *(a.purpose, a.category, a.agent, a.pool, a.team, a.mission, a.policy_version, a.ttl_s),
            ),
        )
        if row is None or row["outcome"] not in (DONE, DUPLICATE):
            outcome = row["outcome"] if row else "unknown"
            raise IntentConflict(
                f"the key {a.key[:80]!r} stands for another payment"
                if outcome == "conflict"
                else f"the payment cannot be written down: {outcome}"
            )
        return await self.intent(str(row["intent"]))

    async def intent(self, intent_id: str) -> Intent:
        """A payment by its id.

        Raises:
            IntentNotFound: there is none. InputError: that is no id.
        """
        row = await fetch_one(self._pool, "SELECT * FROM intents WHERE id = %s", (canonical_id(intent_id),))
        if row is None:
            raise IntentNotFound(f"there is no payment {intent_id[:60]}")
        return intent_of(row)

    async def keyed(self, tenant: str, key: str) -> Intent | None:
        """The payment that was proposed with a key; None if none was."""
        query = "SELECT * FROM intents WHERE tenant = %s AND key = %s"
        row = await fetch_one(self._pool, query, (tenant, key))
        return None if row is None else intent_of(row)

    async def move(
        self,
        intent_id: str,
        to: IntentState,
        *expected: IntentState,
        by: str,
        why: str = "",
        connection: Connection | None = None,
    ) -> bool:
        """Move a payment on, if it is in one of the expected states; False when it had been moved there before.

        Reserving, capturing, releasing, refunding and expiring move money too and have methods of their own.
        ``connection``: do it in the caller's transaction, with what has to be written at the same moment.

        Raises:
            IntentState: it is in another state, or that never follows. IntentExpired: it is too late for that.
            IntentNotFound: there is none.
        """
        values = (canonical_id(intent_id), [str(state) for state in expected], str(to), by[:200], why[:2_000])
        query = "SELECT * FROM move_intent(%s, %s::text[], %s, %s, %s)"
        if connection is None:
            row = await fetch_one(self._pool, query, values)
        else:
            row = await (await connection.execute(query.encode(), values)).fetchone()
        outcome, state = (str(row["outcome"]), str(row["state"])) if row else ("unknown", "")
        return self._settled((outcome, state), intent_id)

    # --- money ---------------------------------------------------------------------------------------------------

    async def reserve(self, intent: Intent, needs: Sequence[int] = ()) -> bool:
        """Reserve amount and fee cap of an approved payment in every budget that counts it; False when that was done.

        ``needs``: budgets that must be among those, by id. What is reserved is what ``intent`` says: were its payload
        another one by now, it is refused.

        Raises:
            OverBudget: a budget has no room, or is frozen. BudgetMissing: none covers it, or a named one does not.
            IntentConflict: it is not what was approved. IntentExpired, IntentState, IntentNotFound.
        """
        outcome = await self._reserving.submit(_Reserve(intent.id, intent.digest, tuple(needs)))
        return self._settled(outcome, intent.id)

    async def capture(self, intent_id: str, amount: int | None = None, fee: int | None = None) -> bool:
        """Take what a confirmed payment cost out of what is held, and give back the rest; False when it was done.

        ``amount`` and ``fee``: atomic units; None is all that is held.

        Raises:
            TooMuch: more than is held. IntentConflict: it was captured with other amounts. IntentState, IntentNotFound.
        """
        item = _Settle(canonical_id(intent_id), _units(amount), _units(fee, positive=False))
        return self._settled(await self._capturing.submit(item), intent_id)

    async def release(self, intent_id: str, fee: int = 0, *, why: str = "released") -> bool:
        """Give back what is held for a payment that was not signed, or is known to have failed; False when it was done.

        ``fee``: what the failed try cost in fees; that is captured. ``why``: as whoever looks at the payment reads it.

        Raises:
            IntentState: it is signed and may still be made, or is done. TooMuch: the fee is above its cap.
        """
        item = _Settle(canonical_id(intent_id), None, _units(fee, positive=False), why[:2_000])
        return self._settled(await self._releasing.submit(item), intent_id)

    async def refund(
        self, intent_id: str, amount: int, key: str, *, by: str, why: str = "", leg: str = "amount"
    ) -> bool:
        """Write down that money of a captured payment came back; False when this refund, by its key, was before.

        Raises:
            TooMuch: more than was captured and has not come back. IntentConflict: the key stands for another refund.
            IntentState: nothing was captured. IntentNotFound. InputError: the key or the amount cannot be.
        """
        if not key.strip() or len(key) > 200:
            raise InputError("a refund has a key of 1 to 200 characters", remedy="Use the rail's id of the refund.")
        row = await fetch_one(
            self._pool,
            "SELECT * FROM refund_intent(%s, %s, %s::numeric, %s, %s, %s)",
            (canonical_id(intent_id), leg, _units(amount), key, by[:200], why[:2_000]),
        )
        return self._settled((str(row["outcome"]), str(row["detail"])) if row else ("unknown", ""), intent_id)

    async def deposit(self, tenant: str, wallet: str, asset_id: str, amount: int, key: str) -> bool:
        """Write down money that came into a wallet, once by its key, such as the id of the transfer.

        Raises:
            IntentConflict: the key stands for another deposit. InputError: no such asset or amount.
        """
        asset = await self.assets.get(asset_id)
        row = await fetch_one(
            self._pool,
            "SELECT record_deposit(%s, %s, %s, %s::numeric, %s) AS outcome",
            (tenant, wallet, asset.id, asset.checked(amount), key),
        )
        outcome = str(row["outcome"]) if row else "unknown"
        if outcome in (DONE, DUPLICATE):
            return outcome == DONE
        raise IntentConflict(f"the key {key[:80]!r} stands for another deposit")

    async def reap(self, limit: int = REAPED_AT_ONCE) -> list[str]:
        """End payments that were not signed in time and give back what is held for them; the ids of those.

        A payment that is signed is left as it is, however old: it may be on its way.
        """
        async with self._pool.connection() as connection:
            cursor = await connection.execute("SELECT intent FROM reap_intents(%s)", (limit,))
            return [str(row["intent"]) for row in await cursor.fetchall()]

    # --- the record ----------------------------------------------------------------------------------------------

    async def seal(self, tenant: str) -> int:
        """Seal the journal's rows since the last seal and put that on the record; how many rows."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute("SELECT ledger_horizon() AS upto")
            horizon = await cursor.fetchone()
            async with connection.transaction():
                values = (tenant, horizon["upto"] if horizon else 0)
                row = await (await connection.execute("SELECT * FROM seal_journal(%s, %s)", values)).fetchone()
                if row is None:
                    return 0
                sealed: dict[str, Any] = {name: int(row[name]) for name in ("first", "upto", "entries")}
                data = {**sealed, "digest": bytes(row["digest"]).hex()}
                await self._audit.append_within(
                    connection, AuditEvent(kind="money.sealed", actor=SEALER, tenant=tenant, data=data)
                )
                return sealed["entries"]

    async def settled(self) -> None:
        """Return when nothing is being written."""
        await self._reserving.settled()

    # --- together ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[Connection]:
        async with self._pool.connection() as connection, connection.pipeline():
            await connection.execute(b"BEGIN")
            yield connection
            await connection.execute(b"COMMIT")

    async def _reserve_all(self, connection: Connection, items: Sequence[_Reserve]) -> list[Outcome]:
        needs = [f"{{{','.join(map(str, item.needs))}}}" for item in items]
        values = ([uuid.UUID(item.intent) for item in items], [item.digest for item in items], needs, self._name)
        return await _outcomes(connection, _RESERVE, values)

    async def _capture_all(self, connection: Connection, items: Sequence[_Settle]) -> list[Outcome]:
        ids = [uuid.UUID(item.intent) for item in items]
        values = (ids, _texts(item.amount for item in items), _texts(item.fee for item in items), self._name)
        return await _outcomes(connection, _CAPTURE, values)

    async def _release_all(self, connection: Connection, items: Sequence[_Settle]) -> list[Outcome]:
        found: dict[int, Outcome] = {}
        for why in dict.fromkeys(item.why for item in items):  # the function takes one reason for all that it is given
            places = [place for place, item in enumerate(items) if item.why == why]
            ids = [uuid.UUID(items[place].intent) for place in places]
            values = (ids, _texts(items[place].fee for place in places), self._name, why)
            found |= zip(places, await _outcomes(connection, _RELEASE, values), strict=True)
        return [found[place] for place in range(len(items))]

    def _settled(self, outcome: Outcome, intent_id: str) -> bool:
        if outcome[0] not in (DONE, DUPLICATE):
            raise refusal(*outcome, intent_id)
        return outcome[0] == DONE


async def _outcomes(connection: Connection, query: bytes, values: Sequence[Any]) -> list[Outcome]:
    """The answers of a function to its items, in their order."""
    cursor = await connection.execute(query, values)
    found = [(str(row["outcome"]), str(row["detail"])) for row in await cursor.fetchall()]
    if len(found) != len(values[0]):
        raise ConflictError("the ledger did not answer everybody")
    return found


def _texts(units: Any) -> list[str | None]:
    return [None if each is None else str(each) for each in units]


def _units(units: int | None, *, positive: bool = True) -> int | None:
    return None if units is None else checked_units(units, "an asset", positive=positive)
