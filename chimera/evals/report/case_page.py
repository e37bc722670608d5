"""One case of the page: what was asked, what was expected, what happened, what was written."""

import json
from collections.abc import Iterable
from typing import Any

from chimera.evals.metrics import Score
from chimera.evals.record import Record
from chimera.evals.report.markup import Html, join, tag
from chimera.evals.results import CaseResult

DOCUMENT_SHOWN = 20_000
EVIDENCE_SHOWN = 30


def case_section(result: CaseResult) -> Html:
    """The case as a block that opens on a click; one that failed stands open."""
    record, case = result.record, result.record.case
    state = "passed" if result.passed else "failed"
    mark = tag("span", "✓" if result.passed else "✗", class_=f"mark {state}", aria_label=state)
    figures = f"{record.status}, {len(record.performed)} tool calls, {record.seconds:.1f} s"
    summary = tag(
        "summary",
        mark,
        tag("b", case.id),
        tag("span", case.kind.replace("_", " "), class_="chip"),
        tag("span", "scripted model", class_="chip") if case.script else None,
        tag("span", figures, class_="note"),
    )
    body = [
        _asked(record),
        _failures(result),
        _scores(result),
        _happened(record),
        _documents(record),
        _evidence(record),
    ]
    classes = f"case {state} {case.kind}"
    return tag(
        "details", summary, tag("div", *body, class_="inside"), id=case.id, class_=classes, open=not result.passed
    )


def _asked(record: Record) -> Html:
    case = record.case
    said = [f"{name}: {value}" for name, value in case.inputs.items()]
    options = case.options.model_dump(exclude_defaults=True, mode="json")
    expect = case.expect.model_dump(exclude_defaults=True, mode="json")
    return join(
        tag("blockquote", case.goal),
        tag("p", case.why, class_="note") if case.why else None,
        tag(
            "dl",
            *_term("given", said),
            *_term("options", [_brief(options)] if options else []),
            *_term(
                "script",
                [
                    f"{role}: {_brief([line.model_dump(exclude_defaults=True) for line in lines])}"
                    for role, lines in case.script.items()
                ],
            ),
            *_term("expected", [f"{name.replace('_', ' ')}: {_brief(value)}" for name, value in expect.items()]),
        ),
    )


def _term(title: str, values: Iterable[str]) -> list[Html]:
    shown = [tag("dd", value) for value in values]
    return [tag("dt", title), *shown] if shown else []


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 600 else f"{text[:600]} ..."


def _failures(result: CaseResult) -> Html | None:
    if result.passed:
        return None
    return tag("ul", *(tag("li", text) for text in result.failures), class_="failures")


def _scores(result: CaseResult) -> Html | None:
    rows = [_score(name, score) for name, score in [*result.scores.items(), *result.opinions.items()]]
    return tag("div", tag("table", tag("tbody", *rows)), class_="scroll scores") if rows else None


def _score(name: str, score: Score) -> Html:
    state = "passed" if score.passed else "failed"
    mark = tag("span", "✓" if score.passed else "✗", class_=f"mark {state}", aria_label=state)
    return tag("tr", tag("td", mark), tag("td", name), tag("td", f"{score.value:.2f}"), tag("td", score.reason))


def _happened(record: Record) -> Html | None:
    steps = [step for event in record.events if (step := _step(event)) is not None]
    told = [*(f"unmet: {text}" for text in record.result.unmet), *record.result.reasons] if record.result else []
    told += [f"raised: {record.raised}"] if record.raised else []
    if not steps and not told:
        return None
    return join(
        tag("h4", "What happened"),
        tag("ol", *steps, class_="steps") if steps else None,
        tag("ul", *(tag("li", text) for text in told)) if told else None,
    )


def _step(event: dict[str, Any]) -> Html | None:
    """An event of the audit log that a reader wants to see: plans, calls, rulings, questions, verdicts."""
    data = event["data"]
    match event["kind"]:
        case "plan":
            tasks = "; ".join(
                f"{task['id']} {task['title']} ({', '.join(task['tools']) or 'no tool'})" for task in data["tasks"]
            )
            return _line("plan", f"round {data['round']}, confidence {data['confidence']:.2f}: {tasks or 'no task'}")
        case "guard.decision" if data["edge"] == "tool_call" or data["action"] != "allow":
            rules = f" by {', '.join(data['rules'])}" if data["rules"] else ""
            text = f"{data['edge'].replace('_', ' ')} {data.get('capability', '')}: {data['action']}{rules}"
            return _line("guard", text, data["action"])
        case "verdict":
            return _line(
                "judge", f"{data['task']}: {data['outcome']}. {'; '.join(data['reasons'])}".strip(), data["outcome"]
            )
        case "review.asked":
            return _line("asked", data["question"])
        case "review.answered":
            return _line("answer", f"{data['action']} by {data['reviewer']}. {data['reason']}".strip(), data["action"])
        case _:
            return None


def _line(kind: str, text: str, mood: str = "") -> Html:
    return tag("li", tag("span", kind, class_=f"tagged {mood}".strip()), text)


def _documents(record: Record) -> Html | None:
    if not record.documents:
        return None
    shown = [
        tag(
            "details",
            tag("summary", f"{name}, {len(text):,} characters"),
            tag("pre", text[:DOCUMENT_SHOWN]),
            class_="document",
        )
        for name, text in record.documents.items()
    ]
    return join(tag("h4", "What was written"), *shown)


def _evidence(record: Record) -> Html | None:
    if not record.evidence:
        return None
    rows = [
        tag("tr", tag("td", tag("code", item.id)), tag("td", item.text), tag("td", item.source.rpartition("/")[2]))
        for item in record.evidence[:EVIDENCE_SHOWN]
    ]
    title = f"Evidence, {len(record.evidence)} pieces"
    return tag(
        "details",
        tag("summary", title),
        tag("div", tag("table", tag("tbody", *rows)), class_="scroll"),
        class_="document",
    )
