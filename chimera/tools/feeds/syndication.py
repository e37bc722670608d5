"""Entries of RSS and Atom feeds as they are found in the wild."""

import html
import io
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, cast
from xml.parsers import expat

from chimera.core.errors import FeedUnreadable
from chimera.tools.feeds.model import BrokenRow
from chimera.tools.feeds.tables import Row, Table

MAX_BYTES = 8_000_000
"""Feedparser needs about two seconds for a megabyte."""
MAX_DEPTH = 200
MAX_ATTRIBUTES = 200

_ENTITY = re.compile(rb"<!ENTITY", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]{0,2000}>")


def read_syndication(text: str) -> tuple[Table, Literal["rss", "atom"]]:
    """Items of an RSS or Atom document, numbered in its order, and which of the two it is.

    Raises:
        FeedUnreadable: not such a document, one that is too large, or one that is a trap.
    """
    data = text.encode("utf-8", "replace")
    if len(data) > MAX_BYTES:
        raise FeedUnreadable(
            f"an XML feed of {len(data):,} bytes is more than the {MAX_BYTES:,} that are read",
            remedy="Give a smaller extract, or the same posts as CSV or JSONL.",
        )
    _refuse_traps(data)
    import feedparser  # only XML feeds pay for it

    parsed = cast(
        "Any",
        feedparser.parse(
            io.BytesIO(data),
            response_headers={"content-type": "application/xml; charset=utf-8"},  # wins over what the text declares
            sanitize_html=False,  # tags are removed below
            resolve_relative_uris=False,
        ),
    )
    entries = cast("list[Mapping[str, Any]]", parsed.entries)
    version = str(parsed.version)
    if not version and not entries:
        raise FeedUnreadable("the XML is neither RSS nor Atom")
    rows = [Row(number, _fields(entry)) for number, entry in enumerate(entries, 1)]
    broken: list[BrokenRow] = []
    if parsed.bozo and not isinstance(parsed.bozo_exception, feedparser.CharacterEncodingOverride):
        broken.append(BrokenRow(len(rows) + 1, f"the XML is malformed: {_plain(str(parsed.bozo_exception))[:120]}"))
    return Table(rows, broken), "atom" if version.startswith("atom") else "rss"


def _refuse_traps(data: bytes) -> None:
    """Stop at XML that is made to harm its reader: own entities, and what feedparser needs quadratic time for."""
    depth = 0

    def doctype(_name: str, _system: str | None, _public: str | None, has_declarations: int) -> None:
        if has_declarations:
            raise FeedUnreadable("the XML declares its own entities, which is not accepted")

    def start(_name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH or len(attributes) > MAX_ATTRIBUTES:
            raise FeedUnreadable("the XML has too many levels or attributes")

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate("utf-8")
    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:  # malformed: feedparser goes on with a tolerant parser, which knows entities too
        if _ENTITY.search(data):
            raise FeedUnreadable("the XML declares its own entities, which is not accepted") from error


def _fields(entry: Mapping[str, Any]) -> dict[str, str]:
    content = " ".join(str(part.get("value", "")) for part in entry.get("content", ()))
    tags = ", ".join(str(tag.get("term") or "") for tag in entry.get("tags", ()))
    found = {
        "published": _time(entry, "published") or _time(entry, "created") or _time(entry, "updated"),
        "title": _plain(str(entry.get("title", ""))),
        "summary": _plain(str(entry.get("summary", ""))),
        "content": _plain(content),
        "tags": tags,
        "author": str(entry.get("author", "")),
        "link": str(entry.get("link", "")),
    }
    if found["content"] == found["summary"]:
        found["content"] = ""
    return found


def _time(entry: Mapping[str, Any], key: str) -> str:
    """The entry's time in ISO 8601 where feedparser could read it, else as it was written."""
    parsed = entry.get(f"{key}_parsed")
    if isinstance(parsed, time.struct_time):
        return datetime(*parsed[:6], tzinfo=UTC).isoformat()
    return str(entry.get(key, ""))


def _plain(markup: str) -> str:
    return " ".join(html.unescape(_TAG.sub(" ", markup)).split())
