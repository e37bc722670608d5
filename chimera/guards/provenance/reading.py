"""From what a tool printed to data: JSON, printed Python values, printed records; anything else stays text."""

import ast
import json
from collections.abc import Mapping
from typing import Any, cast

from chimera.guards.provenance.block import read_block

SIZE_MAX = 2_000_000
"""Characters; a longer result is text."""
_DEPTH_MAX = 64


def read_result(result: Any) -> Any:
    """The data of a result whose tool is declared to return data; None where it is something else.

    ``result`` is data already (``structuredContent``), or the text of it. What cannot be read in full is not read at
    all, so that no part of a text can pass for a record.
    """
    if not isinstance(result, str):
        return result
    if len(result) > SIZE_MAX or not result.strip():
        return None
    for reader in (_json, _printed, read_block):
        try:
            found = reader(result)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(found, Mapping | list):
            return cast("Any", found)
    return None


def _json(text: str) -> Any:
    if text.lstrip()[:1] not in "[{":
        raise ValueError("no JSON container")
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field stands twice")
    return found


def _printed(text: str) -> Any:
    """A Python mapping or list as ``str`` prints it: literals only, nothing is run."""
    if text.lstrip()[:1] not in "[{" or _nesting(text) > _DEPTH_MAX:
        raise ValueError("no printed container")
    return ast.literal_eval(text.strip())


def _nesting(text: str) -> int:
    depth = deepest = 0
    for letter in text:
        depth += (letter in "[{(") - (letter in ")}]")
        deepest = max(deepest, depth)
    return deepest
