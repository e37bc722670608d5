"""Acting as the role that owns the ledger: for what people change, and nothing that agents do.

Connections of a running installation can read the ledger and call the functions of payments. What raises a budget or
adds an asset is granted to the owner alone, and is done in a transaction that becomes the owner on purpose. Where an
administrator has taken that membership away, it fails, and budgets are set from an installation that has it.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from psycopg import sql

from chimera.core.errors import GuardRejected
from chimera.store.postgres import Connection, Pool

_OWNER = """
    SELECT r.rolname AS owner, current_user AS me, pg_has_role(current_user, r.oid, 'MEMBER') AS member
    FROM pg_class AS c JOIN pg_roles AS r ON r.oid = c.relowner WHERE c.oid = to_regclass('journal')
"""


async def ledger_owner(connection: Connection) -> tuple[str, str]:
    """The role that owns the ledger, and the role that is connected; the same where there is no separation."""
    row = await (await connection.execute(_OWNER)).fetchone()
    if row is None:
        raise GuardRejected("the database has no ledger", remedy="Run `chimera migrate`.")
    if not row["member"]:
        raise GuardRejected(
            f"the database user {row['me']} may not change the ledger's budgets and assets",
            remedy=f"Do it with a database user that is a member of {row['owner']}.",
        )
    return str(row["owner"]), str(row["me"])


@asynccontextmanager
async def as_owner(pool: Pool) -> AsyncGenerator[tuple[Connection, str]]:
    """A transaction as the ledger's owner, and the name of the connected role, to go back to before other tables.

    Raises:
        GuardRejected: the connected role cannot become the owner. StoreError: nothing was changed.
    """
    async with pool.connection() as connection, connection.transaction():
        owner, me = await ledger_owner(connection)
        await become(connection, owner)
        yield connection, me


async def become(connection: Connection, role: str) -> None:
    """Be another role until the end of the transaction."""
    await connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
