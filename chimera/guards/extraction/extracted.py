"""What comes out of a text: the entries that fit the schema, and how many did not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from chimera.guards.extraction.forms import Value
from chimera.guards.extraction.schema import Several
from chimera.guards.extraction.source import Source
from chimera.guards.provenance.labels import Label, Level, Origin

FOUND_MAX = 500
"""Entries of an answer that are looked at."""
SAID_MAX = 400
"""Characters of a value; a longer one fits no form."""


@dataclass(frozen=True)
class Typed:
    """One value with its label: it comes from a text that nobody vouches for, and decides nothing by itself."""

    field: str
    kind: str
    value: Value
    label: Label


@dataclass(frozen=True)
class Extracted:
    """What came out of a text. ``dropped``: how much did not fit. ``by``: ``model`` or ``rules``."""

    values: tuple[Typed, ...] = ()
    dropped: int = 0
    by: str = "rules"

    def every(self, name: str) -> list[Value]:
        """All values of a field, in the order in which they were found."""
        return [one.value for one in self.values if one.field == name]

    def one(self, name: str) -> Value | None:
        """The first value of a field, if there is any."""
        return next(iter(self.every(name)), None)


def fitting(
    entries: Sequence[Any], wanted: Mapping[str, Several], source: Source, origin: Origin, by: str
) -> Extracted:
    """The entries that are a field and a value of its form: each value once, and no more of a field than wanted.

    ``entries`` is what a model said, or what rules found: anything at all, looked at piece by piece.
    """
    values: list[Typed] = []
    counts = dict.fromkeys(wanted, 0)
    seen: set[tuple[str, Value]] = set()
    dropped = max(len(entries) - FOUND_MAX, 0)
    for entry in entries[:FOUND_MAX]:
        name, value = _read(entry, wanted, source)
        if value is not None and (name, value) in seen:
            continue
        if value is None or counts[name] >= wanted[name].most:
            dropped += 1
        else:
            seen.add((name, value))
            counts[name] += 1
            kind = wanted[name].form.kind
            label = Label(
                Level.UNTRUSTED, Origin(origin.principal, origin.tool, origin.server, origin.peer, name), kind
            )
            values.append(Typed(name, kind, value, label))
    return Extracted(tuple(values), dropped, by)


def _read(entry: object, wanted: Mapping[str, Several], source: Source) -> tuple[str, Value | None]:
    if not isinstance(entry, dict) or len(cast("dict[str, Any]", entry)) != 2:
        return "", None
    name, said = (cast("dict[str, Any]", entry).get(key) for key in ("field", "value"))
    if not isinstance(name, str) or name not in wanted or not isinstance(said, str | int | float):
        return "", None
    if isinstance(said, str) and len(said) > SAID_MAX:
        return "", None
    return name, wanted[name].form.read(said, source)
