"""What a tool said of itself when it was pinned, and what that means for what it says now. Pure.

A definition is what agents and guards go by: name, description, schemas and hints, as the mesh passes them on. Its pin
is the SHA-256 of its canonical JSON (sorted keys, no spaces, UTF-8).
"""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, cast

from chimera.core.ids import digest
from chimera.store.values import as_stored
from chimera.tools.capability import Capability

_SHOWN, _CONTEXT = 4_000, 60


def definition(tool: Capability) -> dict[str, Any]:
    """What is pinned of a tool."""
    found: dict[str, Any] = {
        "name": tool.tool,
        "description": tool.description,
        "input_schema": tool.input_schema,
        "output_schema": tool.output_schema,
        "annotations": {
            "read_only": tool.read_only,
            "idempotent": tool.idempotent,
            "destructive": tool.destructive,
        },
    }
    return as_stored(found)


def canonical(data: Any) -> str:
    """The one JSON text of plain data; 1.0 is 1, as it is in JSON Schema and after it was stored."""
    return json.dumps(_whole(data), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def fingerprint(defined: Mapping[str, Any]) -> str:
    """The pin of a definition: 64 hexadecimal digits."""
    return digest(canonical(defined))


def listing_digest(identity: str, version: str, defined: Mapping[str, Mapping[str, Any]]) -> str:
    """The fingerprint of all that one version of a server says."""
    return digest(canonical([identity, version, {name: fingerprint(found) for name, found in defined.items()}]))


class Kind(StrEnum):
    """What became of a tool since it was pinned."""

    CHANGED = "changed"
    RENAMED = "renamed"
    IMITATES = "imitates"
    ADDED = "added"
    GONE = "gone"


@dataclass(frozen=True)
class Change:
    """One difference. ``held``: the tool cannot be used before a human said yes."""

    kind: Kind
    tool: str
    held: bool
    said: str
    parts: Mapping[str, tuple[Any, Any]] = field(default_factory=dict[str, tuple[Any, Any]])

    def plain(self) -> dict[str, Any]:
        """The difference for a human: before and after."""
        parts = {name: _pair(old, new) for name, (old, new) in self.parts.items()}
        return {"kind": str(self.kind), "tool": self.tool, "held": self.held, "said": self.said, "parts": parts}


@dataclass(frozen=True)
class Comparison:
    """What is new and may be pinned as it is, and what differs."""

    first: bool
    unpinned: list[str]
    changes: list[Change]

    @property
    def held(self) -> dict[str, str]:
        """The tools that cannot be used, each with why."""
        return {change.tool: change.said for change in self.changes if change.held}


def compare(pinned: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]) -> Comparison:
    """Compare what a server says with what was pinned of it.

    Nothing pinned: all of it is new. Otherwise a tool passes as it was pinned, and a new one only if it reads, imitates
    no pinned one, and no pinned one is missing: a tool that comes while another goes may be that one under a new name.
    """
    if not pinned:
        return Comparison(first=True, unpinned=sorted(now), changes=[])
    gone = sorted(set(pinned) - set(now))
    folded = {_folded(name): name for name in pinned}
    contents = {_content(pinned[name]): name for name in gone}
    unpinned: list[str] = []
    changes = [Change(Kind.GONE, name, False, "it is no longer offered") for name in gone]
    for name in sorted(now):
        if name in pinned:
            if fingerprint(now[name]) != fingerprint(pinned[name]):
                changes.append(_changed(name, pinned[name], now[name]))
        elif (problem := _why_not(name, now[name], gone, folded, contents)) is not None:
            changes.append(problem)
        else:
            unpinned.append(name)
    return Comparison(first=False, unpinned=unpinned, changes=changes)


def _why_not(
    name: str, found: Mapping[str, Any], gone: Sequence[str], folded: Mapping[str, str], contents: Mapping[str, str]
) -> Change | None:
    """What keeps a tool that was never pinned from being pinned by itself."""
    parts = {"definition": (None, dict(found))}
    if (before := contents.get(_content(found))) is not None:
        return Change(Kind.RENAMED, name, True, f"it is {before} under another name", parts)
    if (like := folded.get(_folded(name))) is not None:
        return Change(Kind.IMITATES, name, True, f"its name imitates the pinned {like}", parts)
    if gone:
        return Change(Kind.RENAMED, name, True, f"it came while {', '.join(gone[:5])} went", parts)
    hints: Mapping[str, Any] = found["annotations"]
    if not hints["read_only"]:
        does = "may destroy" if hints["destructive"] else "writes"
        return Change(Kind.ADDED, name, True, f"it was added, and {does}", parts)
    return None


def _changed(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Change:
    parts = {key: (old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)}
    words = " and ".join(part.replace("_", " ") for part in parts)
    return Change(Kind.CHANGED, name, True, f"its {words} changed since it was pinned", parts)


def _content(found: Mapping[str, Any]) -> str:
    return canonical({key: value for key, value in found.items() if key != "name"})


def _whole(data: Any) -> Any:
    match data:
        case float() if data.is_integer():
            return int(data)
        case dict():
            return {key: _whole(value) for key, value in cast("dict[str, Any]", data).items()}
        case list():
            return [_whole(value) for value in cast("list[Any]", data)]
        case _:
            return data


def _folded(name: str) -> str:
    """What two names that people mistake for each other have in common."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    swapped = plain.translate(str.maketrans({"0": "o", "1": "l", "i": "l", "5": "s"}))
    return re.sub(r"[^0-9a-z]", "", swapped).removesuffix("s")


def _pair(old: Any, new: Any) -> dict[str, str | None]:
    """Both texts from shortly before they first differ, so that what is new is never what is cut off."""
    before, now = (
        None if value is None else value if isinstance(value, str) else canonical(value) for value in (old, new)
    )
    start = 0
    if before is not None and now is not None:
        same = next(
            (at for at, (a, b) in enumerate(zip(before, now, strict=False)) if a != b), min(len(before), len(now))
        )
        start = max(0, same - _CONTEXT)
    return {"before": _cut(before, start), "now": _cut(now, start)}


def _cut(text: str | None, start: int) -> str | None:
    if text is None:
        return None
    shown = text[start : start + _SHOWN]
    more = len(text) - start - len(shown)
    return f"{'…' if start else ''}{shown}{f' … ({more:,} characters more)' if more > 0 else ''}"
