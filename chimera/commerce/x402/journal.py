"""The table ``x402_payments``: what is bought, the one authorisation for it, and what came."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from chimera.commerce.intents import Intent, IntentState, digest_of
from chimera.commerce.x402.authorization import Authorization
from chimera.core.errors import IntentConflict, IntentNotFound
from chimera.store.postgres import Connection, Pool, fetch, fetch_one

_REQUEST = "chimera-x402-request-1"
_OPEN = ("signed", "broadcast", "unknown", "confirmed", "captured")
_PUT = """
    INSERT INTO x402_payments (intent, tenant, key, method, url, body, request, offer)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_SIGN = """
    UPDATE x402_payments SET header = %s, payer = %s, nonce = %s, valid_before = %s, signed_at = clock_timestamp()
    WHERE intent = %s AND header IS NULL
"""
_CAME = """
    UPDATE x402_payments SET status = %s, media_type = %s, goods = %s, came_at = clock_timestamp()
    WHERE intent = %s AND goods IS NULL
"""
_WAITING = """
    SELECT p.intent FROM x402_payments AS p JOIN intents AS i ON i.id = p.intent
    WHERE i.state = ANY (%s) ORDER BY i.moved_at LIMIT %s
"""
_DISPUTES = """
    SELECT p.* FROM x402_payments AS p JOIN intents AS i ON i.id = p.intent
    WHERE i.tenant = %s AND i.state = 'paid_undelivered' ORDER BY i.moved_at
"""


@dataclass(frozen=True)
class Request:
    """What is asked of a seller."""

    url: str
    method: str = "GET"
    body: bytes = b""

    def digest(self) -> bytes:
        """By which the same request is known again."""
        return digest_of(_REQUEST, self.method, self.url, self.body.hex())


@dataclass(frozen=True)
class Goods:
    """What a seller gave."""

    status: int
    media_type: str
    body: bytes


@dataclass(frozen=True)
class Row:
    """A purchase. ``header``: the signed authorisation, once there is one; it never changes."""

    intent: str
    request: Request
    offer: dict[str, Any]
    header: str | None
    payer: str
    nonce: bytes
    valid_before: int
    sent: int
    transaction: str
    goods: Goods | None


class PurchaseStore:
    """Reads and writes the table ``x402_payments``."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    async def now(self) -> int:
        """The ledger's time, in seconds since 1970."""
        row = await fetch_one(self.pool, "SELECT floor(extract(epoch FROM ledger_now()))::bigint AS now")
        return int(row["now"]) if row else 0

    async def named(self, tenant: str, key: str) -> Row | None:
        """The purchase of a key."""
        row = await fetch_one(self.pool, "SELECT * FROM x402_payments WHERE tenant = %s AND key = %s", (tenant, key))
        return _row(row) if row else None

    async def of(self, intent: str) -> Row:
        """A purchase by its payment.

        Raises:
            IntentNotFound: there is none.
        """
        row = await fetch_one(self.pool, "SELECT * FROM x402_payments WHERE intent = %s", (intent,))
        if row is None:
            raise IntentNotFound(f"payment {intent[:60]} is no purchase over HTTP")
        return _row(row)

    async def put(self, intent: Intent, request: Request, offer: dict[str, Any]) -> Row:
        """Write down what a payment buys.

        Raises:
            IntentConflict: it buys something else.
        """
        asked = intent.asked
        values = (intent.id, asked.tenant, asked.key, request.method, request.url, request.body, request.digest())
        await fetch(self.pool, _PUT, (*values, Jsonb(offer)))
        row = await self.of(intent.id)
        if row.request != request:
            raise IntentConflict(f"the key {asked.key[:80]!r} stands for another purchase")
        return row

    async def sign(self, connection: Connection, intent: str, header: str, signed: Authorization) -> None:
        """Keep the authorisation, in the transaction that says that the payment is signed."""
        values = (header, signed.payer, signed.nonce, signed.valid_before, intent)
        cursor = await connection.execute(_SIGN.encode(), values)
        if cursor.rowcount != 1:
            raise IntentConflict(f"payment {intent} is signed already")

    async def sending(self, intent: str) -> None:
        """The header is sent once more."""
        await fetch(self.pool, "UPDATE x402_payments SET sent = sent + 1 WHERE intent = %s", (intent,))

    async def paid(self, intent: str, transaction: str) -> None:
        """The chain says that it was paid."""
        await fetch(self.pool, "UPDATE x402_payments SET transaction = %s WHERE intent = %s", (transaction, intent))

    async def came(self, intent: str, goods: Goods) -> None:
        """Keep what came; the first that came stays."""
        await fetch(self.pool, _CAME, (goods.status, goods.media_type, goods.body, intent))

    async def waiting(self, limit: int) -> list[str]:
        """Payments that are signed and not at their end, those that waited longest first."""
        return [str(row["intent"]) for row in await fetch(self.pool, _WAITING, (list(_OPEN), limit))]

    async def disputes(self, tenant: str) -> Sequence[Row]:
        """What was paid and never came: to be asked for again, or to be refunded."""
        return [_row(row) for row in await fetch(self.pool, _DISPUTES, (tenant,))]


def is_open(state: IntentState) -> bool:
    """Whether a purchase in this state is signed and not at its end."""
    return str(state) in _OPEN


def _row(row: Any) -> Row:
    goods = Goods(row["status"], row["media_type"] or "", bytes(row["goods"])) if row["goods"] is not None else None
    return Row(
        intent=str(row["intent"]),
        request=Request(row["url"], row["method"], bytes(row["body"])),
        offer=row["offer"],
        header=row["header"],
        payer=row["payer"] or "",
        nonce=bytes(row["nonce"] or b""),
        valid_before=int(row["valid_before"] or 0),
        sent=row["sent"],
        transaction=row["transaction"] or "",
        goods=goods,
    )
