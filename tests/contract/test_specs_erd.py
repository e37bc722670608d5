"""The ER diagram is the schema of the database.

Proves TR-20 against a migrated PostgreSQL, and that the comparison notices every kind of difference: each change that
is planted in a copy of the diagram, and a table that is planted in the catalogue.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest

from chimera.core import specs
from chimera.core.specs import Diagram
from chimera.store.migrate import migrate
from chimera.store.postgres import fetch, open_pool

Rows = list[dict[str, Any]]

COLUMNS = """
SELECT c.table_name, c.column_name, c.udt_name, c.is_nullable FROM information_schema.columns AS c
JOIN information_schema.tables AS t USING (table_schema, table_name)
WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE'
"""
KEYS = """
SELECT conrelid::regclass::text AS table_name, attname AS column_name, nullif(confrelid, 0)::regclass::text AS parent,
       CASE contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'FOREIGN KEY' END AS constraint_type
FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)
WHERE contype IN ('p', 'f') AND connamespace = current_schema()::regnamespace
"""


async def test_the_migrated_database_is_the_diagram(empty_database_url: str) -> None:
    """Proves TR-22 in part: a second migration finds nothing to do."""
    async with open_pool(empty_database_url, size=2) as pool:
        assert await migrate(pool) != []
        assert await migrate(pool) == []
        columns, keys = await fetch(pool, COLUMNS), await fetch(pool, KEYS)
    assert len(columns) > 50
    assert specs.erd().differences(columns, keys) == []


def catalogue(diagram: Diagram) -> tuple[Rows, Rows]:
    """The rows that a database made after the diagram has."""
    columns: Rows = []
    keys: Rows = []
    for table, entity in diagram.entities.items():
        for name, column in entity.columns.items():
            nullable = "YES" if column.nullable else "NO"
            columns.append({"table_name": table, "column_name": name, "udt_name": column.type, "is_nullable": nullable})
        parents = [parent for parent, child in diagram.relations if child == table]
        for kind, names in (("PRIMARY KEY", entity.primary), ("FOREIGN KEY", entity.foreign)):
            keys += [
                {
                    "table_name": table,
                    "column_name": name,
                    "constraint_type": kind,
                    "parent": parents[place % len(parents)] if parents else None,
                }
                for place, name in enumerate(sorted(names))
            ]
    return columns, keys


def test_a_database_made_after_the_diagram_has_no_difference() -> None:
    assert specs.erd().differences(*catalogue(specs.erd())) == []


def test_the_diagram_has_what_langgraph_needs_and_what_chimera_needs() -> None:
    tables = specs.erd().entities.keys()
    assert {"missions", "tasks", "reviews", "audit_events", "usage", "migrations"} <= tables
    assert {"checkpoints", "checkpoint_blobs", "checkpoint_writes", "checkpoint_migrations"} <= tables


MUTATIONS = {
    "a column gone": ("    text goal\n", "", "column missions.goal: missing in the diagram, text in the database"),
    "a column more": ("    text goal\n", "    text goal\n    text mood\n", "column missions.mood: text in the diagram"),
    "a column renamed": ("text goal\n", "text aim\n", "column missions.aim"),
    "another type": (
        "bigint tokens_in",
        "integer tokens_in",
        "usage.tokens_in: int4 in the diagram, int8 in the database",
    ),
    "null allowed": (
        "jsonb plan\n",
        'jsonb plan "null"\n',
        "tasks.plan: jsonb null in the diagram, jsonb in the database",
    ),
    "null refused": ('jsonb verdict "null"', "jsonb verdict", "tasks.verdict: jsonb in the diagram, jsonb null"),
    "a key column gone": ("text team PK", "text team", "primary key of tasks"),
    "a key column more": ("integer attempt\n", "integer attempt PK\n", "primary key of tasks"),
    "a reference gone": (
        "uuid mission_id FK\n    text role",
        "uuid mission_id\n    text role",
        "foreign key columns of usage",
    ),
    "a relation gone": ('  missions ||--o{ usage : "costs"\n', "", "relation missions to usage: not in the diagram"),
    "a relation more": ("  migrations {", "  missions ||--o{ migrations : x\n  migrations {", "not in the database"),
    "a table renamed": ("  audit_heads {", "  audit_tops {", "table audit_tops: not in the database"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_one_change_in_the_diagram_is_noticed(name: str, tmp_path: Path) -> None:
    old, new, complaint = MUTATIONS[name]
    root = Path(shutil.copytree(specs.specs_root(), tmp_path / "specs"))
    before, _, after = (root / "technical.md").read_text("utf-8").partition("```mermaid erDiagram")
    assert old in after, "the mutation has nothing to change: adapt it to the diagram"
    (root / "technical.md").write_text(f"{before}```mermaid erDiagram{after.replace(old, new, 1)}", "utf-8")
    found = specs.erd(root).differences(*catalogue(specs.erd()))
    assert any(complaint in line for line in found), found


def test_a_table_that_only_the_database_has_is_noticed() -> None:
    columns, keys = catalogue(specs.erd())
    columns.append({"table_name": "notes", "column_name": "id", "udt_name": "uuid", "is_nullable": "NO"})
    assert specs.erd().differences(columns, keys) == ["table notes: not in the diagram"]
