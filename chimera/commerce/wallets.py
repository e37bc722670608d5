"""Wallets and their transactions as they are in the database: which nonce is whose, and what was signed and sent."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from chimera.commerce.wallet.request import Gas, Signed
from chimera.core.errors import SignerRefused
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Connection, Pool, fetch, fetch_one

_OF = """
    SELECT t.*, n.chain_id, n.address, n.nonce FROM chain_transactions AS t
    JOIN wallet_nonces AS n ON n.intent = t.intent WHERE t.intent = %s ORDER BY t.place DESC
"""
_MAKE = """
    INSERT INTO wallets (chain_id, address, tenant, agent, next_nonce) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING RETURNING address
"""
_QUARANTINE = b"""
    UPDATE wallets SET quarantined_at = clock_timestamp(), why = %s
    WHERE chain_id = %s AND address = %s AND quarantined_at IS NULL RETURNING tenant, agent
"""
_UNUSED = """
    SELECT g AS nonce FROM (SELECT max(nonce) AS last FROM wallet_nonces WHERE chain_id = %s AND address = %s) AS m
    CROSS JOIN LATERAL generate_series(%s::bigint, m.last) AS g
    WHERE NOT EXISTS (SELECT FROM wallet_nonces AS n WHERE (n.chain_id, n.address, n.nonce) = (%s, %s, g))
    ORDER BY g LIMIT 100
"""
_LISTED = """
    SELECT * FROM wallets WHERE (%s::bigint IS NULL OR chain_id = %s) AND (%s::text IS NULL OR tenant = %s)
    ORDER BY tenant, agent, chain_id
"""
_RELEASE = b"""
    UPDATE wallets SET quarantined_at = NULL, why = %s, next_nonce = greatest(next_nonce, %s)
    WHERE chain_id = %s AND address = %s AND quarantined_at IS NOT NULL RETURNING tenant, agent
