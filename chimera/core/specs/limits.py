"""Limits: what a figure of a benchmark, an evaluation or the settings has to keep.

Each line of a ``yaml slo`` fence is ``name: ["<=", 2000]``, which is YAML and can be read without a YAML parser. The
pair is the form of ``goals`` in a benchmark's output.
"""

import json
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chimera.core.specs.fences import Block, blocks, spec_files

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "==": operator.eq,
}
_LINE = re.compile(r"(?P<name>[a-z][a-z0-9_]*): (?P<pair>\[.*\])\s*(?:#.*)?")


@dataclass(frozen=True)
class Limit:
    """A bound on one figure."""

    op: str
    bound: float

    def holds(self, figure: float) -> bool:
        """Whether ``figure`` keeps the bound."""
        return _COMPARE[self.op](figure, self.bound)


def limits(root: Path | None = None) -> dict[str, dict[str, Limit]]:
    """All limits, by the id of their fence and the name of the figure.

    Raises:
        SpecError: a line is malformed, or a name or an id stands twice; with file and line.
    """
    found: dict[str, dict[str, Limit]] = {}
    for path in spec_files(root):
        for block in blocks(path):
            if block.kind == "slo":
                name = block.value("id")
                if name in found:
                    block.fail(f"the limits {name} are already defined")
                found[name] = _read(block)
    return found


def _read(block: Block) -> dict[str, Limit]:
    read: dict[str, Limit] = {}
    for offset, line in enumerate(block.body.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            block.fail('a limit is written `name: ["<=", 2000]`', offset=offset)
        if match["name"] in read:
            block.fail(f"{match['name']} stands twice", offset=offset)
        read[match["name"]] = _limit(block, match["pair"], offset)
    return read


def _limit(block: Block, pair: str, offset: int) -> Limit:
    try:
        read: Any = json.loads(pair)
    except json.JSONDecodeError:
        read = None
    match read:
        case [str(op), int() | float() as bound] if op in _COMPARE and not isinstance(bound, bool):
            return Limit(op, bound)
        case _:
            return block.fail(f"not a limit: {pair}; comparisons are {' '.join(_COMPARE)}", offset=offset)
