"""Rows of JSON, JSONL and CSV, each with its number; a row that cannot be read is named, not dropped."""

import csv
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, cast

from chimera.core.errors import FeedUnreadable
from chimera.tools.feeds.model import BrokenRow
from chimera.tools.feeds.times import parse_time

DELIMITERS = ",;\t|"
MAX_COLUMNS = 200
MAX_DEPTH = 4
MAX_REREAD = 20
"""How often, at most, the lines of a feed are read again because of quotes that are not closed."""


class Row(NamedTuple):
    """One data row as it was read: its 1-based number and its columns."""

    number: int
    fields: dict[str, str]


class Table(NamedTuple):
    """The rows of a feed, before anything is known about its columns."""

    rows: list[Row]
    broken: list[BrokenRow]


# --- JSON --------------------------------------------------------------------------------------------------------


def read_json(text: str) -> Table:
    """Rows of a JSON list, or of the one list inside a JSON object.

    Raises:
        FeedUnreadable: not JSON, or there is no list in it.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FeedUnreadable(f"not valid JSON: {_reason(error)}") from error
    items = _list(value) or _inner_list(value)
    if items is None:
        raise FeedUnreadable("the JSON holds no list of posts")
    return _collect(enumerate(items, 1))


def read_jsonl(text: str) -> Table:
    """Rows of a file with one JSON object per line; blank lines do not count."""
    lines = (line for line in text.split("\n") if line.strip())
    return _collect((number, _parse_line(line)) for number, line in enumerate(lines, 1))


def _parse_line(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return BrokenRow(0, f"not valid JSON: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno} column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else "a number is too long"


def _collect(items: Iterable[tuple[int, Any]]) -> Table:
    rows: list[Row] = []
    broken: list[BrokenRow] = []
    for number, item in items:
        if isinstance(item, BrokenRow):
            broken.append(BrokenRow(number, item.why))
        elif (fields := _object(item)) is None:
            broken.append(BrokenRow(number, f"is a JSON {_json_type(item)}, not an object"))
        else:
            rows.append(Row(number, dict(_flatten(fields))))
    return Table(rows, broken)


def _inner_list(value: Any) -> list[Any] | None:
    """The longest list of objects at the shallowest level that has one."""
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        inner = [child for node in level for child in (_object(node) or {}).values()]
        lists = [child for child in map(_list, inner) if child and any(isinstance(item, dict) for item in child)]
        if lists:
            return max(lists, key=len)
        level = inner
    return None


def _flatten(value: dict[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    for key, child in list(value.items())[:MAX_COLUMNS]:
        name = f"{prefix}{key}"
        inner, items = _object(child), _list(child)
        if inner is not None and depth < MAX_DEPTH:
            yield from _flatten(inner, f"{name}.", depth + 1)
        elif items is not None and not any(isinstance(item, dict | list) for item in items):
            yield name, ", ".join(map(_scalar, items))
        else:
            yield name, _scalar(child)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _object(value: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _list(value: Any) -> list[Any] | None:
    return cast("list[Any]", value) if isinstance(value, list) else None


def _json_type(value: Any) -> str:
    names = {"str": "string", "int": "number", "float": "number", "bool": "boolean", "NoneType": "null"}
    return names.get(type(value).__name__, "list")


# --- CSV ---------------------------------------------------------------------------------------------------------


def read_csv(text: str) -> Table:
    """Rows of delimited text; the delimiter is found by trial, the header by what the first row holds."""
    csv.field_size_limit(max(len(text) + 1, 131_072))
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    delimiter = sniff_delimiter([line for line in lines[:200] if line.strip()])
    records = _records(lines, delimiter)
    first = next(records, None)
    if first is None or isinstance(first, BrokenRow):
        return Table([], [BrokenRow(1, first.why)] if first else [])
    # Data has a readable time in some column; a header has none.
    header = _header(first) if not any(parse_time(value) for value in first) else None
    names = header or [f"column_{position}" for position in range(1, len(first) + 1)]
    rows: list[Row] = []
    broken: list[BrokenRow] = []
    number = 0
    for record in records if header else _chain(first, records):
        number += 1
        if isinstance(record, BrokenRow):
            broken.append(BrokenRow(number, record.why))
            continue
        if len(record) > len(names) and not any(record[len(names) :]):
            record = record[: len(names)]  # a delimiter at the end of the line
        if len(record) != len(names):
            broken.append(BrokenRow(number, f"has {len(record)} columns instead of {len(names)}"))
        else:
            rows.append(Row(number, dict(zip(names, record, strict=True))))
    return Table(rows, broken)


def sniff_delimiter(lines: list[str]) -> str:
    """The delimiter that gives most of the lines the same number of columns, two or more."""

    def quality(delimiter: str) -> tuple[float, int]:
        widths = [len(record) for record in csv.reader(lines, delimiter=delimiter) if record]
        usual = max(set(widths), key=lambda width: (widths.count(width), width)) if widths else 0
        return (widths.count(usual) / len(widths), usual) if usual > 1 else (0.0, 0)

    return max(DELIMITERS, key=quality)


def _header(record: list[str]) -> list[str]:
    names: dict[str, None] = {}
    for position, name in enumerate(record, 1):
        plain = " ".join(name.split()) or f"column_{position}"
        while plain in names:
            plain = f"{plain}_{position}"
        names[plain] = None
    return [*names]


def _chain(first: list[str], rest: Iterator[list[str] | BrokenRow]) -> Iterator[list[str] | BrokenRow]:
    yield first
    yield from rest


def _records(lines: list[str], delimiter: str) -> Iterator[list[str] | BrokenRow]:
    """Records, blank ones left out. A quote that is not closed breaks the row it is in, not the rows behind it."""
    following = 0

    def rest() -> Iterator[str]:
        nonlocal following
        while following < len(lines):
            following += 1
            yield f"{lines[following - 1]}\n"

    reread = 0
    reader = csv.reader(rest(), delimiter=delimiter)
    while True:
        begin = following
        record = next(reader, None)
        if record is None:
            return
        if following - begin > 1 and not _is_sound(lines[begin:following], delimiter):
            reread += following - begin
            if reread > MAX_REREAD * len(lines):
                yield BrokenRow(0, f"quotes are not closed; {len(lines) - begin} lines are not read")
                return
            following = begin + 1
            reader = csv.reader(rest(), delimiter=delimiter)
            yield BrokenRow(0, "a quote is not closed")
        elif any(record):
            yield record


def _is_sound(lines: list[str], delimiter: str) -> bool:
    """Whether a record over several lines is one: its quotes are closed, right before a delimiter or the end."""
    try:
        return len(list(csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True))) == 1
    except csv.Error:
        return False
