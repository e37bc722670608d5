"""The report about confidences as one HTML file: no script, nothing loaded, and a plot of each point as SVG."""

from typing import Any

from chimera.evals.report.markup import Html, join, raw, tag

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "svg{max-width:22rem;width:100%;height:auto}.axis,.ideal{stroke:currentColor;fill:none}.ideal{stroke-dasharray:4 4}"
    ".bin{fill:#2563eb}.range{stroke:#2563eb;stroke-width:2}text{fill:currentColor;font-size:12px}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#eee}.bin{fill:#7aa7ff}.range{stroke:#7aa7ff}}"
)
_SIZE, _EDGE = 300.0, 40.0


def page(points: list[dict[str, Any]]) -> str:
    """The whole document. Names of tenants, points and topics are text, whatever they hold."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", "What confidences are worth"),
        tag("style", raw(_STYLE)),
    )
    sections = [_section(point) for point in points] or [tag("p", "Nothing was judged yet.")]
    body = tag("body", tag("main", tag("h1", "What confidences are worth"), *sections))
    return f'<!doctype html>\n<html lang="en">{head}{body}</html>\n'


def _section(point: dict[str, Any]) -> Html:
    name = f"{point['point']}, {point['topic']}, tenant {point['tenant']}"
    bands = [
        tag("li", f"{band['side']} at {band['threshold']:.3f}, error at most {band['bound']:.3f}: {band['why']}")
        for band in point["bands"]
    ]
    could = [tag("li", f"{side}: {one['why']}") for side, one in point["could_be"].items()]
    return tag(
        "section",
        tag("h2", name),
        tag("p", f"{point['judged']} results judged, {point['decided']} decided by humans; alpha {point['alpha']:g}."),
        tag("p", "The band was closed; everything waits for a human.") if point["closed"] else None,
        tag("h3", "In force"),
        tag("ul", *bands) if bands else tag("p", "No certificate."),
        tag("h3", "What the decisions would carry now"),
        tag("ul", *could),
        _plot(point["bins"], name) if point["bins"] else None,
    )


def _plot(bins: list[dict[str, Any]], name: str) -> Html:
    """Stated probability to the right, share that humans approved upwards, with the range that holds the true one."""
    box = {"x": f"{_EDGE:g}", "y": "0", "width": f"{_SIZE:g}", "height": f"{_SIZE:g}", "class_": "axis"}
    ideal = {"x1": f"{_EDGE:g}", "y1": f"{_SIZE:g}", "x2": f"{_EDGE + _SIZE:g}", "y2": "0", "class_": "ideal"}
    marks = [_mark(one) for one in bins]
    return tag(
        "svg",
        tag("title", f"Reliability: {name}"),
        tag("rect", **box),
        tag("line", **ideal),
        *marks,
        tag("text", "stated probability", x=f"{_EDGE + _SIZE / 3:g}", y=f"{_SIZE + 30:g}"),
        tag("text", "approved", x="0", y="12"),
        viewBox=f"0 0 {_SIZE + _EDGE + 10:g} {_SIZE + _EDGE:g}",
        role="img",
    )


def _mark(one: dict[str, Any]) -> Html:
    at = _x(one["stated"])
    told = tag("title", f"{one['approved']} of {one['count']}")
    return join(
        tag("line", x1=at, x2=at, y1=_y(one["low"]), y2=_y(one["high"]), class_="range"),
        tag("circle", told, cx=at, cy=_y(one["share"]), r="5", class_="bin"),
    )


def _x(share: float) -> str:
    return f"{_EDGE + _SIZE * share:.1f}"


def _y(share: float) -> str:
    return f"{_SIZE * (1 - share):.1f}"
