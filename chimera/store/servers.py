"""The tool servers that were registered, their versions, and what of them is pinned, in Postgres."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from chimera.core.errors import InputError
from chimera.store.postgres import Connection, Pool, fetch, fetch_one
from chimera.store.values import as_json, as_stored

Row = dict[str, Any]


class ServerStore:
    """Reads and writes the tables ``tool_servers``, ``tool_versions``, ``tool_replicas`` and ``tool_capabilities``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def listed(self) -> list[Row]:
        """Every server with its current version's spec, by name."""
        return await fetch(
            self._pool,
            "SELECT s.*, v.spec, (SELECT array_agg(o.version ORDER BY o.added_at) FROM tool_versions o "
            "WHERE o.server = s.name) AS versions FROM tool_servers s "
            "JOIN tool_versions v ON v.server = s.name AND v.version = s.current ORDER BY s.name",
        )

    async def find(self, name: str) -> Row:
        """A server by its name.

        Raises:
            InputError: there is none.
        """
        row = await fetch_one(self._pool, "SELECT * FROM tool_servers WHERE name = %s", (as_stored(name),))
        if row is None:
            raise InputError(f"no tool server {name[:60]!r} is registered", remedy="`chimera tools ls` lists them.")
        return row

    async def versions(self, name: str) -> list[Row]:
        """The versions of a server, oldest first, each with its replicas."""
        return await fetch(
            self._pool,
            "SELECT v.*, coalesce((SELECT jsonb_agg(jsonb_build_object('place', r.place, 'health', r.health, "
            "'reason', r.reason, 'checked_at', r.checked_at) ORDER BY r.place) FROM tool_replicas r "
            "WHERE r.server = v.server AND r.version = v.version), '[]') AS replicas "
            "FROM tool_versions v WHERE v.server = %s "
            "ORDER BY v.added_at",
            (name,),
        )

    async def capabilities(self, name: str, version: str) -> list[Row]:
        """What a version offers, as far as anybody said."""
        return await fetch(
            self._pool,
            "SELECT * FROM tool_capabilities WHERE server = %s AND version = %s ORDER BY kind DESC, name",
            (name, version),
        )

    async def offered(self) -> list[Row]:
        """The tools of the current versions of all servers that are switched on, as far as anybody said."""
        return await fetch(
            self._pool,
            "SELECT c.* FROM tool_servers s JOIN tool_capabilities c ON c.server = s.name AND c.version = s.current "
            "WHERE s.enabled AND c.kind = 'tool' ORDER BY c.server, c.name",
        )

    async def holder(self, connection: Connection, name: str) -> Row | None:
        """A server, held by a transaction until it ends."""
        cursor = await connection.execute("SELECT * FROM tool_servers WHERE name = %s FOR UPDATE", (name,))
        return await cursor.fetchone()

    async def insert(
        self, connection: Connection, name: str, identity: str, category: str, version: str, at: datetime
    ) -> None:
        """Register a server, unless it is; its version is current."""
        await connection.execute(
            "INSERT INTO tool_servers (name, identity, category, current, changed_at) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            (name, identity, category, version, at),
        )

    async def add_version(
        self, connection: Connection, name: str, version: str, spec: Mapping[str, Any], by: str, at: datetime
    ) -> bool:
        """Add a version with its replicas; False when it was there."""
        cursor = await connection.execute(
            "INSERT INTO tool_versions (server, version, spec, added_by, added_at) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING RETURNING version",
            (name, version, as_json(spec), as_stored(by), at),
        )
        if await cursor.fetchone() is None:
            return False
        for place in spec.get("urls") or [""]:
            await connection.execute(
                "INSERT INTO tool_replicas (server, version, place) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (name, version, place),
            )
        return True

    async def route(
        self,
        connection: Connection,
        name: str,
        at: datetime,
        *,
        current: str,
        previous: str | None,
        canary: str | None,
        canary_bp: int,
    ) -> None:
        """Say which version serves, which did before, and which is tried, with how many hundredths of a percent."""
        await connection.execute(
            "UPDATE tool_servers SET current = %s, previous = %s, canary = %s, canary_bp = %s, changed_at = %s "
            "WHERE name = %s",
            (current, previous, canary, canary_bp, at, name),
        )

    async def enable(self, connection: Connection, name: str, enabled: bool, at: datetime) -> None:
        """Let a server be used, or not."""
        await connection.execute(
            "UPDATE tool_servers SET enabled = %s, changed_at = %s WHERE name = %s", (enabled, at, name)
        )

    async def offer(
        self, connection: Connection, name: str, version: str, offers: Sequence[Mapping[str, Any]], at: datetime
    ) -> None:
        """Write down what a version offers, in the place of what was said before of the same things."""
        for found in offers:
            await connection.execute(
                "INSERT INTO tool_capabilities (server, version, kind, name, definition, read_only, idempotent, "
                "destructive, risk, cost_units, cost_asset, seen_at) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
                "ON CONFLICT (server, version, kind, name) DO UPDATE SET definition = EXCLUDED.definition, "
                "read_only = EXCLUDED.read_only, idempotent = EXCLUDED.idempotent, "
                "destructive = EXCLUDED.destructive, risk = EXCLUDED.risk, cost_units = EXCLUDED.cost_units, "
                "cost_asset = EXCLUDED.cost_asset, seen_at = EXCLUDED.seen_at",
                (
                    name,
                    version,
                    found["kind"],
                    as_stored(found["name"]),
                    as_json(found["definition"]),
                    found["read_only"],
                    found["idempotent"],
                    found["destructive"],
                    found["risk"],
                    found["cost_units"],
                    found["cost_asset"],
                    at,
                ),
            )

    async def seen(
        self, name: str, version: str, place: str, health: Literal["up", "down"], reason: str, at: datetime
    ) -> None:
        """Note how a replica was found."""
        await fetch(
            self._pool,
            "UPDATE tool_replicas SET health = %s, reason = %s, checked_at = %s "
            "WHERE server = %s AND version = %s AND place = %s RETURNING place",
            (health, as_stored(reason)[:300], at, name, version, place),
        )
