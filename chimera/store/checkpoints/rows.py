"""What one put saves, as rows of LangGraph's tables, and the statements that write the rows of many puts at once.

Every statement may be repeated: whoever lost the connection while committing sends the same rows again. The shapes are
those of ``langgraph-checkpoint-postgres`` 3.2, whose own statements these are, but for the arrays.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

CHECKPOINTS_SQL = """
    INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata)
    SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[]::jsonb[], %b::text[]::jsonb[])
    ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id)
    DO UPDATE SET checkpoint = excluded.checkpoint, metadata = excluded.metadata
"""
BLOBS_SQL = """
    INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
    SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bytea[])
    ON CONFLICT (thread_id, checkpoint_ns, channel, version) DO NOTHING
"""
_WRITES_SQL = """
    INSERT INTO checkpoint_writes
        (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob)
    SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::int[], %b::text[], %b::text[],
        %b::bytea[])
    ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
"""
NEW_WRITES_SQL = _WRITES_SQL + "DO NOTHING"
WRITES_SQL = _WRITES_SQL + "DO UPDATE SET channel = excluded.channel, type = excluded.type, blob = excluded.blob"

CheckpointRow = tuple[str, str, str, str | None, str, str]
"""thread, namespace, id, parent's id, checkpoint and metadata as JSON."""
BlobRow = tuple[str, str, str, str, str, bytes | None]
"""thread, namespace, channel, version, type, bytes."""
WriteRow = tuple[str, str, str, str, str, int, str, str, bytes]
"""thread, namespace, checkpoint's id, task's id, task's path, index, channel, type, bytes."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What one put saves: committed as a whole or not at all.

    ``replaces``: its writes take the place of those that are there, as LangGraph wants it for errors and interrupts;
    else the first ones stay.
    """

    checkpoints: Sequence[CheckpointRow] = ()
    blobs: Sequence[BlobRow] = ()
    writes: Sequence[WriteRow] = ()
    replaces: bool = False

    @property
    def size(self) -> int:
        """Its bytes, roughly: what it takes of the room that waiting units have."""
        total = sum(len(row[4]) + len(row[5]) + 200 for row in self.checkpoints)
        total += sum(len(row[5] or b"") + 200 for row in self.blobs)
        return total + sum(len(row[8]) + 200 for row in self.writes)


def statements(units: Sequence[Unit]) -> Iterator[tuple[str, list[list[Any]]]]:
    """The statements that write the units, each with its arrays.

    Of two rows with one key there is one left: the one that would be there if they came one after the other.
    """
    blobs: dict[tuple[Any, ...], BlobRow] = {}
    for row in (row for unit in units for row in unit.blobs):
        blobs.setdefault(row[:4], row)
    checkpoints = {row[:3]: row for unit in units for row in unit.checkpoints}
    replacing: dict[tuple[Any, ...], WriteRow] = {}
    new: dict[tuple[Any, ...], WriteRow] = {}
    for unit in units:
        for row in unit.writes:
            key = (*row[:4], row[5])
            if unit.replaces:
                replacing[key] = row
            else:
                new.setdefault(key, row)
    # A write that may not replace comes first, as the rule is then the same in whichever order the two were sent.
    for query, rows in (
        (BLOBS_SQL, blobs.values()),
        (NEW_WRITES_SQL, new.values()),
        (WRITES_SQL, replacing.values()),
        (CHECKPOINTS_SQL, checkpoints.values()),
    ):
        if rows:
            yield query, _columns(rows)


def plain_json(value: Any) -> str:
    """JSON as the stock saver writes it."""
    return json.dumps(value)


def _columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
