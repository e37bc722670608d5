"""Of structured data, what has a closed type: by the tool's own output schema, and by what the operator declared.

No model is asked for this. A field that nobody declared is left out with its name, as a name can be a sentence too; the
texts that are left out are read by the extractor like any other text.
"""

import json
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, cast

from chimera.core.forms import plain_form
from chimera.guards.extraction.forms import (
    OPTION_MAX,
    OPTIONS_MAX,
    Account,
    Address,
    Amount,
    Date,
    Form,
    Link,
    Moment,
    Value,
    plain_number,
)
from chimera.guards.extraction.source import Source

ITEMS_MAX = 200
DEPTH_MAX = 12
STRING_MAX = 400
_WHOLE: tuple[Form, ...] = (Date(), Moment(), Amount(), Account(), Address(), Link())
_DIGEST = re.compile(r"[0-9a-f]{32,64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Declared:
    """What is known of the fields of a result.

    ``schema``: the tool's output schema. ``fields``: forms by name, as the operator declared them. ``ids``: the ids of
    the evidence, which may be cited.
    """

    schema: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fields: Mapping[str, Form | None] = field(default_factory=dict[str, Form | None])
    ids: Set[str] = frozenset()


@dataclass
class Projection:
    """What passes of some data, and the texts that do not."""

    data: Any = None
    texts: list[str] = field(default_factory=list[str])


def project(data: Any, declared: Declared, at: Sequence[str | int] = ()) -> Projection:
    """Take the typed fields of plain data, or of a part of it that stands in a place; linear in its size."""
    found, form = Projection(), cast("Any", declared.schema)
    for step in at:
        known = plain_form(form, declared.schema).get("items" if isinstance(step, int) else "properties")
        form = known if isinstance(step, int) or not isinstance(known, Mapping) else known.get(step)
    own = next((declared.fields.get(step) for step in reversed(at) if isinstance(step, str)), None)
    found.data = _part(data, form, own, declared, found.texts, DEPTH_MAX)
    return found


def _part(value: Any, form: Any, own: Form | None, declared: Declared, texts: list[str], depth: int) -> Any:
    if depth <= 0:
        texts.append(_written(value))
        return None
    if isinstance(value, Mapping):
        return _object(cast("Mapping[Any, Any]", value), form, declared, texts, depth)
    if isinstance(value, list):
        items = plain_form(form, declared.schema).get("items", {})
        listed = cast("list[Any]", value)
        texts.extend(_written(item) for item in listed[ITEMS_MAX:])
        parts = (_part(item, items, own, declared, texts, depth - 1) for item in listed[:ITEMS_MAX])
        return [part for part in parts if not _is_nothing(part)]
    if isinstance(value, str):
        found = _string(value, form, own, declared)
        if found is None:
            texts.append(value)
        return found
    return plain_number(value)


def _object(value: Mapping[Any, Any], form: Any, declared: Declared, texts: list[str], depth: int) -> dict[str, Any]:
    known: Any = plain_form(form, declared.schema).get("properties", {})
    forms = cast("Mapping[str, Any]", known) if isinstance(known, Mapping) else {}
    found: dict[str, Any] = {}
    for name, item in value.items():
        if name not in forms and name not in declared.fields:
            texts.append(f"{name}: {_written(item)}")
            continue
        part = _part(item, forms.get(name, {}), declared.fields.get(name), declared, texts, depth - 1)
        if not _is_nothing(part):
            found[name] = part
    return found


def _is_nothing(part: Any) -> bool:
    return part is None or part in ({}, [])


def _string(value: str, form: Any, own: Form | None, declared: Declared) -> Value | None:
    """The value of a string that is one as a whole: an option, an id of evidence, a digest, a date, an address ..."""
    if value in declared.ids or _DIGEST.fullmatch(value):
        return value
    if len(value) > STRING_MAX:
        return None
    options: Any = plain_form(form, declared.schema).get("enum")
    if isinstance(options, list) and len(cast("list[Any]", options)) <= OPTIONS_MAX and value in options:
        return value if len(value) <= OPTION_MAX else None
    source = Source(value)
    forms = (own, *_WHOLE) if own else _WHOLE
    return next((read for one in forms if (read := one.read(value, source)) is not None), None)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
