"""Labelled texts from a folder of JSON lines: read, deduplicated, and made into features once."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chimera.core.errors import InputError
from chimera.guards.injection.detector import text_features
from chimera.guards.injection.features import Features

DEV_FILE = "dev.jsonl"


@dataclass(frozen=True, slots=True)
class Row:
    """A text, whether it is an attack, the source it is from, and whether it is benign and talks about attacks."""

    text: str
    attack: bool
    source: str
    hard: bool

    @property
    def digest(self) -> str:
        """Names the text."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Corpus:
    """Rows with the features of each: one entry per view and piece."""

    rows: Sequence[Row]
    features: Sequence[Sequence[Features]]


def load_rows(folder: Path) -> list[Row]:
    """The rows of ``dev.jsonl`` in a folder, or of all its ``*.jsonl`` when there is none of that name.

    A text that occurs twice counts once; a text with two labels is left out.

    Raises:
        InputError: there is no such data, or a line of it cannot be used.
    """
    files = [folder / DEV_FILE] if (folder / DEV_FILE).is_file() else sorted(folder.glob("*.jsonl"))
    if not files:
        raise InputError(f"no labelled texts in {folder}", remedy="Name a folder with --data that holds *.jsonl files.")
    rows = [row for file in files for row in _read(file)]
    labels: defaultdict[str, set[bool]] = defaultdict(set)
    for row in rows:
        labels[row.text].add(row.attack)
    once = {row.text: row for row in reversed(rows) if len(labels[row.text]) == 1}
    return list(reversed(once.values()))


def load_corpus(rows: Sequence[Row]) -> Corpus:
    """Rows with their features."""
    return Corpus(rows, [list(text_features(row.text)) for row in rows])


def thinned(rows: Sequence[Row], most: int) -> list[Row]:
    """At most ``most`` rows, chosen by their text and so the same each time; small sources keep all of theirs."""
    if len(rows) <= most:
        return list(rows)
    groups: defaultdict[tuple[str, bool], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.source, row.attack].append(row)
    share = most // len(groups)
    spare = most - sum(min(len(group), share) for group in groups.values())
    large = sum(max(len(group) - share, 0) for group in groups.values())
    kept: set[str] = set()
    for group in groups.values():
        count = min(len(group), share) + max(len(group) - share, 0) * spare // max(large, 1)
        kept.update(sorted(row.digest for row in group)[:count])
    return [row for row in rows if row.digest in kept]


def _read(file: Path) -> Iterator[Row]:
    try:
        lines = file.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {file.name}: {type(error).__name__}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry: dict[str, Any] = json.loads(line)
            text, label = entry["text"], entry["label"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file.name}, line {number}: no row with a text and a label") from error
        if not isinstance(text, str) or label not in ("attack", "benign"):
            raise InputError(f"{file.name}, line {number}: the label is neither attack nor benign")
        yield Row(text, label == "attack", str(entry.get("source") or file.stem), bool(entry.get("hard")))
