"""The table ``x402_sales``: what was sold for which authorisation, so that each buys one thing, once, and for good."""

from dataclasses import dataclass
from typing import Any

from chimera.commerce.intents import digest_of
from chimera.commerce.x402.journal import Goods
from chimera.core.errors import OutcomeUnknown
from chimera.store.postgres import Pool, fetch, fetch_one

STALE_S = 60
"""After that long, whoever was making the answer is gone."""
_CLAIM = """
    INSERT INTO x402_sales AS s (asset, payer, nonce, request, amount, state) VALUES (%s, %s, %s, %s, %s, 'serving')
    ON CONFLICT (asset, payer, nonce) DO UPDATE SET touched_at = clock_timestamp()
        WHERE s.state = 'serving' AND s.request = excluded.request
            AND s.touched_at < clock_timestamp() - make_interval(secs => %s)
    RETURNING state
"""
_GET = "SELECT * FROM x402_sales WHERE (asset, payer, nonce) = (%s, %s, %s)"
_MADE = """
    UPDATE x402_sales SET state = 'made', status = %s, media_type = %s, answer = %s, touched_at = clock_timestamp()
    WHERE (asset, payer, nonce) = (%s, %s, %s) AND state = 'serving'
"""
_SETTLED = """
    UPDATE x402_sales SET state = 'settled', transaction = %s, touched_at = clock_timestamp()
    WHERE (asset, payer, nonce) = (%s, %s, %s) AND state IN ('made', 'settled')
"""
_DROP = "DELETE FROM x402_sales WHERE (asset, payer, nonce) = (%s, %s, %s) AND state <> 'settled'"
_REQUEST, _ORDER = "chimera-x402-sale-1", "chimera-x402-order-1"


@dataclass(frozen=True)
class Coupon:
    """What one authorisation pays for. ``request``: digest of what was asked of us with it."""

    asset: str
    payer: str
    nonce: bytes
    request: bytes
    amount: int

    @property
    def place(self) -> tuple[str, str, bytes]:
        """The key of the row."""
        return (self.asset, self.payer, self.nonce)

    @property
    def order(self) -> str:
        """Which order it is; another request with the same authorisation is another one."""
        return digest_of(_ORDER, self.asset, self.payer, self.nonce.hex(), self.request.hex()).hex()


@dataclass(frozen=True)
class Sale:
    """A row. ``goods``: the answer, once it was made."""

    request: bytes
    state: str
    transaction: str
    goods: Goods | None


def request_digest(method: str, target: str, body: bytes) -> bytes:
    """By which the same request is known again. ``target``: path and query."""
    return digest_of(_REQUEST, method, target, body.hex())


class SaleStore:
    """Reads and writes the table ``x402_sales``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(self, coupon: Coupon) -> Sale | None:
        """Become the one who makes the answer: None. Else the sale as it is."""
        values = (*coupon.place, coupon.request, coupon.amount, STALE_S)
        if await fetch_one(self._pool, _CLAIM, values) is not None:
            return None
        row = await fetch_one(self._pool, _GET, coupon.place)
        if row is None:
            raise OutcomeUnknown("the sale was given up at this moment")
        return _sale(row)

    async def made(self, coupon: Coupon, goods: Goods) -> None:
        """Keep the answer, before the payment is made."""
        await fetch(self._pool, _MADE, (goods.status, goods.media_type, goods.body, *coupon.place))

    async def settled(self, coupon: Coupon, transaction: str) -> None:
        """The payment was made: the answer is the buyer's."""
        await fetch(self._pool, _SETTLED, (transaction, *coupon.place))

    async def drop(self, coupon: Coupon) -> None:
        """Nothing was sold."""
        await fetch(self._pool, _DROP, coupon.place)


def _sale(row: Any) -> Sale:
    goods = None
    if row["answer"] is not None:
        goods = Goods(row["status"], row["media_type"] or "", bytes(row["answer"]))
    return Sale(bytes(row["request"]), row["state"], row["transaction"], goods)
