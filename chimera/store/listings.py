"""What tool servers said of their tools when they last ran."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from chimera.store.postgres import Pool, fetch
from chimera.store.values import as_json, as_stored

Row = dict[str, Any]


class ListingStore:
    """Reads and writes the table ``tool_listings``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def of(self, servers: Sequence[tuple[str, str]]) -> list[Row]:
        """The listings of servers that are given with their source; of others nothing is known."""
        names, sources = [name for name, _ in servers], [source for _, source in servers]
        return await fetch(
            self._pool,
            "SELECT l.* FROM tool_listings l JOIN unnest(%s::text[], %s::text[]) AS asked(server, source) "
            "USING (server, source)",
            (names, sources),
        )

    async def keep(
        self,
        server: str,
        source: str,
        digest: str,
        tools: Sequence[dict[str, Any]],
        screener: str,
        withheld: Collection[str],
        at: datetime,
    ) -> None:
        """Write down what a server says now, in the place of what it said before."""
        await fetch(
            self._pool,
            "INSERT INTO tool_listings (server, source, digest, tools, screener, withheld, seen_at) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (server, source) DO UPDATE SET "
            "digest = EXCLUDED.digest, tools = EXCLUDED.tools, screener = EXCLUDED.screener, "
            "withheld = EXCLUDED.withheld, seen_at = EXCLUDED.seen_at WHERE tool_listings.seen_at <= EXCLUDED.seen_at",
            (server, as_stored(source), digest, as_json(list(tools)), screener, as_json(sorted(withheld)), at),
        )
