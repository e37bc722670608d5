"""What an edit changes, line by line."""

import difflib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chimera.server.pages.words import as_json

LINES_MAX = 4_000
AROUND = 3
"""Lines that stay the same are shown so far around those that change."""


@dataclass(frozen=True)
class Line:
    """A line of a comparison. ``sign``: ``+`` for new, ``-`` for gone, a blank for both, ``@`` for lines left out."""

    sign: str
    text: str


def changed_lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Line]:
    """Both as JSON, compared line by line; texts of several lines by their lines."""
    old, new = (_lines(each)[:LINES_MAX] for each in (before, after))
    return _folded([Line(one[0], one[2:]) for one in difflib.ndiff(old, new) if one[0] != "?"])


def _folded(lines: list[Line]) -> list[Line]:
    """The lines without those that are far from every change."""
    changed = [at for at, line in enumerate(lines) if line.sign != " "]
    near = {at for change in changed for at in range(change - AROUND, change + AROUND + 1)}
    found: list[Line] = []
    for far, group in itertools.groupby(enumerate(lines), lambda one: one[0] not in near):
        same = [line for _, line in group]
        found += [Line("@", f"{len(same)} lines stay as they are")] if far and len(same) > 1 else same
    return found


def _lines(value: Mapping[str, Any]) -> list[str]:
    return as_json(value).replace("\\n", "\n    ").split("\n")
