"""JSON Schemas of what the ``trends`` tools answer."""

from typing import Any

_TEXT: dict[str, Any] = {"type": "string"}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_AMOUNT: dict[str, Any] = {"type": "number", "minimum": 0}


def _closed(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": [*properties], "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_EVIDENCE = _list(_closed(id=_TEXT, text=_TEXT, source=_TEXT, sha256=_TEXT))
_ABOUT: dict[str, dict[str, Any]] = {
    "source": _TEXT,
    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "digest of the feed as it was read"},
    "kind": {"enum": ["rss", "atom", "json", "jsonl", "csv"]},
    "rows": {**_COUNT, "description": "posts that could be used"},
    "broken_rows": _COUNT,
    "broken": _list(_closed(row=_COUNT, why=_TEXT)),
}
_TREND = _closed(
    term=_TEXT,
    now={**_COUNT, "description": "posts in the window"},
    before={**_AMOUNT, "description": "mean number of posts per earlier window of the same length"},
    growth={"type": ["number", "null"], "description": "now divided by before; null when there were none before"},
    score={"type": "number", "description": "how many standard deviations above what was expected"},
    evidence={**_list(_TEXT), "description": "evidence ids of posts"},
)

ANALYSIS = _closed(
    **_ABOUT,
    timeframe=_TEXT,
    window=_closed(start=_TEXT, end=_TEXT, hours={"type": "number"}),
    baseline=_closed(start=_TEXT, end=_TEXT, windows=_AMOUNT),
    volume=_closed(now=_COUNT, before=_AMOUNT),
    keywords=_list(_TREND),
    counts=_list(_closed(term=_TEXT, count=_COUNT)),
    risers=_list(_TREND),
    evidence=_EVIDENCE,
    notes=_list(_TEXT),
)
"""Answer of ``analyze_trends``."""

LATEST = _closed(
    **_ABOUT, posts=_list(_closed(text=_TEXT, at=_TEXT, evidence=_list(_TEXT))), evidence=_EVIDENCE, notes=_list(_TEXT)
)
"""Answer of ``read_feed``."""
