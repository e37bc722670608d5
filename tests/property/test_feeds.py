"""Whatever bytes come, reading ends in posts or in one error of ours, every row is accounted for, answers are valid.

Proves FR-54 and FR-57.
"""

import csv
import io
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from chimera.core.errors import FeedUnreadable, InputError
from chimera.tools.feeds.analysis.report import latest, report
from chimera.tools.feeds.analysis.study import study
from chimera.tools.feeds.model import Feed
from chimera.tools.feeds.read import read_feed
from chimera.tools.feeds.times import EARLIEST, LATEST, parse_time
from chimera.tools.servers.arguments import check_arguments
from chimera.tools.servers.files import build as files_server
from chimera.tools.servers.trends import build as trends_server
from chimera.tools.servers.trends_schema import ANALYSIS
from chimera.tools.servers.trends_schema import LATEST as LATEST_SCHEMA

FAST = settings(suppress_health_check=[HealthCheck.too_slow])
TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(microsecond=0, tzinfo=UTC))  # noqa: DTZ001
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=40)
STARTS = [
    b"",
    b"<?xml version='1.0'?><rss version='2.0'><channel><item>",
    b"[{",
    b'{"at": "2026-01-01"}\n{',
    b"at,b\n2026-01-01,",
]


def read(content: bytes) -> Feed:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "feed"
        path.write_bytes(content)
        return read_feed(str(path))


def check(feed: Feed) -> None:
    """What every readable feed has to give."""
    Draft202012Validator(ANALYSIS).validate(first := report(study(feed)))
    Draft202012Validator(LATEST_SCHEMA).validate(latest(feed))
    assert first == report(study(feed))
    rows = {post.row for post in feed.posts}
    for item in first["evidence"]:
        assert int(item["id"].rpartition(":")[2]) in rows
    assert len(rows) == len(feed.posts)
    assert not rows & {broken.row for broken in feed.broken}


@FAST
@given(st.sampled_from(STARTS), st.binary(max_size=300))
def test_any_bytes_end_in_posts_or_in_one_error(start: bytes, rest: bytes) -> None:
    try:
        feed = read(start + rest)
    except FeedUnreadable:
        return
    check(feed)


@FAST
@given(st.lists(st.tuples(TIMES, TEXT), min_size=1, max_size=30), st.sampled_from(",;\t|"))
def test_every_row_of_a_table_is_a_post(rows: list[tuple[datetime, str]], delimiter: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["at", "what"])
    writer.writerows((at.isoformat(), text) for at, text in rows)
    feed = read(out.getvalue().encode())
    assert [(post.at, post.fields["what"]) for post in feed.posts] == rows
    assert [post.row for post in feed.posts] == list(range(1, len(rows) + 1))
    check(feed)


@FAST
@given(st.lists(st.one_of(TIMES, st.sampled_from(["", "NaN", "soon", "12"])), min_size=1, max_size=30), st.booleans())
def test_every_row_of_json_is_a_post_or_named(times: list[Any], lines: bool) -> None:
    items = [{"at": at.isoformat() if isinstance(at, datetime) else at, "n": "x"} for at in times]
    good = [number for number, at in enumerate(times, 1) if isinstance(at, datetime)]
    content = "\n".join(map(json.dumps, items)) if lines else json.dumps({"items": items})
    try:
        feed = read(content.encode())
    except FeedUnreadable:
        assert len(good) * 2 < len(times)  # too few times for a column of times
        return
    assert [post.row for post in feed.posts] == good
    assert [broken.row for broken in feed.broken] == [n for n in range(1, len(times) + 1) if n not in good]
    check(feed)


@FAST
@given(st.one_of(st.text(max_size=70), st.from_regex(r"[0-9A-Za-z:.,/+\- ]{6,40}", fullmatch=True)), st.booleans())
def test_a_time_is_a_moment_of_this_age_or_none(text: str, day_first: bool) -> None:
    found = parse_time(text, day_first=day_first)
    assert found is None or (found.utcoffset() == timedelta(0) and EARLIEST <= found < LATEST)


@FAST
@given(TIMES)
def test_a_time_survives_its_forms(at: datetime) -> None:
    for text in (at.isoformat(), at.strftime("%a, %d %b %Y %H:%M:%S GMT"), at.strftime("%Y/%m/%d %H:%M:%S")):
        assert parse_time(text) == at
    if at.year >= 2002:  # shorter numbers are not taken for epoch times
        assert parse_time(str(int(at.timestamp()))) == parse_time(str(int(at.timestamp()) * 1000)) == at


SCHEMAS = [
    tool["inputSchema"] for server in (trends_server(), files_server(Path("unused"))) for tool in server.listing()
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "24h", "a.md", "x" * 90]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
NAMES = st.sampled_from(["source", "timeframe", "keywords", "limit", "name", "content", "media_type", "other"])


@FAST
@given(st.sampled_from(SCHEMAS), st.dictionaries(NAMES, VALUES, max_size=4) | VALUES)
def test_our_argument_check_agrees_with_json_schema(schema: dict[str, Any], value: Any) -> None:
    valid = Draft202012Validator(schema).is_valid(value)
    try:
        check_arguments(schema, value)
        passed = True
    except InputError:
        passed = False
    # JSON Schema calls 5.0 an integer; we do not.
    whole_float = isinstance(value, dict) and any(isinstance(item, float) for item in value.values())
    assert passed == valid or (whole_float and not passed)
