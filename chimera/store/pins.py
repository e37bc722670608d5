"""What was pinned of tools, and what servers said later instead, in Postgres."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from chimera.core.errors import InputError
from chimera.store.postgres import Connection, Pool, fetch, fetch_one
from chimera.store.values import as_json, as_stored

Row = dict[str, Any]
_PIN = """
INSERT INTO tool_pins (identity, version, tool, digest, definition, pinned_by, pinned_at)
VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_PIN_INSTEAD = """
INSERT INTO tool_pins (identity, version, tool, digest, definition, pinned_by, pinned_at)
VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (identity, version, tool) DO UPDATE SET digest = EXCLUDED.digest,
    definition = EXCLUDED.definition, pinned_by = EXCLUDED.pinned_by, pinned_at = EXCLUDED.pinned_at
"""


class PinStore:
    """Reads and writes the tables ``tool_pins`` and ``tool_changes``. It decides nothing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def pinned(self, identity: str, version: str) -> dict[str, Any]:
        """The pinned definitions of one version, by tool."""
        rows = await fetch(
            self._pool,
            "SELECT tool, definition FROM tool_pins WHERE identity = %s AND version = %s",
            (as_stored(identity), version),
        )
        return {row["tool"]: row["definition"] for row in rows}

    async def nearest(self, identity: str) -> dict[str, Any]:
        """The pinned definitions of the version of a server that was pinned last."""
        row = await fetch_one(
            self._pool,
            "SELECT version FROM tool_pins WHERE identity = %s ORDER BY pinned_at DESC, version DESC LIMIT 1",
            (as_stored(identity),),
        )
        return await self.pinned(identity, row["version"]) if row else {}

    async def rows(self, identity: str) -> list[Row]:
        """Every pin of a server, by version and tool."""
        return await fetch(
            self._pool, "SELECT * FROM tool_pins WHERE identity = %s ORDER BY version, tool", (as_stored(identity),)
        )

    async def pin(
        self,
        connection: Connection,
        identity: str,
        version: str,
        definitions: Mapping[str, tuple[str, Mapping[str, Any]]],
        by: str,
        at: datetime,
        *,
        instead: bool = False,
    ) -> None:
        """Pin definitions, each with its digest, where nothing is pinned yet; ``instead``: in the place of what is."""
        query = _PIN_INSTEAD if instead else _PIN
        for tool, (digest, defined) in definitions.items():
            await connection.execute(
                query,
                (as_stored(identity), version, tool, digest, as_json(defined), as_stored(by), at),
            )

    async def unpin(self, connection: Connection, identity: str, version: str, kept: Sequence[str]) -> None:
        """Forget the pins of a version's tools that are not among those that are kept."""
        await connection.execute(
            "DELETE FROM tool_pins WHERE identity = %s AND version = %s AND tool <> ALL (%s)",
            (as_stored(identity), version, list(kept)),
        )

    # --- what servers say instead --------------------------------------------------------------------------------

    async def change(self, digest: str) -> Row | None:
        """What a server said instead, by exactly that digest."""
        return await fetch_one(self._pool, "SELECT * FROM tool_changes WHERE digest = %s", (digest,))

    async def changes(self, identity: str | None = None) -> list[Row]:
        """What servers said instead, newest first."""
        return await fetch(
            self._pool,
            "SELECT * FROM tool_changes WHERE %(identity)s::text IS NULL OR identity = %(identity)s "
            "ORDER BY proposed_at DESC LIMIT 200",
            {"identity": identity},
        )

    async def asked_by(self, review_id: str) -> Row:
        """What the question ``review_id`` is about.

        Raises:
            InputError: it is about no changed tools.
        """
        row = await fetch_one(self._pool, "SELECT * FROM tool_changes WHERE review_id = %s", (review_id,))
        if row is None:
            raise InputError("this question is about no tools that changed")
        return row

    async def propose(
        self,
        connection: Connection,
        digest: str,
        found: Mapping[str, Any],
        review_id: str,
        at: datetime,
        *,
        again: bool = False,
    ) -> bool:
        """Put what a server says before a human; False when it is there, or was rejected.

        What was approved once and then replaced is asked anew; ``again``: also what was rejected.
        """
        cursor = await connection.execute(
            "INSERT INTO tool_changes (digest, identity, version, server, changes, definitions, state, review_id, "
            "proposed_at) VALUES (%(digest)s, %(identity)s, %(version)s, %(server)s, %(changes)s, %(definitions)s, "
            "'proposed', %(review)s, %(at)s) ON CONFLICT (digest) DO UPDATE SET state = 'proposed', "
            "changes = EXCLUDED.changes, review_id = EXCLUDED.review_id, proposed_at = EXCLUDED.proposed_at "
            "WHERE tool_changes.state = 'approved' OR (%(again)s AND tool_changes.state = 'rejected') RETURNING digest",
            {
                "digest": digest,
                "identity": as_stored(found["identity"]),
                "version": found["version"],
                "server": found["server"],
                "changes": as_json(found["changes"]),
                "definitions": as_json(found["definitions"]),
                "review": review_id,
                "at": at,
                "again": again,
            },
        )
        return await cursor.fetchone() is not None

    async def settle(
        self,
        connection: Connection,
        digest: str,
        state: Literal["approved", "rejected"],
        *,
        by: str,
        reason: str,
        at: datetime,
    ) -> bool:
        """Decide about it in a transaction; False when it no longer is before a human."""
        cursor = await connection.execute(
            "UPDATE tool_changes SET state = %s, decided_at = %s, decided_by = %s, reason = %s "
            "WHERE digest = %s AND state = 'proposed' RETURNING digest",
            (state, at, as_stored(by), as_stored(reason), digest),
        )
        return await cursor.fetchone() is not None
