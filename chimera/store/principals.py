"""Humans, services and peers, as they are enrolled. Agents are not here: a server knows which it runs."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from chimera.store.audit import AuditEvent
from chimera.store.postgres import Connection, Pool, fetch, fetch_one
from chimera.store.values import as_json, as_stored

FULL_REPUTATION = 100
PrincipalKind = Literal["human", "service", "peer"]


@dataclass(frozen=True)
class Principal:
    """Somebody in a tenant: of a kind, with roles of that kind. ``reputation``: 0 to 100, of peers."""

    tenant: str
    name: str
    kind: PrincipalKind
    roles: tuple[str, ...]
    enrolled_at: datetime
    enrolled_by: str
    reputation: int = FULL_REPUTATION
    removed_at: datetime | None = None
    removed_by: str | None = None

    @property
    def enrolled(self) -> bool:
        """Whether it is there; one that was removed may do nothing."""
        return self.removed_at is None

    def plain(self) -> dict[str, Any]:
        """The principal as plain JSON data."""
        times = {
            name: at.isoformat() if (at := getattr(self, name)) else None for name in ("enrolled_at", "removed_at")
        }
        return {**vars(self), "roles": list(self.roles), **times}

    def told(self, kind: str, actor: str, **more: Any) -> AuditEvent:
        """The event that puts a change of it on the record."""
        about = {"principal": self.name, "principal_kind": self.kind, "roles": list(self.roles)}
        return AuditEvent(kind=kind, actor=actor, tenant=self.tenant, data={**about, **more})


class PrincipalStore:
    """Reads and writes the table ``principals``. It asks nobody whether somebody may be enrolled: see ``Enrolment``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, tenant: str, name: str) -> Principal | None:
        """The principal of that very name, also one that was removed."""
        if [as_stored(tenant), as_stored(name)] != [tenant, name]:  # what cannot be written down was never enrolled
            return None
        query = "SELECT * FROM principals WHERE (tenant, name) = (%s, %s)"
        row = await fetch_one(self._pool, query, (tenant, name))
        return _principal(row) if row else None

    async def listed(self, tenant: str, *, removed: bool = False, limit: int = 1_000) -> list[Principal]:
        """Who there is in a tenant, in the order of enrolment; with ``removed`` those who were removed too."""
        rows = await fetch(
            self._pool,
            "SELECT * FROM principals WHERE tenant = %s AND (%s OR removed_at IS NULL) ORDER BY enrolled_at, name "
            "LIMIT %s",
            (tenant, removed, limit),
        )
        return [_principal(row) for row in rows]

    async def tenants(self, limit: int = 1_000) -> list[dict[str, Any]]:
        """Every tenant: its ``tenant``, who is enrolled there as ``people`` and ``others``, and ``since`` when."""
        return await fetch(
            self._pool,
            "SELECT tenant, count(*) FILTER (WHERE kind = 'human' AND removed_at IS NULL) AS people, "
            "count(*) FILTER (WHERE kind <> 'human' AND removed_at IS NULL) AS others, min(enrolled_at) AS since "
            "FROM principals GROUP BY tenant ORDER BY tenant LIMIT %s",
            (limit,),
        )

    async def has_had_people(self, tenant: str) -> bool:
        """Whether a human is or was enrolled in a tenant."""
        query = "SELECT 1 AS found FROM principals WHERE tenant = %s AND kind = 'human' LIMIT 1"
        return await fetch_one(self._pool, query, (tenant,)) is not None

    @asynccontextmanager
    async def changing(self, tenant: str) -> AsyncGenerator[tuple[Connection, list[Principal]]]:
        """A transaction in which nobody else changes who there is in a tenant, and all who are or were there."""
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"principals/{tenant}",))
            cursor = await connection.execute("SELECT * FROM principals WHERE tenant = %s", (tenant,))
            yield connection, [_principal(row) for row in await cursor.fetchall()]

    async def write(self, connection: Connection, principal: Principal) -> None:
        """Write a principal in a transaction of :meth:`changing`, in place of what was there of that name."""
        await connection.execute(
            "INSERT INTO principals (tenant, name, kind, roles, reputation, enrolled_at, enrolled_by, removed_at, "
            "removed_by) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (tenant, name) DO UPDATE SET "
            "kind = excluded.kind, roles = excluded.roles, reputation = excluded.reputation, "
            "enrolled_at = excluded.enrolled_at, enrolled_by = excluded.enrolled_by, removed_at = excluded.removed_at, "
            "removed_by = excluded.removed_by",
            (
                principal.tenant,
                principal.name,
                principal.kind,
                as_json(list(principal.roles)),
                principal.reputation,
                principal.enrolled_at,
                principal.enrolled_by,
                principal.removed_at,
                principal.removed_by,
            ),
        )


def named(found: Sequence[Principal], name: str) -> Principal | None:
    """The one of that very name."""
    return next((principal for principal in found if principal.name == name), None)


def _principal(row: dict[str, Any]) -> Principal:
    found: dict[str, Any] = {**row, "roles": tuple(row["roles"])}
    return Principal(**found)