"""


@dataclass(frozen=True)
class Wallet:
    """The wallet of an agent on a chain."""

    chain_id: int
    address: str
    tenant: str
    agent: str
    next_nonce: int
    quarantined: bool
    why: str

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class ChainTransaction:
    """A transaction that was signed for a payment; ``place`` 0 or, for one that replaces others, more."""

    hash: str
    intent: str
    place: int
    raw: bytes
    gas: Gas
    chain_id: int
    sender: str
    nonce: int
    signed_at: datetime
    sent_at: datetime | None
    sends: int
    said: str
    block: int | None
    fee: int | None


class WalletStore:
    """Reads and writes the tables ``wallets``, ``wallet_nonces`` and ``chain_transactions``."""

    def __init__(self, pool: Pool, audit: AuditLog) -> None:
        self._pool = pool
        self._audit = audit

    async def add(self, chain_id: int, address: str, tenant: str, agent: str, next_nonce: int) -> Wallet:
        """Write a wallet down, or find it."""
        made = await fetch_one(self._pool, _MAKE, (chain_id, address, tenant, agent, next_nonce))
        if made is not None:
            data = {"chain": chain_id, "address": address, "agent": agent}
            await self._audit.append(AuditEvent(kind="money.wallet", actor=agent, tenant=tenant, data=data))
        found = await self.find(chain_id, tenant, agent)
        if found is None or found.address != address:
            raise SignerRefused(f"the wallet of {agent[:60]} on chain {chain_id} is not the one that the signer has")
        return found

    async def find(self, chain_id: int, tenant: str, agent: str) -> Wallet | None:
        """The wallet of an agent on a chain."""
        query = "SELECT * FROM wallets WHERE chain_id = %s AND tenant = %s AND agent = %s"
        row = await fetch_one(self._pool, query, (chain_id, tenant, agent))
        return None if row is None else wallet_of(row)

    async def listed(self, chain_id: int | None = None, tenant: str | None = None) -> list[Wallet]:
        """The wallets on a chain or on all, of one tenant or of all, by agent."""
        return [wallet_of(row) for row in await fetch(self._pool, _LISTED, (chain_id, chain_id, tenant, tenant))]

    async def transactions(self, intent: str) -> list[ChainTransaction]:
        """What was signed for a payment, the newest first."""
        return [transaction_of(row) for row in await fetch(self._pool, _OF, (intent,))]

    async def sent(self, hash_: str, said: str) -> None:
        """Write down that a transaction was sent, and what was said to it."""
        query = """
            UPDATE chain_transactions SET sent_at = clock_timestamp(), sends = sends + 1, said = %s WHERE hash = %s
        """
        await fetch(self._pool, query, (said[:300], hash_))

    async def mined(self, hash_: str, block: int, fee: int) -> None:
        """Write down which transaction was mined, once that is final."""
        query = "UPDATE chain_transactions SET block = %s, fee = %s::numeric WHERE hash = %s AND block IS NULL"
        await fetch(self._pool, query, (block, fee, hash_))

    async def unused(self, wallet: Wallet, since: int) -> list[int]:
        """Nonces from one on, below the newest that a payment has, which none has: what is behind them waits."""
        place = (wallet.chain_id, wallet.address)
        return [int(row["nonce"]) for row in await fetch(self._pool, _UNUSED, (*place, since, *place))]

    async def quarantine(self, chain_id: int, address: str, why: str) -> bool:
        """Let a wallet pay no more; False when that was done. It is on the record."""
        data = {"chain": chain_id, "address": address, "why": why[:300]}
        event = AuditEvent(kind="money.quarantined", actor="chimera:payer", data=data)
        return await self._mark(_QUARANTINE, event, (why[:2_000], chain_id, address))

    async def release(self, chain_id: int, address: str, by: str, why: str, next_nonce: int = 0) -> bool:
        """Let a wallet pay again, because a human has looked; False when it was not held back.

        ``next_nonce``: the first one that is free on the chain, where others used some; none is given out twice.
        """
        data = {"chain": chain_id, "address": address, "why": why[:300], "next_nonce": next_nonce}
        event = AuditEvent(kind="money.unquarantined", actor=by[:200], data=data)
        return await self._mark(_RELEASE, event, (why[:2_000], next_nonce, chain_id, address))

    async def _mark(self, query: bytes, event: AuditEvent, values: tuple[str | int, ...]) -> bool:
        async with self._pool.connection() as connection, connection.transaction():
            row = await (await connection.execute(query, values)).fetchone()
            if row is None:
                return False
            event = replace(event, tenant=str(row["tenant"]), data={**event.data, "agent": row["agent"]})
            await self._audit.append_within(connection, event)
            return True


async def keep_signed(connection: Connection, signed: Sequence[tuple[str, int, Signed, int]]) -> None:
    """Write transactions down: payment, chain, what was signed, and its place among those of the payment."""
    for intent, chain_id, one, place in signed:
        if place == 0:
            query = b"INSERT INTO wallet_nonces (intent, chain_id, address, nonce) VALUES (%s, %s, %s, %s)"
            await connection.execute(query, (intent, chain_id, one.sender, one.nonce))
        query = (
            b"INSERT INTO chain_transactions (hash, intent, place, raw, gas_limit, max_fee, priority) "
            b"VALUES (%s, %s, %s, %s, %s, %s::numeric, %s::numeric)"
        )
        gas = one.gas
        await connection.execute(query, (one.hash, intent, place, one.raw, gas.limit, gas.max_fee, gas.priority))


def wallet_of(row: dict[str, Any]) -> Wallet:
    """A row of ``wallets``."""
    names = ("chain_id", "address", "tenant", "agent", "next_nonce", "why")
    return Wallet(**{name: row[name] for name in names}, quarantined=row["quarantined_at"] is not None)


def transaction_of(row: dict[str, Any]) -> ChainTransaction:
    """A row of ``chain_transactions`` with those of its nonce."""
    return ChainTransaction(
        hash=row["hash"],
        intent=str(row["intent"]),
        place=row["place"],
        raw=bytes(row["raw"]),
        gas=Gas(int(row["gas_limit"]), int(row["max_fee"]), int(row["priority"])),
        chain_id=row["chain_id"],
        sender=row["address"],
        nonce=row["nonce"],
        signed_at=row["signed_at"],
        sent_at=row["sent_at"],
        sends=row["sends"],
        said=row["said"],
        block=row["block"],
        fee=None if row["fee"] is None else int(row["fee"]),
    )
