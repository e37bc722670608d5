"""What of a payload is read: its values without their names, both together, and once what it says twice."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from pydantic_core import from_json

from chimera.core.contracts import Evidence
from chimera.guards.request import GuardRequest
from chimera.tools.capability import ToolResult

_OURS = frozenset(
    {*ToolResult.model_fields, *Evidence.model_fields, "goal", "inputs", "persona", "constraints", "from"}
)
"""Names of our own, at whatever edge."""


def readings(request: GuardRequest) -> list[str]:
    """The values of a payload in a row, and in another one names and values in their order.

    A name between two values cannot part what they say together, and what names and values say together is seen as
    well. Names that the tool has declared, and our own, say nothing, so that most payloads have one reading. A text
    that is JSON is read as its values too.
    """
    schema = request.capability.output_schema if request.capability else None
    known = _OURS | _declared(_Same(schema)) if schema else _OURS
    values: list[str] = []
    whole: list[str] = []
    _read(_told_once(request.payload), known, values, whole)
    return [text for text in dict.fromkeys(("\n".join(values), "\n".join(whole))) if text.strip()]


def _read(value: Any, known: frozenset[str], values: list[str], whole: list[str]) -> None:
    if isinstance(value, str):
        inner = _from_json(value)
        if inner is None:
            values.append(value)
        else:
            _read(inner, known, values, [])
        whole.append(value)
    elif isinstance(value, (dict, Mapping)):
        for name, item in cast("Mapping[str, Any]", value).items():
            if name not in known:
                whole.append(name)
            _read(item, known, values, whole)
    elif isinstance(value, (list, tuple)):
        for item in cast("Sequence[Any]", value):
            _read(item, known, values, whole)


def _told_once(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool result without what it says again: its text is mostly its data as JSON, its evidence a part of either."""
    text, data, evidence = (payload.get(part) for part in ("text", "data", "evidence"))
    again: set[str] = set()
    if isinstance(text, str) and isinstance(data, dict) and data == _from_json(text):
        again.add("text")
    if evidence and (_is_start(evidence, text) or _is_marked(evidence, data)):
        again.add("evidence")
    return {name: part for name, part in payload.items() if name not in again} if again else payload


def _is_start(evidence: Any, text: Any) -> bool:
    """Whether the only piece is the text, or as much of it as a piece may have."""
    match evidence:
        case [{"text": str(piece)}]:
            return isinstance(text, str) and text.startswith(piece)
        case _:
            return False


def _is_marked(evidence: Any, data: Any) -> bool:
    """Whether the pieces are those that stand in the data."""
    match evidence, data:
        case list(), {"evidence": list()}:
            pieces, marked = cast("list[Any]", evidence), cast("list[Any]", data["evidence"])
        case _:
            return False
    return len(pieces) == len(marked) and all(
        isinstance(piece, dict) and isinstance(one, dict) and {**piece, **one} == piece
        for piece, one in zip(pieces, marked, strict=True)
    )


def _from_json(text: str) -> Any:
    """The data that a text is, if it is a list or an object as JSON."""
    if not text or text[0] not in "{[" or text[-1] not in "}]":
        return None
    try:
        return from_json(text)  # twice as fast
    except ValueError:
        pass
    try:
        return json.loads(text)  # takes more, such as half of a surrogate pair
    except (ValueError, RecursionError):
        return None


class _Same:
    """A schema, as the key of what is known about it: the very same object, and no copy of it."""

    def __init__(self, form: Any) -> None:
        self.form = form

    def __hash__(self) -> int:
        return id(self.form)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.form is other.form


@lru_cache(maxsize=1_000)
def _declared(schema: _Same) -> frozenset[str]:
    return frozenset(_names(schema.form))


def _names(form: Any) -> Iterator[str]:
    """The names of properties, each a single word: a sentence says something even where it is declared."""
    waiting = [form]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            named = cast("dict[str, Any]", part)
            properties = named.get("properties")
            if isinstance(properties, dict):
                yield from (name for name in cast("dict[str, Any]", properties) if len(name.split()) == 1)
            waiting += named.values()
        elif isinstance(part, list):
            waiting += cast("list[Any]", part)
