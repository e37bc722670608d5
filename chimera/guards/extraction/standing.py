"""Typed values as a model is shown them: what stands in which text, and in which piece of evidence."""

import json
import re
from collections.abc import Sequence
from typing import Any, cast

from chimera.core.contracts import Evidence
from chimera.core.state import Plain
from chimera.guards.extraction.extracted import Extracted
from chimera.guards.extraction.schema import OF_TEXT, checked
from chimera.guards.extraction.source import Source
from chimera.guards.extraction.view import VIEW_BYTES
from chimera.guards.provenance.labels import Level

_DIGEST = re.compile(r"[0-9a-f]{64}")


def standing_in(text: str, found: Extracted) -> list[Plain]:
    """The values that stand in a text."""
    forms, source = checked(OF_TEXT), Source(text)
    return [
        {"kind": one.kind, "value": one.value}
        for one in found.values
        if forms[one.field].form.read(one.value, source) is not None
    ]


def records(text: str, found: Extracted, evidence: Sequence[Evidence]) -> list[Plain]:
    """The values that stand in a text, each with the first piece of evidence that it stands in too."""
    forms = checked(OF_TEXT)
    own = Source(text)
    sources = [(piece.id, Source(piece.text)) for piece in evidence]
    return [
        {"kind": one.kind, "value": one.value, "evidence": cited[:1]}
        for one in found.values
        if forms[one.field].form.read(one.value, own) is not None
        for cited in [[name for name, source in sources if forms[one.field].form.read(one.value, source) is not None]]
    ]


def lines(found: Sequence[Plain]) -> list[str]:
    """One line for each value, with what it cites."""
    return [f"- {one['kind']}: {one['value']}{''.join(f' [{name}]' for name in one['evidence'])}" for one in found]


def whole_view(data: Any, level: Level, found: Extracted, listed: list[Plain], evidence: Sequence[Evidence]) -> Plain:
    """Typed fields, the values that were read from texts, and ids; nothing of a text."""
    fields = cast("Plain", data) if isinstance(data, dict) else {"records": data} if data else {}
    view: Plain = {
        "read_by": found.by,
        "dropped": found.dropped,
        "labels": {"data": level.name.lower(), "found": Level.UNTRUSTED.name.lower()},
        "data": {**fields, "found": listed},
        "text": "",
        "evidence": [{"id": piece.id} for piece in evidence],
    }
    if len(json.dumps(view, ensure_ascii=False)) > VIEW_BYTES:
        view["data"] = {"found": listed}
    return view


def digest_of(piece: Evidence) -> str:
    """The digest of a piece, if it is one."""
    return piece.sha256 if _DIGEST.fullmatch(piece.sha256) else ""
