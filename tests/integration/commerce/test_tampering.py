"""Who may change the books: the connected role may not, and what the owner of the tables changes is found.

Proves FR-613, FR-614 and FR-615.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from chimera.commerce.assets import AssetStore
from chimera.commerce.budgets import BudgetStore, Limit
from chimera.commerce.intents import IntentState
from chimera.commerce.reconcile import ChainTotal, reconcile
from chimera.commerce.verify import Checked, verify_ledger, verify_within
from chimera.core.clock import SystemClock
from chimera.core.errors import ChainMissing, GuardRejected, LedgerBroken
from chimera.store.audit import AuditLog
from chimera.store.embedded import Endpoints
from chimera.store.migrate import migrate
from chimera.store.postgres import Pool, connect, fetch, open_pool

if TYPE_CHECKING:
    from tests.integration.commerce.conftest import Books  # noqa: TID251 - its type alone

S = IntentState
PACKAGE = Path(__file__).resolve().parents[3] / "chimera"
FORBIDDEN = [
    "UPDATE budgets SET cap = cap * 2",
    "INSERT INTO budgets (tenant) VALUES ('x')",
    "UPDATE journal SET amount = 1",
    "DELETE FROM journal",
    "TRUNCATE journal",
    "INSERT INTO journal (tenant) VALUES ('x')",
    "UPDATE intents SET state = 'approved'",
    "UPDATE holds SET amount = 1",
    "DELETE FROM budget_spends",
    "INSERT INTO intent_transitions VALUES ('proposed', 'signed', false)",
    "INSERT INTO assets SELECT * FROM assets",
    "ALTER TABLE journal DISABLE TRIGGER ALL",
    "DROP TRIGGER journal_append_only ON journal",
    "CREATE OR REPLACE FUNCTION ledger_now() RETURNS timestamptz LANGUAGE sql AS 'SELECT now()'",
    "ALTER FUNCTION ledger_now() OWNER TO CURRENT_USER",
    "SELECT set_budget('default', 'tenant', '', 'iso4217:USD', 'total', 0, 1, false, 'agent')",
    "SELECT ledger_advance(ARRAY[1]::bigint[], now())",
    "SELECT ledger_enter('default', 'k', NULL, '', 'deposit', 'a', 'b', 'iso4217:USD', 1, now(), 'x')",
]


@pytest.mark.threat(43, 46)
@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_the_connected_role_changes_nothing_by_itself(books: "Books", statement: str) -> None:
    """Threats 43 and 46. Only the functions of payments write; budgets, caps and rows of the journal are not theirs."""
    await books.budget(1_000)
    async with books.pool.connection() as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(statement.encode())


CALLABLE = {
    *("propose_intent", "move_intent", "reserve_intents", "capture_intents", "release_intents", "refund_intent"),
    *("reap_intents", "record_deposit", "ledger_horizon", "seal_journal", "lock_intents"),
    *("ledger_now", "ledger_digest", "ledger_micros", "budget_begin"),
}


@pytest.mark.threat(46)
async def test_the_connected_role_may_call_the_functions_of_payments_and_no_others(books: "Books") -> None:
    """Threat 46. Of the owner's functions; the last four only compute."""
    rows = await fetch(
        books.pool,
        "SELECT p.proname AS name FROM pg_proc AS p JOIN pg_roles AS r ON r.oid = p.proowner "
        "WHERE r.rolname = 'chimera_ledger' AND has_function_privilege(p.oid, 'EXECUTE')",
    )
    assert {row["name"] for row in rows} == CALLABLE


CHANGES = {
    "an amount": "UPDATE journal SET amount = amount + 1 WHERE kind = 'capture'",
    "an account": "UPDATE journal SET debit = 'wallet:eve' WHERE kind = 'release'",
    "a row gone": "DELETE FROM journal WHERE kind = 'hold'",
    "the newest row gone": "DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal)",
    "a time": "UPDATE journal SET at = at - interval '1 day' WHERE kind = 'deposit'",
    "a payee": "UPDATE intents SET payee = 'eve'",
    "a cap of fees": "UPDATE intents SET fee_cap = fee_cap + 1",
    "a hold": "UPDATE holds SET captured = captured - 1 WHERE state = 'captured'",
    "a hold let go": "UPDATE holds SET state = 'released', settled_at = now() WHERE state = 'held'",
    "a budget": "UPDATE budgets SET posted = posted - 1, cap = 10000",
    "what is held": "UPDATE budgets SET held = 0",
    "a state": "UPDATE intents SET state = 'rejected' WHERE state = 'reserved'",
    "a seal": "UPDATE journal_seals SET entries = entries - 1",
    "a seal gone": "DELETE FROM journal_seals",
    "all rows of a payment": "DELETE FROM journal WHERE intent IS NULL",
}


