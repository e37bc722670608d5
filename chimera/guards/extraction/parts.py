"""A tool result as it is looked at: its records, what they are called, and which of their fields have a closed type."""

import json
from typing import Any, cast

from chimera.guards.extraction.projection import Declared, Projection, project
from chimera.guards.extraction.rows import Path
from chimera.guards.extraction.view import data_of, piece_of
from chimera.guards.provenance.manifest import Manifest, Shape
from chimera.guards.provenance.reading import read_result
from chimera.tools.capability import ToolResult


def parts_of(result: ToolResult) -> dict[str, Any]:
    """What is looked at of a result, record by record; a text of which nothing can be told apart has no data."""
    data = data_of(result)
    found = data if data is not None else readable(result.text)
    shown = {"records": found} if isinstance(found, list) else None if isinstance(found, str) else found
    return {"data": shown, "evidence": [piece_of(item) for item in result.evidence]}


def readable(text: str) -> Any:
    """The records that a text prints, as plain data; the text itself where it prints none."""
    found = read_result(text)
    return text if found is None else json.loads(json.dumps(found, default=str))


def projected(value: Any, path: Path, declared: Declared) -> Projection:
    """The typed fields of a record and the texts that are none. ``path`` leads through what :func:`parts_of` gives."""
    if path[0] == "data":
        return project(value, declared, path[1:])
    known = cast("dict[str, Any]", value)
    own = {"id": known["id"]} if known["id"] in declared.ids else {}
    return Projection(own, [known["text"]])


def declared_data(result: ToolResult, manifest: Manifest | None) -> Any:
    """The structured data of a result; of a text, only if the operator declared that it prints records."""
    if result.data is not None:
        return data_of(result) or {}
    return read_result(result.text) if manifest is not None and manifest.shape is Shape.RECORDS else None


def label_of(fields: Any, path: Path) -> str:
    """What a withheld record is called on the record: the id that it may be cited by, or its number."""
    known = cast("dict[str, Any]", fields) if isinstance(fields, dict) else {}
    cited = known.get("id") or known.get("evidence")
    first = cast("list[Any]", cited)[0] if isinstance(cited, list) and cited else cited
    return first if isinstance(first, str) else "#" + "/".join(str(step + 1) for step in path if isinstance(step, int))
