"""What the golden files really say, read without any of the product's own readers."""

import csv
import json
import re
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, cast

from chimera.core.contracts import Evidence
from chimera.core.ids import digest

_CUT = "…"
_ROW = re.compile(r"^(.+):(\d+)$")
_PART = re.compile(r" \| (?=[^|:]{1,40}: )")


def rows(path: Path) -> dict[int, list[str]]:
    """The values of each data row of a feed, by its 1-based number."""
    if path.suffix == ".xml":
        return dict(enumerate(_entries(path), 1))
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".csv":
        records = [record for record in csv.reader(text.splitlines()) if any(record)]
        return dict(enumerate(records[1:], 1))
    if path.suffix == ".jsonl":
        items: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines() if line.strip()]
    else:
        found = json.loads(text)
        lists = [found] if isinstance(found, list) else [part for part in found.values() if isinstance(part, list)]
        items = cast("list[dict[str, Any]]", lists[0])
    return {number: [_scalar(value) for value in item.values()] for number, item in enumerate(items, 1)}


_EDITED = re.compile(r"[\[(](?:\w+)?removed(?::[^\])]*)?[\])]")
"""What the output filter puts in the place of something, without white space."""


def false_statement(item: Evidence, feeds: Path, observations: list[str]) -> str:
    """What is untrue about a piece of evidence; empty when it is what the feed, or else the tool, really said."""
    path = Path(item.source)
    if not path.is_absolute():
        said = any(_bare(item.text) in _bare(text) for text in map(_unescaped, observations))
        return "" if said else f"{item.id}: no tool said this"
    if path.parent != feeds or not path.is_file():
        return f"{item.id}: comes from {path.name}, which is no golden feed"
    if item.sha256 != digest(path.read_bytes()):
        return f"{item.id}: its digest is not that of {path.name}"
    named = _ROW.match(item.id)
    row = rows(path).get(int(named[2])) if named else None
    if named is None or named[1] != path.stem or row is None:
        return f"{item.id}: {path.name} has no such row"
    return "" if _tells(item.text, row) else f"{item.id}: the row says something else"


def _tells(text: str, row: list[str]) -> bool:
    """Whether ``NAME: VALUE | NAME: VALUE ...`` holds values of the row and nothing else."""
    values = {_bare(value) for value in row}
    parts = _PART.split(text)
    for place, part in enumerate(parts):
        value = _bare(part.partition(": ")[2])
        cut = place == len(parts) - 1 and value.endswith(_CUT)
        if value in values or (cut and any(known.startswith(value[:-1]) for known in values)):
            continue
        if not any(_is_rest_of(value, known) for known in values):
            return False
    return True


def _is_rest_of(shown: str, value: str) -> bool:
    """Whether a guard's edits are all that is between the two: what is left stands in the value, in its order."""
    left = _EDITED.split(shown)
    place = 0
    for part in left:
        found = value.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return len(left) > 1


def _bare(text: str) -> str:
    """The visible characters: what a guard or a printer may take out does not count, nor does white space."""
    return "".join(char for char in text if not char.isspace() and unicodedata.category(char)[0] != "C")


def _unescaped(observation: str) -> str:
    try:
        return json.dumps(json.loads(observation), ensure_ascii=False)
    except ValueError:
        return observation


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _entries(path: Path) -> Iterator[list[str]]:
    """The texts of each RSS item or Atom entry, with its times in ISO 8601."""
    for element in ET.parse(path).getroot().iter():  # noqa: S314 - a file of this package
        if element.tag.rpartition("}")[2] in ("item", "entry"):
            texts = [" ".join(part.split()) for part in element.itertext() if part.strip()]
            yield [*texts, *(stamp for text in texts if (stamp := _time(text)))]


def _time(text: str) -> str:
    try:
        return parsedate_to_datetime(text).astimezone(UTC).isoformat()
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).astimezone(UTC).isoformat()
    except ValueError:
        return ""
