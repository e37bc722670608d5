"""The ER diagram of the specifications, and how it differs from a database.

Mermaid's syntax, one attribute a line: ``type name [PK] [, FK] ["null"]``. A column without ``"null"`` is NOT NULL. A
line ``missions ||--o{ tasks : has`` is a foreign key of ``tasks`` to ``missions``.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from chimera.core.errors import SpecError
from chimera.core.specs.fences import Block, blocks, spec_files

TYPES = {"boolean": "bool", "integer": "int4", "bigint": "int8", "double": "float8"}
"""Names used in the diagram, as PostgreSQL's catalogue calls them; other types have one name."""

_ENTITY = re.compile(r"(\w+)\s*\{")
_ATTRIBUTE = re.compile(r"(?P<type>\w+) (?P<name>\w+)(?: (?P<keys>(?:PK|FK)(?:, (?:PK|FK))*))?(?: \"(?P<note>null)\")?")
_RELATION = re.compile(r"(\w+) [|}][|o](?:--|\.\.)[|o][|{] (\w+) : \S.*")


class Column(NamedTuple):
    """A column, as ``information_schema.columns`` describes it: ``type`` is the ``udt_name``."""

    type: str
    nullable: bool


@dataclass
class Entity:
    """One table: its columns, the columns of its primary key, and its columns that refer to other tables."""

    columns: dict[str, Column] = field(default_factory=dict[str, Column])
    primary: set[str] = field(default_factory=set[str])
    foreign: set[str] = field(default_factory=set[str])


@dataclass
class Diagram:
    """All tables by name, and the pairs (parent, child) that a foreign key joins."""

    entities: dict[str, Entity] = field(default_factory=dict[str, Entity])
    relations: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def differences(self, columns: Iterable[Mapping[str, object]], keys: Iterable[Mapping[str, object]]) -> list[str]:
        """How a database differs from this diagram, one line per difference; empty when they agree.

        Args:
            columns: rows of ``information_schema.columns`` (table_name, column_name, udt_name, is_nullable).
            keys: one row per key column (table_name, column_name, constraint_type, and parent: the table that a foreign
                key refers to).
        """
        return _differences(self, _from_catalogue(columns, keys))


def erd(root: Path | None = None) -> Diagram:
    """The ER diagram, merged from all its fences.

    Raises:
        SpecError: there is none, a line is malformed, or a table or column stands twice.
    """
    diagram = Diagram()
    found = [block for path in spec_files(root) for block in blocks(path) if block.kind == "erDiagram"]
    if not found:
        raise SpecError("the specifications have no ER diagram")
    for block in found:
        _read(block, diagram)
    for parent, child in diagram.relations:
        for name in (parent, child):
            if name not in diagram.entities:
                found[0].fail(f"a relation names an unknown table {name}")
    return diagram


def _read(block: Block, diagram: Diagram) -> None:
    current: Entity | None = None
    for offset, raw in enumerate(block.body.splitlines(), start=1):
        line = raw.strip()
        if not line or line == "erDiagram" or line.startswith("%%"):
            continue
        if current is not None:
            if line == "}":
                current = None
            else:
                _read_attribute(block, current, line, offset)
        elif entity := _ENTITY.fullmatch(line):
            if entity[1] in diagram.entities:
                block.fail(f"the table {entity[1]} stands twice", offset=offset)
            current = diagram.entities[entity[1]] = Entity()
        elif relation := _RELATION.fullmatch(line):
            diagram.relations.add((relation[1], relation[2]))
        else:
            block.fail(f"neither a table nor a relation: {line}", offset=offset)
    if current is not None:
        block.fail("a table is not closed")


def _read_attribute(block: Block, entity: Entity, line: str, offset: int) -> None:
    match = _ATTRIBUTE.fullmatch(" ".join(line.split()))
    if match is None:
        block.fail(f"not a column: {line}", offset=offset)
    if match["name"] in entity.columns:
        block.fail(f"the column {match['name']} stands twice", offset=offset)
    entity.columns[match["name"]] = Column(TYPES.get(match["type"], match["type"]), match["note"] == "null")
    for key in (match["keys"] or "").split(", "):
        if key:
            (entity.primary if key == "PK" else entity.foreign).add(match["name"])


def _from_catalogue(columns: Iterable[Mapping[str, object]], keys: Iterable[Mapping[str, object]]) -> Diagram:
    diagram = Diagram()
    for row in columns:
        entity = diagram.entities.setdefault(str(row["table_name"]), Entity())
        entity.columns[str(row["column_name"])] = Column(str(row["udt_name"]), row["is_nullable"] == "YES")
    for row in keys:
        table, column = str(row["table_name"]), str(row["column_name"])
        if row["constraint_type"] == "PRIMARY KEY":
            diagram.entities[table].primary.add(column)
        elif row["constraint_type"] == "FOREIGN KEY":
            diagram.entities[table].foreign.add(column)
            diagram.relations.add((str(row["parent"]), table))
    return diagram


def _differences(spec: Diagram, database: Diagram) -> list[str]:
    found = [f"table {name}: not in the database" for name in sorted(spec.entities.keys() - database.entities.keys())]
    found += [f"table {name}: not in the diagram" for name in sorted(database.entities.keys() - spec.entities.keys())]
    for name in sorted(spec.entities.keys() & database.entities.keys()):
        found += _table_differences(name, spec.entities[name], database.entities[name])
    for parent, child in sorted(spec.relations ^ database.relations):
        where = "the database" if (parent, child) in spec.relations else "the diagram"
        found.append(f"relation {parent} to {child}: not in {where}")
    return found


def _table_differences(table: str, spec: Entity, database: Entity) -> list[str]:
    found: list[str] = []
    for name in sorted(spec.columns.keys() | database.columns.keys()):
        ours, theirs = spec.columns.get(name), database.columns.get(name)
        if ours != theirs:
            found.append(f"column {table}.{name}: {_shown(ours)} in the diagram, {_shown(theirs)} in the database")
    for kind, ours, theirs in (
        ("primary key", spec.primary, database.primary),
        ("foreign key columns", spec.foreign, database.foreign),
    ):
        if ours != theirs:
            found.append(f"{kind} of {table}: {sorted(ours)} in the diagram, {sorted(theirs)} in the database")
    return found


def _shown(column: Column | None) -> str:
    return "missing" if column is None else column.type + (" null" if column.nullable else "")
