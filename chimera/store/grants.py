"""Permissions for a time: given, taken back, and expired by themselves. Every change is on the record."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from chimera.core.clock import Clock
from chimera.core.errors import InputError
from chimera.core.ids import NewId
from chimera.store.audit import AuditEvent, AuditLog
from chimera.store.postgres import Pool, fetch, fetch_one
from chimera.store.values import as_stored, is_uuid

_SHOWN = 20


@dataclass(frozen=True)
class Grant:
    """One action with one resource, for one principal, until a time."""

    id: str
    tenant: str
    principal: str
    action: str
    resource_type: str
    resource_id: str
    reason: str
    granted_by: str
    granted_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    revoked_by: str | None = None

    def covers(self, principal: str, action: str, resource_type: str, resource_id: str) -> bool:
        """Whether it is about exactly this; nothing in the names is a pattern."""
        mine = (self.principal, self.action, self.resource_type, self.resource_id)
        return mine == (principal, action, resource_type, resource_id)

    def state(self, now: datetime) -> Literal["active", "expired", "revoked"]:
        """Whether it counts at a time; at the moment of its end it no longer does."""
        if self.revoked_at is not None:
            return "revoked"
        return "active" if self.granted_at <= now < self.expires_at else "expired"

    def plain(self) -> dict[str, Any]:
        """The grant as plain JSON data."""
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in vars(self).items()}


class GrantStore:
    """Reads and writes the table ``grants``. It asks nobody whether a grant may be given: see ``Granting``."""

    def __init__(self, pool: Pool, audit: AuditLog, clock: Clock, new_id: NewId) -> None:
        self._pool = pool
        self._audit = audit
        self._clock = clock
        self._new_id = new_id

    async def grant(
        self,
        principal: str,
        action: str,
        resource: tuple[str, str],
        expires_at: datetime,
        by: str,
        reason: str,
        *,
        tenant: str = "default",
    ) -> Grant:
        """Give a permission until ``expires_at``. ``resource``: its type and its id.

        It is on the record before it counts.

        Raises:
            InputError: it would be over already, or says nothing about who, what or why. StoreError: it was not given.
        """
        now = self._clock.now()
        if expires_at.tzinfo is None or expires_at <= now:
            raise InputError("a grant ends at a time to come, with its time zone")
        texts = (tenant, principal, action, *resource, reason, by)
        if not all(text.strip() for text in texts) or as_stored(list(texts)) != list(texts):
            raise InputError("a grant names who, what, why and by whom")
        made = Grant(self._new_id(), tenant, principal, action, *resource, reason, by, now, expires_at)
        await self._audit.append(AuditEvent(kind="permission.granted", actor=by, tenant=tenant, data=_told(made)))
        await fetch(
            self._pool,
            "INSERT INTO grants (id, tenant, principal, action, resource_type, resource_id, reason, granted_by, "
            "granted_at, expires_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (made.id, tenant, principal, action, *resource, reason, by, now, expires_at),
        )
        return made

    async def revoke(self, grant_id: str, by: str, reason: str = "") -> Grant:
        """Take a permission back, at once and in all processes. Done twice, the first time stays.

        Raises:
            InputError: there is no such grant. StoreError: it may still count, or its end is not on the record.
        """
        row = None
        if is_uuid(grant_id):
            row = await fetch_one(
                self._pool,
                "UPDATE grants SET revoked_at = coalesce(revoked_at, %s), revoked_by = coalesce(revoked_by, %s) "
                "WHERE id = %s RETURNING *",
                (self._clock.now(), by, grant_id),
            )
        if row is None:
            raise InputError(f"there is no grant {grant_id[:60]}")
        gone = _grant(row)
        data = {**_told(gone), "why": reason}
        await self._audit.append(AuditEvent(kind="permission.revoked", actor=by, tenant=gone.tenant, data=data))
        return gone

    async def held(self, principal: str, action: str, resource: tuple[str, str], tenant: str) -> list[Grant]:
        """What a principal was given for exactly this, the one that ends last first; those that are over too."""
        names = (tenant, principal, action, *resource)
        if as_stored(list(names)) != list(names):  # what cannot be written down was never granted
            return []
        rows = await fetch(
            self._pool,
            "SELECT * FROM grants WHERE (tenant, principal, action, resource_type, resource_id) = (%s, %s, %s, %s, %s) "
            "ORDER BY (revoked_at IS NOT NULL), expires_at DESC LIMIT %s",
            (*names, _SHOWN),
        )
        return [_grant(row) for row in rows]

    async def active(self, tenant: str) -> list[Grant]:
        """Every grant of a tenant that counts now, the one that ends first first."""
        rows = await fetch(
            self._pool,
            "SELECT * FROM grants WHERE tenant = %s AND revoked_at IS NULL AND expires_at > %s ORDER BY expires_at",
            (tenant, self._clock.now()),
        )
        return [_grant(row) for row in rows]


def _told(grant: Grant) -> dict[str, str]:
    """What the record says of a grant."""
    return {
        "grant": grant.id,
        "principal": grant.principal,
        "action": grant.action,
        "resource_type": grant.resource_type,
        "resource": grant.resource_id,
        "until": grant.expires_at.isoformat(),
        "reason": grant.reason,
    }


def _grant(row: dict[str, Any]) -> Grant:
    found: dict[str, Any] = {**row, "id": str(row["id"])}
    return Grant(**found)
