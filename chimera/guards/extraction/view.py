"""What a model is shown of a tool result: data before text, evidence as ids with text, cut to a bounded size."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from chimera.core.contracts import Evidence
from chimera.core.state import Plain
from chimera.tools.capability import ToolResult

VIEW_BYTES = 40_000
"""How much of a tool result a model is shown; the whole one stays with the judge and the artifacts."""


def view_of(result: ToolResult) -> Plain:
    """A result as it is."""
    data = data_of(result)
    return bounded(data, result.text, [piece_of(item) for item in result.evidence])


def data_of(result: ToolResult) -> Plain | None:
    """The structured data of a result without its evidence, which is shown by itself; None where there is none."""
    data = {key: value for key, value in (result.data or {}).items() if key != "evidence"}
    return data or None


def piece_of(item: Evidence) -> Plain:
    """A piece of evidence as a model sees it."""
    return {"id": item.id, "text": item.text, "source": item.source}


def bounded(data: Plain | None, text: str, evidence: Sequence[Mapping[str, Any]], **more: Any) -> Plain:
    """A view of data, else of the text, with as much of the evidence as there is room for."""
    view: Plain = {**more, "data": data, "text": "" if data else text, "evidence": []}
    room = VIEW_BYTES - _size(view)
    if room < 0:
        written = json.dumps(data, ensure_ascii=False) if more else text or json.dumps(data)
        view |= {"data": None, "text": written[: VIEW_BYTES // 2]}
        room = VIEW_BYTES - _size(view)
    for item in evidence:
        room -= _size(item) + 2
        if room < 0:
            break
        view["evidence"].append(dict(item))
    return view


def _size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False))
