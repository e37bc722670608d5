"""Which tool of another server may stand in for one that cannot be reached."""

from collections.abc import Iterable, Mapping
from typing import Any

from chimera.core.usable import argument_problems
from chimera.tools.capability import Capability


def stand_in(wanted: Capability, arguments: Mapping[str, Any], offered: Iterable[Capability]) -> Capability | None:
    """The tool of the same name that takes these arguments and does no more than the wanted one; None: there is none.

    It needs nothing that callers of the wanted one do not give, changes nothing if that only reads, is repeatable if
    that is, and gives at least the fields that were promised.
    """
    for other in offered:
        needs = set(_list(other.input_schema, "required"))
        fits = (
            other.tool == wanted.tool
            and needs <= set(wanted.input_schema.get("properties") or {})
            and not argument_problems(other.input_schema, arguments)
            and (other.read_only or not wanted.read_only)
            and (other.idempotent or not wanted.idempotent)
            and (not other.destructive or wanted.destructive)
            and _promises(other) >= _promises(wanted)
        )
        if fits:
            return other
    return None


def _promises(tool: Capability) -> set[str]:
    return set(_list(tool.output_schema or {}, "required"))


def _list(schema: Mapping[str, Any], name: str) -> list[str]:
    found = schema.get(name)
    return [item for item in found if isinstance(item, str)] if isinstance(found, list) else []
