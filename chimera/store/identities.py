"""Who somebody is at a provider of OpenID Connect, as it was written down at his first login from there."""

from dataclasses import dataclass
from datetime import datetime

from chimera.store.postgres import Connection, Pool, fetch, fetch_one


@dataclass(frozen=True)
class Bound:
    """A subject of a provider, and the person of a tenant that it stands for."""

    issuer: str
    subject: str
    tenant: str
    name: str
    bound_at: datetime


class IdentityStore:
    """Reads and writes the table ``account_identities``. It decides nothing: see ``Identities``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, issuer: str, subject: str) -> Bound | None:
        """Whom a subject stands for."""
        query = "SELECT * FROM account_identities WHERE (issuer, subject) = (%s, %s)"
        row = await fetch_one(self._pool, query, (issuer, subject))
        return Bound(**row) if row else None

    async def names(self, tenant: str) -> set[str]:
        """Who in a tenant is bound to a subject."""
        rows = await fetch(self._pool, "SELECT name FROM account_identities WHERE tenant = %s", (tenant,))
        return {row["name"] for row in rows}

    async def bind(self, connection: Connection, bound: Bound) -> bool:
        """Write it down in a transaction; False when the subject, or the person at that provider, is bound already."""
        cursor = await connection.execute(
            "INSERT INTO account_identities (issuer, subject, tenant, name, bound_at) VALUES (%s, %s, %s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            (bound.issuer, bound.subject, bound.tenant, bound.name, bound.bound_at),
        )
        return cursor.rowcount == 1

    async def unbind(self, connection: Connection, tenant: str, name: str) -> int:
        """Forget in a transaction who somebody is at providers; how many there were."""
        cursor = await connection.execute(
            "DELETE FROM account_identities WHERE (tenant, name) = (%s, %s)", (tenant, name)
        )
        return cursor.rowcount