@pytest.mark.threat(43)
async def test_what_the_owner_changes_behind_the_triggers_is_found(alone: "Books", database_url: str) -> None:
    """Threat 43. Rows are chained, sealed on the record, and compared with holds and budgets."""
    await alone.budget(1_000)
    await alone.ledger.deposit("default", "ann", alone.token.id, 700, "d1")
    paid = await alone.at(S.CONFIRMED, 100)
    await alone.ledger.capture(paid.id, 90)
    await alone.at(S.RESERVED, 50)
    assert await alone.ledger.seal("default") == 5
    assert await alone.ledger.seal("default") == 0
    before = await verify_ledger(alone.pool, "default")
    assert (before.faults, before.entries, before.intents, before.holds, before.unsealed) == ([], 5, 2, 2, 0)
    unseen: list[str] = []
    async with await connect(database_url) as owner:
        for what, change in CHANGES.items():
            await owner.execute("BEGIN")
            await owner.execute("SET LOCAL ROLE chimera_ledger")
            for table in ("journal", "intents", "journal_seals"):
                await owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER".encode())
            changed = await owner.execute(change.encode())
            assert changed.rowcount > 0, what
            await owner.execute("SET LOCAL ROLE chimera")
            if not (await verify_within(owner, "default")).faults:
                unseen.append(what)
            await owner.execute("ROLLBACK")
        assert (await verify_within(owner, "default")).faults == []
    assert unseen == []


@pytest.mark.threat(43)
async def test_the_newest_rows_cannot_be_cut_off_with_all_that_hangs_on_them(alone: "Books", database_url: str) -> None:
    """Threat 43. Whoever removes a payment with its holds, moves and head is betrayed by the seal on the record."""
    number = await alone.budget(1_000)
    await alone.at(S.CAPTURED, 100)
    last = await alone.at(S.CAPTURED, 50)
    await alone.ledger.seal("default")
    async with await connect(make_conninfo(database_url, options="-c role=chimera_ledger")) as owner:
        for table in ("journal", "intents", "journal_seals", "intent_moves", "holds"):
            await owner.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER".encode())
        for statement in (
            f"DELETE FROM journal WHERE intent = '{last.id}'",
            f"DELETE FROM intent_moves WHERE intent = '{last.id}'",
            f"DELETE FROM holds WHERE intent = '{last.id}'",
            f"DELETE FROM intents WHERE id = '{last.id}'",
            f"UPDATE budgets SET posted = posted - 50 WHERE id = {number}",
        ):
            await owner.execute(statement.encode())
    found = await verify_ledger(alone.pool, "default")
    assert [fault for fault in found.faults if "sealed" in fault] == found.faults != []


async def test_rows_that_are_written_while_it_is_sealed_are_in_it(alone: "Books", database_url: str) -> None:
    """Proves FR-615: no row slips in before a seal that has passed it."""
    await alone.budget(10_000)
    writer = await connect(database_url)
    try:
        await writer.execute("BEGIN")
        early = await alone.at(S.APPROVED, 10)
        reserve = "SELECT outcome FROM reserve_intents(ARRAY[%s]::uuid[], ARRAY[%s]::bytea[], ARRAY['{}'], 'x')"
        await writer.execute(reserve.encode(), (early.id, early.digest))
        sealing = asyncio.create_task(alone.ledger.seal("default"))
        done, _ = await asyncio.wait([sealing], timeout=0.3)
        assert not done, "it waits for whoever is writing"
        await writer.execute("COMMIT")
        assert await sealing == 1
    finally:
        await writer.close()
    await alone.at(S.RESERVED, 10)
    assert await alone.ledger.seal("default") == 1
    await alone.intact()


@pytest.fixture
def superuser(endpoints: Endpoints) -> Generator[psycopg.Connection]:
    """The administrator of the embedded server."""
    url = make_conninfo(endpoints.database_url, user="postgres", dbname="postgres")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def installed(superuser: psycopg.Connection, endpoints: Endpoints) -> Generator[Callable[[str], str]]:
    """Makes a role with options, and a database of its own; gives the URL. All of it is dropped afterwards."""
    made: list[str] = []

    def make(options: str) -> str:
        name = f"owner_{len(made)}"
        superuser.execute(f"CREATE ROLE {name} LOGIN {options}".encode())
        made.append(name)
        superuser.execute(f"CREATE DATABASE {name} OWNER {name}".encode())
        return make_conninfo(endpoints.database_url, user=name, dbname=name)

    yield make
    for name in made:
        superuser.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    for row in superuser.execute("SELECT rolname FROM pg_roles WHERE rolname ~ '^(owner|chimera_ledger)_'").fetchall():
        superuser.execute(f"DROP ROLE {row[0]}".encode())


OWNER = "SELECT relowner::regrole::text AS owner FROM pg_class WHERE oid = 'journal'::regclass"


@pytest.mark.parametrize(("options", "separate"), [("", False), ("CREATEROLE", True)])
async def test_where_no_role_may_be_made_the_ledger_works_without_one(
    installed: Callable[[str], str], new_books: "Callable[[Pool], Awaitable[Books]]", options: str, separate: bool
) -> None:
    """Proves FR-614: with a role of its own where the connected one may make it, else owned by the connected one."""
    async with open_pool(installed(options), 3) as pool:
        await migrate(pool)
        (row,) = await fetch(pool, OWNER)
        assert row["owner"].startswith("chimera_ledger_") is separate
        books = await new_books(pool)
        await books.budget(1_000)
        await books.at(S.CAPTURED)
        await books.ledger.seal("default")
        await books.intact()
        async with pool.connection() as connection:
            with pytest.raises(psycopg.Error) as refused:
                await connection.execute("UPDATE journal SET amount = 1")
        assert ("append-only" in str(refused.value)) is not separate


