"""Real feeds are read whole, and what is found in them is there: every number is counted again with other means.

Proves FR-53 on data that was not made for it. Needs the development data that CHIMERA_DATA names.
"""

import csv
import os
from collections import Counter
from pathlib import Path

import pytest

from chimera.core.errors import FeedUnreadable
from chimera.tools.feeds.analysis.report import report
from chimera.tools.feeds.analysis.study import study
from chimera.tools.feeds.read import read_feed

FOLDER = os.environ.get("CHIMERA_DATA")
pytestmark = pytest.mark.skipif(not FOLDER, reason="CHIMERA_DATA does not name the development data")
TRENDS = Path(FOLDER or ".") / "trends"


def test_github_trending() -> None:
    path = TRENDS / "github_trending_daily.csv"
    feed = read_feed(str(path))
    data = report(study(feed))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert (data["rows"], data["broken_rows"], data["timeframe"]) == (len(rows), 0, "7d")
    assert {column.name: column.role for column in feed.columns} == {
        "date": "time", "language": "facet", "rank": "number", "repo": "topic",
    }  # fmt: skip
    week = sorted({row["date"] for row in rows})[-7:]
    before = sorted({row["date"] for row in rows})[-7 * 29 : -7]
    now = Counter(row["repo"] for row in rows if row["date"] in week)
    earlier = Counter(row["repo"] for row in rows if row["date"] in before)
    assert len(data["risers"]) == 10
    for riser in data["risers"]:
        assert riser["now"] == now[riser["term"]]
        assert riser["before"] == round(earlier[riser["term"]] / 28, 2)
        for cite in riser["evidence"]:
            row = rows[int(cite.partition(":")[2]) - 1]
            assert (row["repo"], row["date"] in week) == (riser["term"], True)
    assert data["risers"][0]["term"] == "mvanhorn/last30days-skill"  # on top of the list that week, never before
    assert data["counts"][0]["count"] == max(now.values())


def test_tweets_of_a_crisis(tmp_path: Path) -> None:
    lines = (TRENDS / "crisis_stream_dev.csv").read_text().splitlines(keepends=True)
    cut = next(number for number, line in enumerate(lines) if line.startswith("2012-08-27"))
    path = tmp_path / "until_august.csv"  # the refinery explosion at Amuay was on 2012-08-25
    path.write_text("".join(lines[:cut]))
    rising = [rise.term for rise in study(read_feed(str(path))).rising]
    assert rising[:3] == ["#Amuay", "refinería", "Amuay"]


def test_every_table_is_read_or_says_why() -> None:
    read: dict[str, int] = {}
    refused: set[str] = set()
    for path in sorted(TRENDS.rglob("*.csv")):
        if path.name == "github_trending_daily.csv":
            continue
        try:
            feed = read_feed(str(path))
        except FeedUnreadable:
            refused.add(path.name)
            continue
        assert feed.broken == []
        read[path.name] = len(feed.posts)
        report(study(feed))
    assert refused == {"mediacloud_top_online_news.csv"}  # names and addresses, no times
    assert read["Twitter_volume_AAPL.csv"] == 15_902
    assert (read["tv_hurricanes.csv"], read["cable_weekly.csv"]) == (37, 1_008)
