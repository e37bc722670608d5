"""TrendFetcher keeps the TREND_ANALYSIS contract, reads only the feed it was given, and never makes up a post.

Proves FR-56 and FR-57.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from chimera.core import specs
from chimera.core.errors import ConfigError, FeedUnreadable, InputError
from chimera.skills import trends
from chimera.skills.trends import TrendFetcher

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "chimera" / "cli" / "sample" / "trending_sample.jsonl"
SEED_REQUEST = {"platform": "twitter", "timeframe": "24h", "keywords": ["AI", "automation"]}


@pytest.fixture(autouse=True)
def bare_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings of nobody: no file in the working folder, no variables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CHIMERA_CONFIG", raising=False)
    monkeypatch.delenv("CHIMERA_TREND_FEED", raising=False)


@pytest.fixture
def posts(tmp_path: Path) -> Path:
    """Ten days of posts of two platforms, with AI rising on the last day on one of them."""
    path = tmp_path / "posts.jsonl"
    lines: list[dict[str, str]] = []
    for day in range(1, 11):
        for hour in range(6 if day < 10 else 18):
            topic = (
                "New AI helper for gardens"
                if day == 10 or hour == 0
                else "Automation of a mill"
                if hour == 1
                else "Bread"
            )
            platform = "Twitter" if hour % 2 == 0 else "mastodon"
            lines.append({"at": f"2026-03-{day:02}T{hour:02}:00:00Z", "platform": platform, "text": topic})
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def check(result: dict[str, Any]) -> None:
    assert specs.problems("TREND_ANALYSIS.output", result) == []
    ids = {item["id"] for item in result["evidence"]}
    for trend in result["trends"]:
        assert {trend["figures"], *trend["evidence"]} <= ids


def test_the_example_of_the_specification(posts: Path) -> None:
    result = TrendFetcher(posts).analyze_trends(SEED_REQUEST)
    check(result)
    ai, automation = result["trends"][:2]
    assert (ai["term"], ai["kind"], ai["now"]) == ("AI", "keyword", 9)
    assert ai["growth"] > 5
    assert (automation["term"], automation["now"]) == ("automation", 0)
    figures = next(item["text"] for item in result["evidence"] if item["id"] == ai["figures"])
    assert figures.startswith("AI: 9 posts in the 24h to 2026-03-10T17:00:00Z")


def test_platform_is_matched_where_the_feed_tells_it(posts: Path) -> None:
    every = TrendFetcher(posts).analyze_trends({"timeframe": "24h"})
    one = TrendFetcher(posts).analyze_trends({"timeframe": "24h", "platform": "MASTODON"})
    none = TrendFetcher(posts).analyze_trends({"timeframe": "24h", "platform": "tiktok"})
    assert (every["volume"]["now"], one["volume"]["now"], none["volume"]["now"]) == (18, 9, 0)
    assert one["notes"] == []
    assert none["trends"] == []
    assert "no post of the feed is from tiktok" in none["notes"]
    for result in (every, one, none):
        check(result)


def test_a_platform_that_nobody_can_check_is_noted() -> None:
    feed = ROOT / "tests" / "data" / "sample_atom.xml"
    result = TrendFetcher(feed).analyze_trends({"platform": "twitter"})
    check(result)
    assert result["trends"][0]["term"] == "Kelpwright"
    assert any(note.startswith("unverified platform") for note in result["notes"])


def test_the_feed_comes_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIMERA_TREND_FEED", str(SAMPLE))
    result = TrendFetcher().analyze_trends({})
    check(result)
    assert [trend["term"] for trend in result["trends"]] == ["Quillfern", "Nimbrook"]
    assert result["source"] == str(SAMPLE)


def test_without_a_feed_it_raises() -> None:
    with pytest.raises(ConfigError) as caught:
        TrendFetcher().analyze_trends(SEED_REQUEST)
    assert "CHIMERA_TREND_FEED" in caught.value.hint


def test_an_unreadable_feed_raises(tmp_path: Path) -> None:
    with pytest.raises(FeedUnreadable):
        TrendFetcher(tmp_path / "missing.csv").analyze_trends(SEED_REQUEST)


def test_the_size_limit_of_the_settings_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIMERA_FEED_MAX_BYTES", "100")
    with pytest.raises(FeedUnreadable, match="larger than 100 bytes"):
        TrendFetcher(SAMPLE).analyze_trends({})


@pytest.mark.parametrize(
    "request_",
    [
        {"timeframe": "yesterday"},
        {"timeframe": "24h\n"},
        {"keywords": "AI"},
        {"keywords": [""]},
        {"limit": 0},
        {"limit": True},
        {"source": "/etc/passwd"},
        {"platform": ""},
    ],
)
def test_a_request_that_does_not_fit_is_refused(request_: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        TrendFetcher(SAMPLE).analyze_trends(request_)


def test_when_nothing_rises_it_says_so(tmp_path: Path) -> None:
    path = tmp_path / "calm.csv"
    path.write_text("at,text\n" + "".join(f"2026-01-{day:02},steady weather today\n" for day in range(1, 29)))
    result = TrendFetcher(path).analyze_trends({"timeframe": "7d"})
    check(result)
    assert any("nothing rises" in note for note in result["notes"]) == bool(result["trends"])


async def test_async_and_sync_agree_also_inside_a_loop(posts: Path) -> None:
    fetcher = TrendFetcher(posts)
    async with asyncio.timeout(30):
        first, second = await asyncio.gather(fetcher.analyze(SEED_REQUEST), fetcher.analyze(SEED_REQUEST))
    assert first == second == fetcher.analyze_trends(SEED_REQUEST)


def test_the_schema_is_that_of_the_specifications() -> None:
    assert specs.schema("TREND_ANALYSIS.output") == trends.TREND_ANALYSIS_SCHEMA
