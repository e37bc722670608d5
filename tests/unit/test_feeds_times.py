"""Timestamps are read in every form that feeds use, as the same moment, and what is no time is never turned into one.

Proves the time half of FR-53 and that nothing is invented (FR-54) at the level of one value.
"""

from datetime import UTC, datetime

import pytest

from chimera.tools.feeds.columns import time_parser
from chimera.tools.feeds.times import parse_time

MOMENT = datetime(2026, 4, 6, 22, 19, 45, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-04-06T22:19:45Z",
        "2026-04-06T22:19:45.000+00:00",
        "2026-04-06 22:19:45",
        "2026-04-06 22:19:45 UTC",
        "2026-04-07T00:19:45+02:00",
        "20260406T221945Z",
        "2026-04-06T22:19:45+00:00[UTC]",
        "Mon, 06 Apr 2026 22:19:45 GMT",
        "Mon, 06 Apr 2026 15:19:45 -0700",
        "06 Apr 2026 22:19:45 +0000",
        "Mon Apr 06 22:19:45 +0000 2026",
        "Mon Apr 06 22:19:45 2026",
        "1775513985",
        "1775513985.0",
        "1775513985000",
        "1775513985000000",
        "4/6/2026 22:19:45",
        "4/6/2026 10:19:45 PM",
        "2026/04/06 22:19:45",
    ],
)
def test_the_same_moment_in_every_form(text: str) -> None:
    assert parse_time(text) == MOMENT


@pytest.mark.parametrize(
    "text", ["2026-04-06", "20260406", "4/6/2026", "4/6/26", "2026/04/06", "Apr 6, 2026", "6 April 2026"]
)
def test_a_date_is_its_midnight_in_utc(text: str) -> None:
    assert parse_time(text) == datetime(2026, 4, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nan",
        "NaN",
        "NaT",
        "null",
        "Infinity",
        "-1",
        "0",
        "12345",
        "99999999999999999999",
        "2026-13-01",
        "2026-02-30",
        "31/31/2026",
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00",
        "yesterday",
        "May the force be with you 2026",
        "1.2.3",
        "١٢/٠٤/٢٠٢٦",
        "2026-04-06T25:00:00Z",
        "13:45:00",
        "3.14159265358979",
        "x" * 1_000_000,
        "9" * 1_000_000,
    ],
)
def test_what_is_no_time_stays_none(text: str) -> None:
    assert parse_time(text) is None


def test_the_order_of_day_and_month_is_told_by_the_column() -> None:
    day_first, note = time_parser(["03/04/2026", "25/04/2026"])
    assert (day_first("03/04/2026"), note) == (datetime(2026, 4, 3, tzinfo=UTC), None)
    month_first, note = time_parser(["03/04/2026", "04/25/2026"])
    assert (month_first("03/04/2026"), note) == (datetime(2026, 3, 4, tzinfo=UTC), None)


def test_an_order_that_nothing_tells_is_assumed_aloud() -> None:
    parse, note = time_parser(["03/04/2026", "05/06/2026"])
    assert parse("03/04/2026") == datetime(2026, 3, 4, tzinfo=UTC)
    assert note
    assert "month first" in note
    parse, note = time_parser(["03.04.2026"])
    assert parse("03.04.2026") == datetime(2026, 4, 3, tzinfo=UTC)
    assert note
    assert "day first" in note
