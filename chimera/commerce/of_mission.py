"""What a mission paid, or wanted to: for whoever looks at its result."""

from typing import Any

from chimera.commerce.assets import Asset
from chimera.commerce.chain.local import LOCAL_CHAIN
from chimera.store.postgres import Pool, fetch

_OF = """
    SELECT i.id, i.state, i.why, i.agent, i.payee, i.amount, i.purpose, i.chain_id, s.id AS asset, s.symbol, s.decimals,
        s.address, p.name, x.url, coalesce(x.transaction, t.hash) AS transaction,
        (SELECT f.data ->> 'action' FROM payment_findings AS f WHERE f.intent = i.id AND f.step = 'cfo') AS verdict,
        ARRAY (SELECT a.approver FROM payment_approvals AS a WHERE a.intent = i.id ORDER BY a.at) AS people
    FROM intents AS i JOIN assets AS s ON s.id = i.asset
    LEFT JOIN payees AS p ON p.tenant = i.tenant AND p.chain_id = coalesce(i.chain_id, 0)
        AND lower(p.address) = lower(i.payee) AND p.removed_at IS NULL
    LEFT JOIN x402_payments AS x ON x.intent = i.id
    LEFT JOIN LATERAL (
        SELECT c.hash FROM chain_transactions AS c WHERE c.intent = i.id ORDER BY c.place DESC LIMIT 1
    ) AS t ON true
    WHERE i.mission = %s ORDER BY i.id
"""


async def payments_of(pool: Pool, mission_id: str) -> list[dict[str, Any]]:
    """The payments of a mission, oldest first, as plain data; ``local``: in money without worth."""
    return [_told(row) for row in await fetch(pool, _OF, (mission_id,))]


def _told(row: dict[str, Any]) -> dict[str, Any]:
    asset = Asset(row["asset"], row["symbol"], row["decimals"], row["chain_id"], row["address"])
    return {
        "intent": str(row["id"]),
        "state": row["state"],
        "why": row["why"],
        "amount": asset.shown(int(row["amount"])),
        "payee": row["name"] or row["payee"],
        "wallet": row["agent"],
        "purpose": row["purpose"],
        "url": row["url"],
        "cfo": row["verdict"],
        "agreed": list(row["people"]),
        "transaction": row["transaction"],
        "local": row["chain_id"] == LOCAL_CHAIN,
    }
