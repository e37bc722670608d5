"""The books beside the chain: what each wallet spent by the ledger, and what it spent by the chain."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chimera.core.errors import ChainMissing
from chimera.store.postgres import Pool, fetch

_SPENT = """
    SELECT i.agent AS wallet, h.asset, sum(h.captured - h.refunded) AS captured,
        sum(CASE WHEN i.state IN ('signed', 'broadcast', 'confirmed', 'unknown', 'quarantined') THEN h.amount ELSE 0
            END) AS in_flight
    FROM holds AS h JOIN intents AS i ON i.id = h.intent WHERE i.tenant = %s GROUP BY i.agent, h.asset
"""


@dataclass(frozen=True)
class ChainTotal:
    """What the chain says of a wallet and asset: atomic units that left it for payments and fees, less what came back.

    ``wallet``: the agent whose wallet it is, as intents name it. Money that was only put into the wallet is not part.
    """

    wallet: str
    asset: str
    spent: int


class ChainTotals(Protocol):
    """Knows the chain. Whoever has wallets implements it; amounts count from the depth on at which they are final."""

    async def totals(self, tenant: str) -> Sequence[ChainTotal]:
        """What left each wallet of a tenant, of every asset that it ever held."""
        ...


@dataclass(frozen=True)
class Compared:
    """A wallet and asset by both. ``in_flight``: held for what is signed, and so possibly on the chain already."""

    wallet: str
    asset: str
    ledger: int
    chain: int
    in_flight: int

    @property
    def difference(self) -> int:
        """Atomic units that the chain has spent and the ledger has not captured; below zero: the other way round."""
        return self.chain - self.ledger

    @property
    def agrees(self) -> bool:
        """Whether payments that are under way can explain it."""
        return 0 <= self.difference <= self.in_flight

    def plain(self) -> dict[str, Any]:
        """The comparison as JSON data; units as text."""
        units = {"ledger": self.ledger, "chain": self.chain, "in_flight": self.in_flight, "difference": self.difference}
        told = {name: str(value) for name, value in units.items()}
        return {"wallet": self.wallet, "asset": self.asset, **told, "agrees": self.agrees}


async def reconcile(pool: Pool, chain: ChainTotals | None, tenant: str) -> list[Compared]:
    """Every wallet and asset that the ledger or the chain knows, by name.

    Raises:
        ChainMissing: no chain is configured.
    """
    if chain is None:
        raise ChainMissing("no chain is configured, so there is nothing to compare the ledger with")
    rows = await fetch(pool, _SPENT, (tenant,))
    books = {(str(row["wallet"]), str(row["asset"])): (int(row["captured"]), int(row["in_flight"])) for row in rows}
    seen: dict[tuple[str, str], int] = {}
    for total in await chain.totals(tenant):
        place = (total.wallet, total.asset)
        seen[place] = seen.get(place, 0) + total.spent
    none = (0, 0)
    return [
        Compared(
            *place, ledger=books.get(place, none)[0], chain=seen.get(place, 0), in_flight=books.get(place, none)[1]
        )
        for place in sorted(books.keys() | seen.keys())
    ]
