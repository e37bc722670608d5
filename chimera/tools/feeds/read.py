"""Read a feed: bytes, text, rows, columns, posts."""

from chimera.core.errors import FeedUnreadable
from chimera.tools.feeds.columns import classify, find_time, time_parser
from chimera.tools.feeds.decode import decode
from chimera.tools.feeds.model import BrokenRow, Column, Feed, Kind, Post
from chimera.tools.feeds.source import Raw, load
from chimera.tools.feeds.syndication import read_syndication
from chimera.tools.feeds.tables import MAX_COLUMNS, Row, Table, read_csv, read_json, read_jsonl

MAX_BYTES = 64_000_000
TIMEOUT_S = 30.0


def read_feed(source: str, *, max_bytes: int = MAX_BYTES, timeout_s: float = TIMEOUT_S) -> Feed:
    """Read the posts of a file or http(s) URL: RSS, Atom, JSON, JSONL or delimited text, told apart by content.

    Blocking: seconds for a feed of 100,000 rows, at most ``timeout_s`` for the network. From async code, use a thread.

    Raises:
        FeedUnreadable: unreadable, or not one row has a time and something to read.
    """
    raw = load(source, max_bytes=max_bytes, timeout_s=timeout_s)
    try:
        return _understand(raw)
    except FeedUnreadable as error:
        raise FeedUnreadable(f"{raw.source}: {error.message}", remedy=error.hint) from error


def _understand(raw: Raw) -> Feed:
    text = decode(raw.data, raw.charset)
    table, kind = _rows(text)
    if not table.rows:
        why = f"; row {table.broken[0].row} {table.broken[0].why}" if table.broken else ""
        raise FeedUnreadable(f"it has no readable row{why}")
    columns = _by_column(table.rows)
    time_column = find_time(columns)
    if time_column is None:
        raise FeedUnreadable("no column holds a time")
    parse, note = time_parser(columns[time_column])
    roles = classify(columns, time_column)
    posts: list[Post] = []
    broken = list(table.broken)
    written = [column.name for column in roles if column.role == "text"]
    for row in table.rows:
        stamp = row.fields.get(time_column, "")
        at = parse(stamp)
        if at is None:
            broken.append(
                BrokenRow(row.number, f"{time_column} is not a time: {_short(stamp)}" if stamp else "no time")
            )
        else:
            posts.append(Post(row.number, at, _text(row, roles, written), row.fields))
    if not posts:
        raise FeedUnreadable(f"no row has a readable time in column {_short(time_column)}")
    broken.sort()
    notes = [note] if note else []
    return Feed(raw.source, raw.name, raw.sha256, kind, posts, broken, roles, notes)


def _rows(text: str) -> tuple[Table, Kind]:
    head = text.lstrip()[:500]
    if not head:
        raise FeedUnreadable("it is empty")
    if head.startswith("<"):
        if head[:15].lower().startswith(("<!doctype html", "<html")):
            raise FeedUnreadable("it is a web page, not a feed")
        return read_syndication(text.lstrip())
    if _is_jsonl(text):
        return read_jsonl(text), "jsonl"
    if head[0] in "[{":
        return read_json(text), "json"
    return read_csv(text), "csv"


def _is_jsonl(text: str) -> bool:
    """Whether lines hold an object each. Broken lines among the first ones must not change the answer."""
    filled = [line for line in map(str.strip, text.split("\n", 50)[:50]) if line]
    whole = sum(line.startswith("{") and line.endswith("}") for line in filled)
    return whole * 2 >= len(filled) and not (len(filled) == 1 and _holds_list(filled[0]))


def _holds_list(line: str) -> bool:
    try:
        return len(read_json(line).rows) > 0
    except FeedUnreadable:
        return False


def _by_column(rows: list[Row]) -> dict[str, list[str]]:
    """The values of each column. Rows may differ in their columns; only so many different ones are looked at."""
    columns: dict[str, list[str]] = {}
    for row in rows:
        for name, value in row.fields.items():
            if name in columns:
                columns[name].append(value)
            elif len(columns) < MAX_COLUMNS:
                columns[name] = [value]
    return columns


def _text(row: Row, roles: list[Column], written: list[str]) -> str:
    chosen = [row.fields[name] for name in written if row.fields.get(name)]
    if not chosen:
        chosen = [row.fields[role.name] for role in roles if role.role != "time" and row.fields.get(role.name)]
    return "\n".join(chosen)


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return repr(plain if len(plain) <= 40 else f"{plain[:37]}...")
