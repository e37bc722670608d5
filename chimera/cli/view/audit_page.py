"""The compliance report as one HTML file: no script, nothing loaded from anywhere, light and dark."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, cast

import chimera.evals.report
from chimera.core.contracts import Threat
from chimera.evals.report.markup import Html, Part, join, raw, tag
from chimera.store.audit.kinds import kind_of
from chimera.store.audit.owasp import risk_of, risks
from chimera.store.audit.report import LISTED, Summary

_STYLES = (Path(chimera.evals.report.__file__).parent / "page.css", Path(__file__).parent / "audit_page.css")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
ACTIONS = ("allow", "edit", "escalate", "reject")


def page(summary: Summary) -> str:
    """The whole document."""
    title = f"Compliance report: {summary.part.tenant}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", raw("".join(path.read_text(encoding="utf-8") for path in _STYLES))),
    )
    body = tag(
        "body",
        _header(summary),
        tag(
            "main",
            _record(summary),
            _decisions(summary),
            _rules(summary),
            _risks(summary),
            _critical(summary),
            _incidents(summary),
            _reviews(summary),
            _policy(summary),
            _checkpoints(summary),
        ),
        _footer(summary),
    )
    return f'<!doctype html>\n<html lang="en">{head}{body}</html>\n'


def _header(summary: Summary) -> Html:
    intact = not isinstance(summary.verified, str)
    refused = sum(number for (_, action), number in summary.decisions.items() if action == "reject")
    opened = sum(incident.state == "open" for incident in summary.incidents)
    part = summary.part
    until = _time(part.until) if part.until else "the moment it was made"
    about = f" of the mission {part.mission_id}" if part.mission_id else ""
    cards = [
        ("events", f"{summary.events:,}", f"{len(summary.kinds)} kinds"),
        ("decisions", f"{sum(summary.decisions.values()):,}", f"{refused:,} rejected"),
        ("high or critical", f"{summary.threats['high'] + summary.threats['critical']:,}", "threats met"),
        ("incidents", f"{len(summary.incidents):,}", f"{opened:,} open"),
        ("human answers", f"{summary.reviews.answered:,}", f"{summary.reviews.open:,} questions open"),
        ("policy", f"{len(summary.policy):,}", "events, permissions included"),
    ]
    mark = tag("span", "record intact" if intact else "record broken", class_=f"verdict {_mood(intact)}")
    return tag(
        "header",
        tag("p", "Chimera compliance report", class_="eyebrow"),
        tag("h1", part.tenant, " ", mark),
        tag("p", f"Everything{about} from {_time(part.since) if part.since else 'the beginning'} to {until}."),
        tag("div", *(_card(*card) for card in cards), class_="cards"),
    )


def _record(summary: Summary) -> Html:
    found = summary.verified
    if isinstance(found, str):
        told = tag("ul", tag("li", found), class_="failures")
        return tag(
            "section", tag("h2", "The record"), told, tag("p", "What follows is told by a record that was changed.")
        )
    signed = f"Events {found.signed_from:,} to {found.signed_to:,} are signed, by {found.checkpoints:,} checkpoints"
    checked = "and the signatures hold" if found.trusted else "and nobody looked whether by a key that is trusted"
    after = found.last - found.signed_to
    lines = [
        f"The hash chain of all {found.events:,} events was walked, and none was changed, removed, added or moved.",
        f"{signed}, {checked}." if found.signed_to else "No event is signed.",
        f"{after:,} events came after the last signature." if found.signed_to and after else "",
    ]
    return tag("section", tag("h2", "The record"), *(tag("p", text) for text in lines if text), _head(found.head))


def _head(head: str) -> Html | None:
    return tag("p", "Its end is ", tag("code", head), class_="note") if head else None


def _decisions(summary: Summary) -> Html:
    edges = sorted({edge for edge, _ in summary.decisions})
    rows = [
        _row(edge, *(f"{summary.decisions[(edge, action)]:,}" for action in ACTIONS), _share(summary, edge))
        for edge in edges
    ]
    most = max(summary.threats.values(), default=0)
    levels = [
        _row(_chip(threat.value), f"{summary.threats[threat]:,}", _bar(summary.threats[threat], most))
        for threat in Threat
    ]
    return tag(
        "section",
        tag("h2", "Decisions"),
        _table(["edge", *ACTIONS, "let through"], rows, "No guard decided anything in this time."),
        tag("h4", "By threat"),
        _table(["threat", "decisions", ""], levels),
    )


def _share(summary: Summary, edge: str) -> Html:
    counts = [summary.decisions[(edge, action)] for action in ACTIONS]
    through, whole = counts[0] + counts[1], sum(counts)
    return join(tag("span", f"{through / whole:.1%}" if whole else ""), _bar(through, whole))


def _rules(summary: Summary) -> Html:
    named = sorted({rule for rule, _ in summary.rules}, key=lambda rule: (-_total(summary, rule), rule))
    rows = [
        _row(
            tag("code", rule),
            _risk(risk_of(rule)),
            *(f"{summary.rules[(rule, action)]:,}" for action in ACTIONS),
        )
        for rule in named
    ]
    return tag(
        "section",
        tag("h2", "Rules that had something to say"),
        _table(["rule", "OWASP", *ACTIONS], rows, "No rule had anything to say in this time."),
    )


def _total(summary: Summary, rule: str) -> int:
    return sum(summary.rules[(rule, action)] for action in ACTIONS)


def _risks(summary: Summary) -> Html:
    most = max(summary.risks.values(), default=0)
    rows = [
        _row(tag("b", risk), title, f"{summary.risks[risk]:,}", _bar(summary.risks[risk], most))
        for risk, title in risks().items()
    ]
    return tag(
        "section",
        tag("h2", "OWASP Top 10 for Agentic Applications"),
        tag("p", "Decisions in which a rule against a risk had something to say."),
        _table(["id", "risk", "decisions", ""], rows),
    )


def _critical(summary: Summary) -> Html:
    rows = [
        _row(
            _time(event.get("at")),
            _chip(str(_data(event).get("threat"))),
            str(_data(event).get("edge")),
            str(event.get("actor")),
            tag("code", ", ".join(_texts(_data(event).get("rules")))),
            "; ".join(_texts(_data(event).get("reasons"))),
        )
        for event in summary.critical
    ]
    return tag(
        "section",
        tag("h2", "High and critical threats"),
        _table(["at", "threat", "edge", "agent", "rules", "reasons"], rows, "None in this time."),
        _cut(len(rows)),
    )


def _incidents(summary: Summary) -> Html:
    rows = [
        _row(
            join(_time(incident.opened_at), tag("span", incident.id[:8], class_="note")),
            _chip(incident.state),
            incident.agent,
            tag("code", incident.rule),
            ", ".join(incident.quarantined) or "nobody",
            join(
                f"{incident.released_by}, {_time(incident.released_at)}"
                if incident.released_at
                else "waits for a human",
                tag("span", incident.reason, class_="note") if incident.reason else None,
            ),
        )
        for incident in summary.incidents
    ]
    return tag(
        "section",
        tag("h2", "Security incidents"),
        _table(["opened", "state", "agent", "rule", "held back", "released by"], rows, "None in this time."),
        _cut(len(rows)),
    )


def _reviews(summary: Summary) -> Html:
    found = summary.reviews
    people = [
        _row(name, f"{len(taken):,}", _duration(median(taken)), _duration(max(taken)))
        for name, taken in sorted(found.by.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
    asked = [
        _row(
            _time(row["created_at"]),
            _chip(str(row["point"])),
            str(row["question"]),
            _chip(_answer(row, "action") or "open"),
            _answer(row, "reviewer"),
            _duration((row["decided_at"] - row["created_at"]).total_seconds()) if row["decided_at"] else "",
        )
        for row in reversed(found.rows)
    ]
    return tag(
        "section",
        tag("h2", "Human reviews"),
        _table(["by", "answers", "half took at most", "longest"], people, "Nobody answered anything in this time."),
        tag("h4", "Questions"),
        _table(["asked", "about", "question", "answer", "by", "after"], asked, "Nothing was asked in this time."),
        _cut(len(asked)),
    )


def _answer(row: Mapping[str, Any], name: str) -> str:
    decision: Mapping[str, Any] = row["decision"] or {}
    return str(decision.get(name) or "")


def _policy(summary: Summary) -> Html:
    rows = [
        _row(
            _time(event.get("at")),
            kind_of(str(event.get("kind"))).title,
            str(event.get("actor")),
            "; ".join(f"{name}: {value}" for name, value in _data(event).items() if value),
        )
        for event in summary.policy
    ]
    return tag(
        "section",
        tag("h2", "Changes of policy and permissions"),
        _table(["at", "what", "by", "details"], rows, "None in this time."),
        _cut(len(rows)),
    )


def _checkpoints(summary: Summary) -> Html:
    rows = [
        _row(_time(one.at), f"{one.seq:,}", tag("code", one.key), tag("code", f"{one.hash[:16]}…"))
        for one in summary.checkpoints[-LISTED:]
    ]
    return tag(
        "section",
        tag("h2", "Signed checkpoints"),
        _table(["signed", "events up to", "key", "head"], rows, "None was signed in this time."),
        _cut(len(rows)),
    )


def _footer(summary: Summary) -> Html:
    rows = [
        _row(tag("code", kind), kind_of(kind).title, f"{number:,}") for kind, number in sorted(summary.kinds.items())
    ]
    return tag(
        "footer",
        tag("h2", "All events"),
        _table(["kind", "what", "events"], rows, "None in this time."),
        tag("p", f"Made {_time(summary.made_at)}. Times are UTC."),
    )


def _card(title: str, value: str, note: str) -> Html:
    return tag(
        "div", tag("span", title, class_="label"), tag("strong", value), tag("span", note, class_="note"), class_="card"
    )


def _chip(text: str) -> Html:
    return tag("span", text, class_=f"tagged {text}" if text.isalpha() and text.isascii() else "tagged")


def _risk(risk: str) -> Html:
    return join(tag("b", risk), tag("span", risks()[risk], class_="note")) if risk else join("none declared")


def _bar(value: int, whole: int) -> Html:
    share = value / whole if whole else 0.0
    return tag("div", tag("div", style=f"width:{share:.1%}"), class_="bar plain", role="img", aria_label=f"{share:.1%}")


def _row(*cells: Part) -> Html:
    return tag("tr", *(tag("td", cell) for cell in cells))


def _table(names: Iterable[str], rows: list[Html], none: str = "") -> Html:
    if not rows:
        return tag("p", none, class_="note")
    head = tag("tr", *(tag("th", name, scope="col") for name in names))
    return tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), class_="scroll")


def _cut(shown: int) -> Html | None:
    return tag("p", f"Only {LISTED} are listed; the figures count all.", class_="note") if shown >= LISTED else None


def _mood(good: bool) -> str:
    return "passed" if good else "failed"


def _data(event: Mapping[str, Any]) -> Mapping[str, Any]:
    return event.get("data") or {}


def _texts(value: Any) -> list[str]:
    return [str(item) for item in cast("list[object]", value)] if isinstance(value, list) else []


def _time(at: object) -> str:
    """A time in UTC to the second; what is none, as it is."""
    try:
        moment = at if isinstance(at, datetime) else datetime.fromisoformat(str(at))
        return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return str(at)


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
