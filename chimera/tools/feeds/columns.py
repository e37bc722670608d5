"""Which column is the time, which is text, which is a topic: told by what the columns hold, not by fixed names.

Names only break ties and set aside columns that are about the post rather than its subject.
"""

import re
from collections.abc import Callable, Sequence
from datetime import datetime

from chimera.tools.feeds.model import Column, Role
from chimera.tools.feeds.times import is_ambiguous, parse_time

SAMPLE = 400
CLIP = 200
"""Characters of a value that are looked at: enough to tell its kind, too few to slow a pattern down."""
_TIME_NAME = re.compile(r"time|date|publish|creat|posted|(?:^|[_.\s])(?:at|ts|day|week|when)$|epoch", re.IGNORECASE)
_LATER_NAME = re.compile(r"updat|modif|edit|expire|crawl|fetch|retriev|delet", re.IGNORECASE)
_ABOUT_NAME = re.compile(
    r"(?:^|[_.\s])(?:author|user|user_?name|by|creator|id|guid|uuid|hash|lang|locale|platform|network|source|site|"
    r"type|kind|status|query)(?:[_.\s](?:id|name|handle))?$",
    re.IGNORECASE,
)
_TEXT_NAME = re.compile(
    r"text|title|content|body|message|summary|description|headline|caption|tags|keywords", re.IGNORECASE
)
_NUMBER = re.compile(r"[-+]?[\d.,:/%$€\s]*\d[\d.,%]*(?:[eE][-+]?\d+)?|nan|null|none|true|false|-", re.IGNORECASE)
_LINK = re.compile(r"(?:https?://|www\.)\S+|[^@\s]+@[^@\s]+\.\w+")

TimeParser = Callable[[str], datetime | None]


def spread(values: Sequence[str], size: int = SAMPLE) -> list[str]:
    """The beginnings of at most ``size`` of the values that are not empty, evenly spread."""
    filled = [value for value in values if value.strip()]
    step = max(1, len(filled) // size)
    return [value[:CLIP] for value in filled[::step][:size]]


def find_time(columns: dict[str, list[str]]) -> str | None:
    """The name of the column that holds the time of each post; None when there is none.

    A column qualifies when at least half of a sample parses. Bare numbers qualify only when the name says time or
    no other column does, since counts and ids can look like epoch seconds.
    """
    best: tuple[float, int] | None = None
    chosen: str | None = None
    for position, (name, values) in enumerate(columns.items()):
        sample = spread(values)
        if not sample:
            continue
        share = sum(parse_time(value) is not None for value in sample) / len(sample)
        if share < 0.5:
            share = sum(parse_time(value, day_first=True) is not None for value in sample) / len(sample)
        if share < 0.5:
            continue
        named = bool(_TIME_NAME.search(name))
        bare = sum(value.strip().replace(".", "", 1).isdigit() for value in sample) > len(sample) / 2
        rank = (
            share
            + (0.5 if named else 0)
            - (0.3 if _LATER_NAME.search(name) else 0)
            - (0.5 if bare and not named else 0)
        )
        if best is None or (rank, -position) > best:
            best, chosen = (rank, -position), name
    return chosen


def time_parser(values: Sequence[str]) -> tuple[TimeParser, str | None]:
    """A parser for one column, and a note when the order of day and month had to be assumed."""
    pairs = [pair for pair in map(is_ambiguous, spread(values, 5_000)) if pair]
    day_first = any(first > 12 for first, _ in pairs)
    month_first = any(second > 12 for _, second in pairs)
    note = None
    if pairs and day_first == month_first:
        day_first = "." in next(value for value in values if is_ambiguous(value))
        note = f"dates are read with the {'day' if day_first else 'month'} first: the feed does not tell"
    known: dict[str, datetime | None] = {}

    def parse(text: str) -> datetime | None:
        if text not in known:
            known[text] = parse_time(text, day_first=day_first)
        return known[text]

    return parse, note


def classify(columns: dict[str, list[str]], time_column: str) -> list[Column]:
    """The role of each column."""
    found = [Column(name, "time" if name == time_column else _role(name, values)) for name, values in columns.items()]
    if any(column.role in ("text", "topic") for column in found):
        return found
    return [column._replace(role="topic") if column.role == "facet" else column for column in found]


def _role(name: str, values: list[str]) -> Role:
    filled = [value for value in values if value]
    distinct = set(filled)
    if len(distinct) < 2 and not (distinct and _TEXT_NAME.search(name)):
        return "constant"
    sample = spread(filled)
    by_form = _role_by_form(sample)
    if by_form is not None:
        return by_form
    if _ABOUT_NAME.search(name):
        return "facet"
    words = sum(len(value.split()) for value in sample) / len(sample)
    repeats = len(filled) / len(distinct)
    if _TEXT_NAME.search(name) or words > 4 or max(map(len, sample)) > 120:
        return "text"
    if repeats >= 1.5:
        # A handful of values on very many rows sorts the posts (a language, a label); it is not what they are about.
        return "facet" if repeats > 200 else "topic"
    if words < 1.2 and len(filled) >= 20:
        return "id"
    return "text"


def _role_by_form(sample: list[str]) -> Role | None:
    half = len(sample) / 2
    if sum(bool(_NUMBER.fullmatch(value)) for value in sample) > half:
        return "number"
    if sum(bool(_LINK.fullmatch(value)) for value in sample) > half:
        return "link"
    if sum(parse_time(value) is not None for value in sample) > half:
        return "time"
    return None
