"""What wallets paid, newest first, and the search in it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chimera.core.errors import InputError
from chimera.store.postgres import Pool, fetch

MOST = 1_000
_FOUND = """
    SELECT i.id, i.agent, i.payee, i.asset, i.amount, i.purpose, i.category, i.mission, i.state, i.why, n.chain_id,
        n.address AS wallet, n.nonce, t.hash, t.signed_at, t.sent_at, m.block, m.fee, m.hash AS mined
    FROM wallet_nonces AS n JOIN intents AS i ON i.id = n.intent
    JOIN LATERAL (SELECT * FROM chain_transactions AS c WHERE c.intent = n.intent ORDER BY c.place DESC LIMIT 1) AS t
        ON true
    LEFT JOIN LATERAL (SELECT c.block, c.fee, c.hash FROM chain_transactions AS c
        WHERE c.intent = n.intent AND c.block IS NOT NULL LIMIT 1) AS m ON true
    WHERE i.tenant = %(tenant)s AND (%(agent)s::text IS NULL OR i.agent = %(agent)s)
        AND (%(state)s::text IS NULL OR i.state = %(state)s)
        AND (%(since)s::timestamptz IS NULL OR t.signed_at >= %(since)s)
        AND (%(until)s::timestamptz IS NULL OR t.signed_at < %(until)s)
        AND (%(words)s::text IS NULL
            OR strpos(lower(concat_ws(' ', i.purpose, i.category, i.mission, i.why)), %(words)s) > 0
            OR lower(i.payee) LIKE %(like)s OR lower(n.address) LIKE %(like)s OR i.id::text LIKE %(like)s
            OR EXISTS (SELECT FROM chain_transactions AS c WHERE c.intent = n.intent AND c.hash LIKE %(like)s))
    ORDER BY t.signed_at DESC, n.nonce DESC LIMIT %(limit)s
"""


@dataclass(frozen=True)
class Search:
    """What to look for. ``words``: in purpose, category, mission, or the beginning of an address, hash or id."""

    tenant: str
    words: str = ""
    agent: str | None = None
    state: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 50


@dataclass(frozen=True)
class Made:
    """A transaction of a payment; ``hash`` is the one that was mined, or else the newest that was signed."""

    intent: str
    agent: str
    wallet: str
    chain_id: int
    nonce: int
    hash: str
    payee: str
    asset: str
    amount: int
    fee: int | None
    block: int | None
    state: str
    purpose: str
    category: str
    mission: str
    why: str
    signed_at: datetime
    sent_at: datetime | None

    def plain(self) -> dict[str, Any]:
        """The same as JSON data; units as text."""
        told = {**vars(self), "amount": str(self.amount), "fee": None if self.fee is None else str(self.fee)}
        told["signed_at"] = self.signed_at.isoformat()
        told["sent_at"] = self.sent_at.isoformat() if self.sent_at else None
        return told


async def search_history(pool: Pool, search: Search) -> list[Made]:
    """The transactions that fit, newest first.

    Raises:
        InputError: too many are asked for.
    """
    if not 0 < search.limit <= MOST:
        raise InputError(f"a search gives 1 to {MOST:,} transactions, not {search.limit}")
    words = search.words.strip().lower()
    begins = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    values = {**vars(search), "words": words or None, "like": begins if words else None}
    return [_made(row) for row in await fetch(pool, _FOUND, values)]


def _made(row: dict[str, Any]) -> Made:
    names = (
        "agent",
        "wallet",
        "chain_id",
        "nonce",
        "payee",
        "asset",
        "block",
        "state",
        "purpose",
        "category",
        "mission",
    )
    return Made(
        intent=str(row["id"]),
        hash=row["mined"] or row["hash"],
        amount=int(row["amount"]),
        fee=None if row["fee"] is None else int(row["fee"]),
        why=row["why"],
        signed_at=row["signed_at"],
        sent_at=row["sent_at"],
        **{name: row[name] for name in names},
    )
