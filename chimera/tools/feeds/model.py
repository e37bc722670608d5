"""What a feed is once it has been read: posts with a time, and rows that could not be used, each with its reason."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

Kind = Literal["rss", "atom", "json", "jsonl", "csv"]
Role = Literal["time", "text", "topic", "facet", "number", "id", "link", "constant"]


class Post(NamedTuple):
    """One usable row. A tuple, because a feed may hold a hundred thousand of them."""

    row: int
    """1-based number of the data row, item or line in the feed."""
    at: datetime
    """When it was posted, aware, in UTC."""
    text: str
    """The columns written for people, or all columns when none is."""
    fields: dict[str, str]
    """Every column as it was read."""


class BrokenRow(NamedTuple):
    """A row that could not be used."""

    row: int
    why: str


class Column(NamedTuple):
    """One column and what its content shows it to be."""

    name: str
    role: Role


@dataclass(frozen=True)
class Feed:
    """A feed as it was read. ``posts`` is never empty and is in the order of the feed, not of time."""

    source: str
    """Path or URL, without credentials."""
    name: str
    """Short name, the first half of every evidence id."""
    sha256: str
    """Digest of the bytes as they were read."""
    kind: Kind
    posts: list[Post]
    broken: list[BrokenRow] = field(default_factory=list[BrokenRow])
    columns: list[Column] = field(default_factory=list[Column])
    notes: list[str] = field(default_factory=list[str])
    """What had to be assumed, such as the order of day and month."""

    def evidence_id(self, row: int) -> str:
        """The id under which a row of this feed is cited."""
        return f"{self.name}:{row}"
