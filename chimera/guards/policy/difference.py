"""What a policy would change, in plain words: what a human decides about when he is asked to approve one."""

from collections.abc import Mapping, Sequence
from typing import Any

from chimera.guards.policy.document import EdgePolicy, Policy

NOTHING = "only words: comments, order, or the title"
_MAX = 200
_VALUE = 80


def differences(before: Policy, after: Policy) -> dict[str, list[str]]:
    """By the place in the file, what ``after`` would change of ``before``; one entry ``text`` if nothing counts."""
    found: dict[str, list[str]] = {}
    for edge in sorted({*before.edges, *after.edges}):
        found[f"edges.{edge}"] = _of_edge(before.edges.get(edge), after.edges.get(edge))
    old, new = before.changes.model_dump(), after.changes.model_dump()
    found["changes"] = [_changed(name, old[name], new[name]) for name in old if old[name] != new[name]]
    found |= _of_tables("guards", before.guards, after.guards, "has no options of its own any more")
    found |= _of_tables("tools", before.tools, after.tools, "is no longer declared: it counts as unknown")
    told = {place: lines for place, lines in list(found.items())[:_MAX] if lines}
    return told or {"text": [NOTHING]}


def _of_edge(before: EdgePolicy | None, after: EdgePolicy | None) -> list[str]:
    if after is None:
        return ["has no guards any more: it rejects everything"] if before else []
    if before is None:
        return [f"gets its first guards: {', '.join(after.guards)}"]
    lines = [f"takes out {name}" for name in before.guards if name not in after.guards]
    lines += [f"adds {name} {_place(name, after.guards)}" for name in after.guards if name not in before.guards]
    kept_before = [name for name in before.guards if name in after.guards]
    kept_after = [name for name in after.guards if name in before.guards]
    if kept_before != kept_after:
        lines.append(f"asks in another order: {', '.join(after.guards)}")
    if before.deadline_s != after.deadline_s:
        lines.append(f"gives its guards {after.deadline_s:g} s together instead of {before.deadline_s:g} s")
    return lines


def _place(name: str, guards: Sequence[str]) -> str:
    place = guards.index(name)
    return "as the first" if place == 0 else f"after {guards[place - 1]}"


def _of_tables(
    name: str, before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]], gone: str
) -> dict[str, list[str]]:
    """What changes in tables of options, by their places."""
    found: dict[str, list[str]] = {}
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if old == new:
            continue
        if new is None:
            found[f"{name}.{key}"] = [gone]
            continue
        was = old or {}
        fields = [*was, *(other for other in new if other not in was)]
        found[f"{name}.{key}"] = [
            _changed(field, was.get(field), new.get(field)) for field in fields if was.get(field) != new.get(field)
        ]
    return found


def _changed(name: str, old: Any, new: Any) -> str:
    if old is None:
        return f"sets {name} to {_shown(new)}"
    return f"{name} is {_shown(new)} instead of {_shown(old)}" if new is not None else f"no longer sets {name}"


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _VALUE else f"{text[: _VALUE - 1]}…"