@pytest.mark.threat(46)
async def test_a_role_that_was_taken_out_of_the_owner_sets_no_budget(
    installed: Callable[[str], str], superuser: psycopg.Connection, new_books: "Callable[[Pool], Awaitable[Books]]"
) -> None:
    """Threat 46. An administrator who revokes the membership leaves payments working, and nobody connected a way up."""
    url = installed("CREATEROLE")
    async with open_pool(url, 3) as pool:
        await migrate(pool)
        books = await new_books(pool)
        await books.budget(1_000)
        (row,) = await fetch(pool, OWNER)
        superuser.execute(f"REVOKE {row['owner']} FROM owner_0 CASCADE".encode())
        superuser.execute(b"ALTER ROLE owner_0 NOCREATEROLE")
        with superuser.cursor() as cursor:
            grants = cursor.execute(
                "SELECT g.rolname FROM pg_auth_members AS m JOIN pg_roles AS g ON g.oid = m.grantor "
                "JOIN pg_roles AS r ON r.oid = m.roleid WHERE r.rolname = %s",
                (row["owner"],),
            ).fetchall()
        for (grantor,) in grants:
            superuser.execute(f"REVOKE {row['owner']} FROM owner_0 GRANTED BY {grantor}".encode())
    async with open_pool(url, 3) as pool:
        audit = AuditLog(pool, SystemClock())
        store = BudgetStore(pool, AssetStore(pool, audit), audit)
        with pytest.raises(GuardRejected, match="may not change"):
            await store.set(Limit("default", "tenant", "", books.token, 10**9), "eve")
        async with pool.connection() as connection:
            for statement in (f"SET ROLE {row['owner']}", f"GRANT {row['owner']} TO owner_0"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    await connection.execute(statement.encode())
        assert [budget.cap for budget in await store.listed("default")] == [1_000]


@pytest.mark.threat(46)
def test_only_the_command_of_people_imports_what_sets_budgets() -> None:
    """Threat 46. No module that agents run through reaches the owner of the ledger, or the store that sets budgets."""
    found: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for name in re.findall(r"\bchimera\.commerce\.(?:budgets|owner)\b", path.read_text("utf-8")):
            found.setdefault(name, set()).add(path.relative_to(PACKAGE).parts[0])
    assert found["chimera.commerce.owner"] == {"commerce"}
    assert found["chimera.commerce.budgets"] <= {"cli", "bench", "commerce"}
    writes = {path for path in PACKAGE.rglob("*.py") if re.search(r"\bPayeeBook\b", path.read_text("utf-8"))}
    assert {str(path.relative_to(PACKAGE)) for path in writes} == {
        "commerce/payees.py",
        "cli/commands/ledger_payees.py",
        "bench/commerce/scene.py",
        "commerce/local/setup.py",  # the one shop of the chain in this process, whose money is worth nothing
    }, "whoever is paid is set by the command of people"


class Chain:
    """A chain that says what it is told."""

    def __init__(self, *totals: ChainTotal) -> None:
        self._totals = totals

    async def totals(self, tenant: str) -> tuple[ChainTotal, ...]:
        """All of them."""
        return self._totals if tenant else ()


async def test_the_books_are_compared_with_the_chain(books: "Books") -> None:
    """Proves FR-618: what was captured and what left the wallets; payments under way explain a difference, no more."""
    with pytest.raises(ChainMissing):
        await reconcile(books.pool, None, books.tenant)
    await books.budget(1_000)
    await books.at(S.CAPTURED, 100)
    await books.at(S.BROADCAST, 30)
    await books.at(S.RESERVED, 500)

    async def compared(*spent: tuple[str, int]) -> dict[str, tuple[int, bool]]:
        chain = Chain(*(ChainTotal(wallet, books.token.id, units) for wallet, units in spent))
        found = await reconcile(books.pool, chain, books.tenant)
        return {one.wallet: (one.difference, one.agrees) for one in found}

    assert await compared(("ann", 100)) == {"ann": (0, True)}
    assert await compared(("ann", 60), ("ann", 70)) == {"ann": (30, True)}
    assert await compared(("ann", 131)) == {"ann": (31, False)}
    assert await compared(("ann", 99)) == {"ann": (-1, False)}
    assert await compared() == {"ann": (-100, False)}
    assert await compared(("ann", 100), ("eve", 1)) == {"ann": (0, True), "eve": (1, False)}


def test_what_is_wrong_is_told_with_its_number() -> None:
    found = Checked("default", faults=["first", "second"])
    with pytest.raises(LedgerBroken, match=r"first \(and 1 more\)"):
        found.require()
    assert not found.plain()["intact"]
