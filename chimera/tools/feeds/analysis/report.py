"""Analyses and posts as plain data, with the posts that they rest on under ids that claims can cite."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from chimera.core.errors import InputError
from chimera.tools.feeds.analysis.risers import Counts, Rise
from chimera.tools.feeds.analysis.study import Analysis
from chimera.tools.feeds.model import Feed, Post

BROKEN_SHOWN = 5
EVIDENCE_BYTES = 300
EVIDENCE_PER_TREND = 3
MAX_LATEST = 50
MAX_TERM_BYTES = 100
# White space, control characters, and marks that are invisible or turn the direction of writing.
_SPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")


def report(analysis: Analysis) -> dict[str, Any]:
    """The whole analysis: window, baseline, counts, risers, keywords, and the evidence for the latter two."""
    feed, counts = analysis.feed, analysis.counts
    result = {**about(feed), "broken": _broken(feed), **frame(counts)}
    result["keywords"] = [trend(feed, rise) for rise in analysis.keywords]
    result["counts"] = [{"term": clip(rise.term, MAX_TERM_BYTES), "count": rise.now} for rise in analysis.frequent]
    result["risers"] = [trend(feed, rise) for rise in analysis.rising]
    result["evidence"] = cited(feed, result["keywords"] + result["risers"])
    result["notes"] = analysis.notes
    return result


def latest(feed: Feed, limit: int = 20) -> dict[str, Any]:
    """The newest posts of ``feed``, newest first, as evidence.

    Raises:
        InputError: ``limit`` is out of range.
    """
    if not 1 <= limit <= MAX_LATEST:
        raise InputError(f"limit is {limit}, allowed are 1 to {MAX_LATEST}")
    newest = sorted(feed.posts, key=lambda post: (post.at, post.row), reverse=True)[:limit]
    return {
        **about(feed),
        "broken": _broken(feed),
        "posts": [
            {"text": clip(post.text), "at": stamp(post.at), "evidence": [feed.evidence_id(post.row)]} for post in newest
        ],
        "evidence": [evidence(feed, post) for post in newest],
        "notes": list(feed.notes),
    }


def about(feed: Feed) -> dict[str, Any]:
    """Where the posts come from."""
    return {
        "source": feed.source,
        "sha256": feed.sha256,
        "kind": feed.kind,
        "rows": len(feed.posts),
        "broken_rows": len(feed.broken),
    }


def frame(counts: Counts) -> dict[str, Any]:
    """What is compared with what."""
    windows = counts.windows
    return {
        "timeframe": windows.timeframe,
        "window": {
            "start": stamp(windows.start),
            "end": stamp(windows.end),
            "hours": round(windows.length.total_seconds() / 3600, 4),
        },
        "baseline": {
            "start": stamp(windows.baseline_start),
            "end": stamp(windows.start),
            "windows": round(windows.baseline_windows, 2),
        },
        "volume": {"now": counts.now, "before": round(counts.before, 2)},
    }


def trend(feed: Feed, rise: Rise) -> dict[str, Any]:
    """One measured term, with the ids of its first and its last posts in the window."""
    rows = [*rise.rows[:1], *rise.rows[1:][-(EVIDENCE_PER_TREND - 1) :]]
    return {
        "term": clip(rise.term, MAX_TERM_BYTES),
        "now": rise.now,
        "before": rise.before,
        "growth": rise.growth,
        "score": rise.score,
        "evidence": [feed.evidence_id(row) for row in rows],
    }


def cited(feed: Feed, trends: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    """The posts that ``trends`` name, each once, in the order of the feed."""
    ids = {cite for item in trends for cite in item["evidence"]}
    return [evidence(feed, post) for post in feed.posts if feed.evidence_id(post.row) in ids]


def evidence(feed: Feed, post: Post) -> dict[str, str]:
    """One row as it was read, on one line, short."""
    text = " | ".join(f"{name}: {value}" for name, value in post.fields.items() if value)
    return {"id": feed.evidence_id(post.row), "text": clip(text), "source": feed.source, "sha256": feed.sha256}


def clip(text: str, size: int = EVIDENCE_BYTES) -> str:
    """``text`` on one line without control characters, at most ``size`` bytes of UTF-8."""
    plain = _SPACE.sub(" ", text[: 8 * size].encode("utf-8", "replace").decode()).strip()
    data = plain.encode()
    return plain if len(data) <= size else data[: size - 3].decode(errors="ignore") + "…"


def stamp(at: datetime) -> str:
    """A moment in RFC 3339, in UTC, to the second."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _broken(feed: Feed) -> list[dict[str, Any]]:
    return [{"row": row, "why": clip(why, 160)} for row, why in feed.broken[:BROKEN_SHOWN]]
