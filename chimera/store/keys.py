"""Keys with which principals call the server. What is kept of a key cannot be used to call."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chimera.store.audit import AuditEvent
from chimera.store.postgres import Connection, Pool, fetch, fetch_one
from chimera.store.values import as_stored

_COLUMNS = "id, tenant, principal, label, issued_at, issued_by, expires_at, revoked_at, revoked_by"
_REVOKE = "UPDATE principal_keys SET revoked_at = %s, revoked_by = %s "


@dataclass(frozen=True)
class Key:
    """A key that was issued, without what makes it one. ``label``: what it is for, in its owner's words."""

    id: str
    tenant: str
    principal: str
    label: str
    issued_at: datetime
    issued_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None

    def counts(self, now: datetime) -> bool:
        """Whether it was not revoked, and has not ended."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def plain(self) -> dict[str, Any]:
        """The key as plain JSON data."""
        times = ("issued_at", "expires_at", "revoked_at")
        return {**vars(self), **{name: at.isoformat() if (at := getattr(self, name)) else None for name in times}}

    def told(self, kind: str, actor: str, **more: str) -> AuditEvent:
        """The event that puts something about it on the record."""
        until = self.expires_at.isoformat() if self.expires_at else ""
        data = {"key": self.id, "principal": self.principal, "label": self.label, "until": until, **more}
        return AuditEvent(kind=kind, actor=actor, tenant=self.tenant, data=data)


@dataclass(frozen=True)
class Sealed:
    """What is kept to know a secret again: SHA-256 over salt and secret."""

    salt: bytes
    digest: bytes


class KeyStore:
    """Reads and writes the table ``principal_keys``. It asks nobody whether a key may be issued: see ``Keys``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def write(self, connection: Connection, key: Key, sealed: Sealed) -> None:
        """Write a new key in a transaction."""
        await connection.execute(
            "INSERT INTO principal_keys (id, tenant, principal, salt, digest, label, issued_at, issued_by, expires_at) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                key.id,
                key.tenant,
                key.principal,
                sealed.salt,
                sealed.digest,
                as_stored(key.label),
                key.issued_at,
                key.issued_by,
                key.expires_at,
            ),
        )

    async def find(self, key_id: str) -> tuple[Key, Sealed] | None:
        """The key of that very id, with what its secret is known by."""
        if as_stored(key_id) != key_id:
            return None
        row = await fetch_one(
            self._pool,
            f"SELECT {_COLUMNS}, salt, digest FROM principal_keys WHERE id = %s",  # noqa: S608 - a constant
            (key_id,),
        )
        if row is None:
            return None
        sealed = Sealed(bytes(row.pop("salt")), bytes(row.pop("digest")))
        return Key(**row), sealed

    async def listed(self, tenant: str, principal: str | None = None) -> list[Key]:
        """The keys of a tenant, or of one of its principals, oldest first; those that no longer count too."""
        rows = await fetch(
            self._pool,
            f"SELECT {_COLUMNS} FROM principal_keys WHERE tenant = %s AND coalesce(principal = %s::text, true) "  # noqa: S608
            "ORDER BY issued_at, id",
            (tenant, principal),
        )
        return [Key(**row) for row in rows]

    async def any_counts(self, now: datetime) -> bool:
        """Whether anybody in any tenant has a key that counts."""
        row = await fetch_one(
            self._pool,
            "SELECT 1 AS found FROM principal_keys WHERE revoked_at IS NULL AND coalesce(expires_at > %s, true) "
            "LIMIT 1",
            (now,),
        )
        return row is not None

    async def revoke(self, connection: Connection, key_id: str, by: str, at: datetime) -> Key | None:
        """Revoke a key in a transaction; None when there is none, or it was revoked before."""
        cursor = await connection.execute(
            (_REVOKE + f"WHERE id = %s AND revoked_at IS NULL RETURNING {_COLUMNS}").encode(),
            (at, by, key_id),
        )
        row = await cursor.fetchone()
        return Key(**row) if row else None

    async def revoke_all(
        self, connection: Connection, tenant: str, principal: str, by: str, at: datetime
    ) -> Sequence[Key]:
        """Revoke every key of a principal in a transaction; gives those that were not revoked before."""
        cursor = await connection.execute(
            (_REVOKE + f"WHERE (tenant, principal) = (%s, %s) AND revoked_at IS NULL RETURNING {_COLUMNS}").encode(),
            (at, by, tenant, principal),
        )
        return [Key(**row) for row in await cursor.fetchall()]
