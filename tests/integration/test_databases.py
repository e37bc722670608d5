"""The tests' own databases: what one test did in its database, the next one does not find."""

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from chimera.store.embedded import Endpoints

if TYPE_CHECKING:
    from tests.conftest import Databases  # noqa: TID251 - its type alone

Rows = dict[str, list[tuple[Any, ...]]]


def connected(endpoints: Endpoints, name: str, user: str = "postgres") -> "psycopg.Connection[Any]":
    """By default as the superuser, who may look at everything, and whose connections nobody else can end."""
    url = make_conninfo(endpoints.database_url, dbname=name, user=user)
    return psycopg.connect(url, autocommit=True)


def content(connection: "psycopg.Connection[Any]") -> Rows:
    """All rows of all tables, and where each sequence is."""
    query = "SELECT oid::regclass::text FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'S') ORDER BY 1"
    names = [name for (name,) in connection.execute(query.encode())]
    assert len(names) > 40
    return {
        name: sorted(connection.execute(f"SELECT * FROM {name}".encode()).fetchall(), key=str)
        for name in names
        if not name.endswith("_seq")
    } | {
        name: connection.execute(f"SELECT last_value, is_called FROM {name}".encode()).fetchall()
        for name in names
        if name.endswith("_seq")
    }


def test_a_database_is_as_it_was_whatever_was_written_into_it(databases: "Databases", endpoints: Endpoints) -> None:
    """Rows that no statement may delete as well, sequences, and rows that were there and are gone."""
    name = databases.take()
    with connected(endpoints, name) as connection:
        before = content(connection)
        oid = connection.execute("SELECT oid FROM pg_database WHERE datname = %s", (name,)).fetchone()
        connection.execute("INSERT INTO audit_heads VALUES ('somebody', 7, 'hash')")
        connection.execute("INSERT INTO assets (id, symbol, decimals) VALUES ('iso4217:EUR', 'EUR', 6)")
        connection.execute("UPDATE pools SET concurrency = 3")
        connection.execute("DELETE FROM migrations WHERE version = 1")
        (sequence,) = [one for one in before if one.endswith("seq") and "runs" in one]
        for _ in range(5):
            connection.execute("SELECT nextval(%s)", (sequence,))
        assert content(connection) != before
    with connected(endpoints, name, "chimera") as left_over:
        databases.give_back(name)
        with pytest.raises(psycopg.OperationalError):
            left_over.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        connected(endpoints, name, "chimera")
    again = databases.take()
    with connected(endpoints, again) as connection:
        found = connection.execute("SELECT oid FROM pg_database WHERE datname = %s", (again,)).fetchone()
        assert (again != name, found, content(connection)) == (True, oid, before)
    databases.give_back(again)


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE left_over (n int)",
        "ALTER TABLE pools ADD COLUMN left_over int",
        "ALTER TABLE journal DISABLE TRIGGER journal_append_only",
        "CREATE OR REPLACE FUNCTION left_over() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE missions ADD CONSTRAINT left_over CHECK (true)",
        "DROP INDEX {index}",
        "GRANT SELECT ON missions TO PUBLIC",
        "ALTER DATABASE {name} SET statement_timeout = 1000",
    ],
)
def test_a_database_whose_schema_was_changed_is_not_used_again(
    databases: "Databases", endpoints: Endpoints, change: str
) -> None:
    name = databases.take()
    with connected(endpoints, name) as connection:
        (oid,) = connection.execute("SELECT oid FROM pg_database WHERE datname = %s", (name,)).fetchone() or (0,)
        query = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'runs'::regclass AND NOT indisunique"
        (index, *_) = connection.execute(query.encode()).fetchone() or ("none",)
        connection.execute(change.format(name=name, index=index).encode())
    databases.give_back(name)
    with connected(endpoints, "postgres") as connection:
        assert connection.execute("SELECT 1 FROM pg_database WHERE oid = %s", (oid,)).fetchall() == []
