"""Trend analysis of a configured feed, as the contract TREND_ANALYSIS of the specifications.

Use:
    result = TrendFetcher("posts.csv").analyze_trends({"timeframe": "24h", "keywords": ["AI"]})
"""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chimera.core.errors import ConfigError, InputError
from chimera.core.settings import load_settings
from chimera.core.specs import problems, schema
from chimera.tools.feeds.analysis.report import about, cited, clip, frame, stamp, trend
from chimera.tools.feeds.analysis.risers import Rise
from chimera.tools.feeds.analysis.study import Analysis, study
from chimera.tools.feeds.model import Feed, Post
from chimera.tools.feeds.read import read_feed

_PLATFORM = re.compile(r"(?:^|[_.\s])(?:platform|network|source|site)$", re.IGNORECASE)


def __getattr__(name: str) -> Any:
    """``TREND_ANALYSIS_SCHEMA``, read from the specifications when it is asked for."""
    if name == "TREND_ANALYSIS_SCHEMA":
        return schema("TREND_ANALYSIS.output")
    raise AttributeError(name)


class TrendFetcher:
    """Analyses one feed: ``feed``, or the one that the setting ``trend_feed`` names. It never makes up a post."""

    def __init__(self, feed: str | Path | None = None) -> None:
        self._feed = None if feed is None else str(feed)

    def analyze_trends(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a TREND_ANALYSIS.input with a TREND_ANALYSIS.output. Blocks while it reads the feed.

        Raises:
            InputError: the request does not fit its schema.
            ConfigError: no feed is given, and none is set.
            FeedUnreadable: the feed cannot be read.
        """
        wrong = problems("TREND_ANALYSIS.input", dict(request))
        if wrong:
            raise InputError(
                f"trend request: {wrong[0]}", remedy="Give platform, timeframe, keywords and limit as specified."
            )
        settings = load_settings()
        source = self._feed or settings.trend_feed
        if not source:
            raise ConfigError(
                "no feed to analyse trends of",
                remedy="Set CHIMERA_TREND_FEED to a file or URL of posts, or give it: TrendFetcher(feed).",
            )
        return _answer(read_feed(source, max_bytes=settings.feed_max_bytes), request)

    async def analyze(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The same from async code, in a thread.

        Raises:
            InputError: the request does not fit its schema.
            ConfigError: no feed is given, and none is set.
            FeedUnreadable: the feed cannot be read.
        """
        return await asyncio.to_thread(self.analyze_trends, request)


def _answer(feed: Feed, request: Mapping[str, Any]) -> dict[str, Any]:
    platform: str | None = request.get("platform")
    posts, note = _of_platform(feed, platform)
    keywords: list[str] = request.get("keywords", [])
    found = study(
        feed, timeframe=request.get("timeframe"), keywords=keywords, limit=request.get("limit", 10), posts=posts
    )
    notes = [*([note] if note else []), *found.notes]
    terms = found.rising
    if not terms and not keywords and found.frequent:
        terms = found.frequent
        notes.append("nothing rises in this window; the trends are its most frequent terms")
    measured = [("keyword", rise) for rise in found.keywords] + [("term", rise) for rise in terms]
    trends = [
        {"kind": kind, "figures": f"{feed.name}:trend-{number}", **trend(feed, rise)}
        for number, (kind, rise) in enumerate(measured, 1)
    ]
    figures = [_figures(found, item["figures"], rise) for item, (_, rise) in zip(trends, measured, strict=True)]
    return {
        "platform": platform,
        "keywords": keywords,
        **about(feed),
        **frame(found.counts),
        "trends": trends,
        "evidence": [*figures, *cited(feed, trends)],
        "notes": notes,
    }


def _figures(found: Analysis, cite: str, rise: Rise) -> dict[str, str]:
    """The line that holds the numbers of one trend: computed from the feed, and citable like its posts."""
    windows = found.counts.windows
    text = (
        f"{clip(rise.term, 120)}: {rise.now} posts in the {windows.timeframe} to {stamp(windows.end)}, "
        f"{rise.before:g} per {windows.timeframe} before, score {rise.score:g}"
    )
    return {"id": cite, "text": text, "source": found.feed.source, "sha256": found.feed.sha256}


def _of_platform(feed: Feed, platform: str | None) -> tuple[list[Post] | None, str | None]:
    """The posts of ``platform`` where the feed tells them apart, else all with a note that nobody has checked it."""
    if platform is None:
        return None, None
    column = next((name for name, role in feed.columns if role != "time" and _PLATFORM.search(name)), None)
    if column is None:
        return None, f"unverified platform: the feed does not say that its posts are from {platform}"
    posts = [post for post in feed.posts if post.fields.get(column, "").strip().casefold() == platform.casefold()]
    return posts, None if posts else f"no post of the feed is from {platform}"
