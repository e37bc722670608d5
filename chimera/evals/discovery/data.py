"""Sets of tools and of requests that are known to need some of them: a folder with tools.jsonl and queries.jsonl."""

import hashlib
import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from chimera.core.errors import InputError
from chimera.tools.discovery.documents import ToolDocument, parameter_text

QUERIES_MAX = 300
QUICK_QUERIES = 30
QUICK_TOOLS = 150
SEED = 0


@dataclass(frozen=True)
class ToolSet:
    """Tools, requests, and for each request the places of the tools that answer it."""

    name: str
    documents: Sequence[ToolDocument]
    queries: Sequence[str]
    relevant: Sequence[frozenset[int]]
    digest: str
    """Of the tools' ids: tells a set that weights were learnt from."""
    whole: int
    """How many requests the set has; ``queries`` may be a sample of them."""


def load_sets(folders: Sequence[Path], *, quick: bool, most: int = QUERIES_MAX) -> list[ToolSet]:
    """The sets of the folders, with at most so many requests; by default all under ``$CHIMERA_DATA/toolsearch``.

    Raises:
        InputError: there is none, or one cannot be read.
    """
    chosen = list(folders) or _default_folders()
    if quick:
        return [_fewer_tools(load_set(folder, QUICK_QUERIES), QUICK_TOOLS) for folder in chosen]
    return [load_set(folder, most) for folder in chosen]


def load_set(folder: Path, most: int) -> ToolSet:
    """One set, with a sample of its requests where it has more than ``most``.

    Raises:
        InputError: it cannot be read, or no request names a tool that is there.
    """
    tools, rows = _lines(folder / "tools.jsonl"), _lines(folder / "queries.jsonl")
    try:
        documents = [_document(tool) for tool in tools]
        places = {document.name: at for at, document in enumerate(documents)}
        asked = [
            (str(row["query"]), found)
            for row in rows
            if (found := frozenset(places[name] for name in row["relevant"] if name in places))
        ]
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder} is not a set of tools and requests: {error}") from error
    if not asked:
        raise InputError(f"no request in {folder} names a tool that is there")
    kept = sorted(random.Random(SEED).sample(range(len(asked)), most)) if len(asked) > most else range(len(asked))  # noqa: S311 - a sample, no secret
    digest = hashlib.sha256("\n".join(sorted(places)).encode()).hexdigest()[:16]
    return ToolSet(
        name=folder.name,
        documents=documents,
        queries=[asked[at][0] for at in kept],
        relevant=[asked[at][1] for at in kept],
        digest=digest,
        whole=len(asked),
    )


def _fewer_tools(data: ToolSet, most: int) -> ToolSet:
    """The set with the tools that are asked for and some of the others."""
    wanted = sorted(frozenset[int]().union(*data.relevant))
    others = sorted(set(range(len(data.documents))) - set(wanted))
    spare = min(max(most - len(wanted), 0), len(others))
    kept = sorted(wanted + random.Random(SEED).sample(others, spare))  # noqa: S311 - a sample, no secret
    places = {place: at for at, place in enumerate(kept)}
    return replace(
        data,
        documents=[data.documents[place] for place in kept],
        relevant=[frozenset(places[place] for place in found) for found in data.relevant],
    )


def _document(tool: dict[str, Any]) -> ToolDocument:
    schema = tool.get("schema")
    return ToolDocument(
        name=str(tool["id"]),
        server=str(tool["server"]),
        tool=str(tool["name"]),
        description=str(tool.get("description") or ""),
        parameters=_parameters_of_text(schema) if isinstance(schema, str) else parameter_text(schema),
    )


def _parameters_of_text(schema: str) -> str:
    """ToolAlpaca writes a tool's parameters as text, after its description."""
    return schema.partition("Parameters:")[2].partition("\nOutput:")[0]


def _lines(file: Path) -> list[dict[str, Any]]:
    try:
        with file.open(encoding="utf-8") as lines:
            return [cast("dict[str, Any]", json.loads(line)) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {file}: {error}") from error


def _default_folders() -> list[Path]:
    root = os.environ.get("CHIMERA_DATA")
    found = sorted(file.parent for file in Path(root or "").glob("toolsearch/*/tools.jsonl")) if root else []
    if not found:
        raise InputError(
            "no sets of tools and requests",
            remedy="Name a folder with --data, or set CHIMERA_DATA to one that has any.",
        )
    return found
