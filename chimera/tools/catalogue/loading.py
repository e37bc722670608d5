"""Reads the catalogue that ships with Chimera."""

import functools
import json
from collections import Counter
from importlib import resources
from typing import Any

from chimera.core.errors import InputError
from chimera.tools.catalogue.model import Listed, Status
from chimera.tools.registry.model import CATEGORIES

_FILES = resources.files("chimera.tools.catalogue")


@functools.cache
def catalogue() -> tuple[Listed, ...]:
    """Every entry, by category and name."""
    lines = [line for category in CATEGORIES for line in (_FILES / f"{category}.jsonl").read_text("utf-8").splitlines()]
    return tuple(Listed.model_validate_json(line) for line in lines)


def listed(name: str) -> Listed:
    """The entry of a name, or of a vendor's name.

    Raises:
        InputError: there is none.
    """
    wanted = name.strip().lower()
    found = [entry for entry in catalogue() if wanted in (entry.name, entry.package.name.lower())]
    found = found or [entry for entry in catalogue() if wanted == entry.vendor.lower()]
    if not found:
        raise InputError(
            f"{name[:60]!r} is neither a file nor in the catalogue",
            remedy="`chimera tools catalogue WORD` searches it; `chimera tools add --help` names the files.",
        )
    return found[0]


def counts() -> dict[Status, int]:
    """How many entries have which status; each counts once, with the highest that holds."""
    found = Counter(entry.status for entry in catalogue())
    return {status: found[status] for status in Status}


def contract(name: str) -> dict[str, Any]:
    """The tools of a server with their schemas, without any text of its author.

    Raises:
        InputError: there is none of that name.
    """
    file = _FILES / "contracts" / f"{name}.json"
    if not name.replace("-", "").isalnum() or not file.is_file():
        raise InputError(
            f"there is no contract {name[:60]!r}", remedy="`chimera tools catalogue --status simulated` lists them."
        )
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found
