"""Passwords, sessions and invitations of people, as they are kept: digests, and nothing that opens a door."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from chimera.store.postgres import Connection, Pool, fetch, fetch_one
from chimera.store.values import as_stored


@dataclass(frozen=True)
class Account:
    """Somebody who has a password. ``password``: its argon2 hash. ``closed_till``: no try counts before."""

    tenant: str
    name: str
    password: str
    failures: int
    closed_till: datetime | None


@dataclass(frozen=True)
class Session:
    """Somebody who is logged in."""

    tenant: str
    name: str
    began_at: datetime
    seen_at: datetime


class AccountStore:
    """Reads and writes the tables of accounts. It decides nothing: see ``Accounts``."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, tenant: str, name: str) -> Account | None:
        """The account of that very name."""
        if [as_stored(tenant), as_stored(name)] != [tenant, name]:
            return None
        row = await fetch_one(
            self._pool,
            "SELECT tenant, name, password, failures, closed_till FROM accounts WHERE (tenant, name) = (%s, %s)",
            (tenant, name),
        )
        return Account(**row) if row else None

    async def any(self) -> bool:
        """Whether anybody has a password."""
        return await fetch_one(self._pool, "SELECT 1 AS found FROM accounts LIMIT 1", ()) is not None

    async def failed(self, tenant: str, name: str, closed: list[timedelta], now: datetime) -> int:
        """Count a wrong password; ``closed``: how long the door is shut after the first failure, the second, ..."""
        row = await fetch_one(
            self._pool,
            "UPDATE accounts SET failures = failures + 1, closed_till = %s + "
            "(%s::interval[])[least(failures + 1, %s)] WHERE (tenant, name) = (%s, %s) RETURNING failures",
            (now, closed, len(closed), tenant, name),
        )
        return int(row["failures"]) if row else 0

    async def began(self, connection: Connection, digest: bytes, tenant: str, name: str, now: datetime) -> None:
        """Write a session in a transaction, and forget the failures before it."""
        await connection.execute(
            "UPDATE accounts SET failures = 0, closed_till = NULL WHERE (tenant, name) = (%s, %s)", (tenant, name)
        )
        await connection.execute(
            "INSERT INTO account_sessions (digest, tenant, name, began_at, seen_at) VALUES (%s, %s, %s, %s, %s)",
            (digest, tenant, name, now, now),
        )

    async def session(self, digest: bytes, since: datetime, seen_since: datetime, now: datetime) -> Session | None:
        """The session with that digest if it began and was seen late enough; it is seen now, to the minute."""
        row = await fetch_one(
            self._pool,
            "SELECT tenant, name, began_at, seen_at FROM account_sessions WHERE digest = %s AND began_at > %s "
            "AND seen_at > %s",
            (digest, since, seen_since),
        )
        if row is None:
            return None
        if now - row["seen_at"] > timedelta(minutes=1):
            await fetch(self._pool, "UPDATE account_sessions SET seen_at = %s WHERE digest = %s", (now, digest))
        return Session(**row)

    async def end(self, connection: Connection, digest: bytes) -> Session | None:
        """End a session in a transaction."""
        cursor = await connection.execute(
            "DELETE FROM account_sessions WHERE digest = %s RETURNING tenant, name, began_at, seen_at", (digest,)
        )
        row = await cursor.fetchone()
        return Session(**row) if row else None

    async def end_all(self, connection: Connection, tenant: str, name: str) -> int:
        """End all sessions of somebody in a transaction."""
        cursor = await connection.execute(
            "DELETE FROM account_sessions WHERE (tenant, name) = (%s, %s)", (tenant, name)
        )
        return cursor.rowcount

    async def forget(self, connection: Connection, tenant: str, name: str) -> None:
        """Delete in a transaction all that somebody logs in with."""
        for table in ("account_sessions", "account_invitations", "accounts"):
            await connection.execute(
                f"DELETE FROM {table} WHERE (tenant, name) = (%s, %s)".encode(),  # noqa: S608 - constants
                (tenant, name),
            )

    async def logins(self, tenant: str, since: datetime, seen_since: datetime) -> tuple[set[str], dict[str, int]]:
        """Who in a tenant has a password, and how many sessions each has that began and were seen late enough."""
        passwords = await fetch(self._pool, "SELECT name FROM accounts WHERE tenant = %s", (tenant,))
        sessions = await fetch(
            self._pool,
            "SELECT name, count(*) AS sessions FROM account_sessions WHERE tenant = %s AND began_at > %s "
            "AND seen_at > %s GROUP BY name",
            (tenant, since, seen_since),
        )
        return {row["name"] for row in passwords}, {row["name"]: row["sessions"] for row in sessions}

    async def invite(
        self, connection: Connection, digest: bytes, tenant: str, name: str, by: str, now: datetime, ends: datetime
    ) -> None:
        """Write an invitation in a transaction; those before it count no more."""
        await connection.execute("DELETE FROM account_invitations WHERE (tenant, name) = (%s, %s)", (tenant, name))
        await connection.execute(
            "INSERT INTO account_invitations (digest, tenant, name, made_at, made_by, ends_at) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            (digest, tenant, name, now, by, ends),
        )

    async def invited(self, digest: bytes, now: datetime) -> tuple[str, str] | None:
        """Tenant and name of whom an invitation is for, while it counts."""
        row = await fetch_one(
            self._pool,
            "SELECT tenant, name FROM account_invitations WHERE digest = %s AND ends_at > %s",
            (digest, now),
        )
        return (row["tenant"], row["name"]) if row else None

    async def redeem(
        self, connection: Connection, digest: bytes, password: str, now: datetime
    ) -> tuple[str, str] | None:
        """Use an invitation up in a transaction, and set the password; None when it does not count."""
        cursor = await connection.execute(
            "DELETE FROM account_invitations WHERE digest = %s AND ends_at > %s RETURNING tenant, name", (digest, now)
        )
        row = await cursor.fetchone()
        if row is None:
            return None
        await connection.execute(
            "INSERT INTO accounts (tenant, name, password, set_at) VALUES (%s, %s, %s, %s) ON CONFLICT (tenant, name) "
            "DO UPDATE SET password = excluded.password, set_at = excluded.set_at, failures = 0, closed_till = NULL",
            (row["tenant"], row["name"], password, now),
        )
        return row["tenant"], row["name"]
