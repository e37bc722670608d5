"""What an edit changes, line by line."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chimera.server.pages.words import as_json

LINES_MAX = 4_000


@dataclass(frozen=True)
class Line:
    """A line of a comparison. ``sign``: ``+`` for new, ``-`` for gone, a blank for both."""

    sign: str
    text: str


def changed_lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Line]:
    """Both as JSON, compared line by line; texts of several lines by their lines."""
    old, new = (_lines(each)[:LINES_MAX] for each in (before, after))
    return [Line(one[0], one[2:]) for one in difflib.ndiff(old, new) if one[0] != "?"]


def _lines(value: Mapping[str, Any]) -> list[str]:
    return as_json(value).replace("\\n", "\n    ").split("\n")
