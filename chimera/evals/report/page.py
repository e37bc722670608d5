"""The evaluation as one HTML file: no script, nothing loaded from anywhere, light and dark."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from chimera.evals.cases import KINDS
from chimera.evals.gates import Change
from chimera.evals.metrics import METRICS
from chimera.evals.report.case_page import case_section
from chimera.evals.report.figures import Evaluation, conditions
from chimera.evals.report.markup import Html, Part, join, raw, tag

_STYLE = Path(__file__).parent / "page.css"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(evaluation: Evaluation) -> str:
    """The whole document."""
    verdict = "passed" if evaluation.passed else "failed"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"Missions: {verdict}"),
        tag("style", raw(_STYLE.read_text(encoding="utf-8"))),
    )
    body = tag(
        "body",
        _header(evaluation),
        tag("main", _since(evaluation), _by_kind(evaluation), _metrics(evaluation), _cases(evaluation)),
        _footer(evaluation),
    )
    return f'<!doctype html>\n<html lang="en">{head}{body}</html>\n'


def _header(evaluation: Evaluation) -> Html:
    figures = evaluation.figures
    verdict = "passed" if evaluation.passed else "failed"
    missed = f"Goals missed: {', '.join(evaluation.missed)}." if evaluation.missed else "Every goal was met."
    size = "the quick part of the golden missions" if evaluation.quick else "all golden missions"
    cards = [
        ("pass rate", f"{figures['pass_rate']:.1%}", f"{figures['passed']:g} of {figures['cases']:g} cases"),
        ("regressions", f"{figures['regressions']:g}", f"{figures['compared']:g} cases compared"),
        ("harness errors", f"{figures['harness_errors']:g}", "cases that could not be observed"),
        ("plain goals done", f"{figures['plain_done']:.1%}", f"{figures['excused']:g} honest failures count as passed"),
        (
            "half of the missions took",
            f"{figures.get('p50_s', 0):.1f} s",
            f"95% at most {figures.get('p95_s', 0):.1f} s",
        ),
        ("tool calls", f"{figures.get('mean_tool_calls', 0):g}", "per mission, on average"),
    ]
    return tag(
        "header",
        tag("p", "Chimera evaluation", class_="eyebrow"),
        tag("h1", "Missions ", tag("span", f"gates {verdict}", class_=f"verdict {verdict}")),
        tag("p", f"{size[0].upper()}{size[1:]}, played by the model {conditions(evaluation)['model']}. {missed}"),
        tag("div", *(_card(*card) for card in cards), class_="cards"),
    )


def _card(title: str, value: str, note: str) -> Html:
    return tag(
        "div", tag("span", title, class_="label"), tag("strong", value), tag("span", note, class_="note"), class_="card"
    )


def _since(evaluation: Evaluation) -> Html:
    comparison = evaluation.comparison
    if comparison.reason or comparison.pass_rate is None:
        told = tag("p", f"Nothing was compared: {comparison.reason or 'there was nothing to compare'}.")
        return tag("section", tag("h2", "Since the baseline"), told)
    change = comparison.pass_rate
    sentence = (
        f"On {len(comparison.compared)} cases that both runs have, the pass rate went from {change.before:.1%} to "
        f"{change.now:.1%}. Resampled case by case, the change lies between {change.low:+.1%} and {change.high:+.1%}."
    )
    lists = [
        ("Worse than before", comparison.regressed, "bad"),
        ("Better than before", comparison.fixed, "good"),
        ("New or changed", comparison.new, ""),
        ("No longer there", comparison.gone, ""),
        ("Worse beyond chance", comparison.worse, "bad"),
    ]
    shown = [_names(title, names, mood) for title, names, mood in lists if names]
    return tag(
        "section", tag("h2", "Since the baseline"), tag("p", sentence), *(shown or [tag("p", "No case changed.")])
    )


def _names(title: str, names: Iterable[str], mood: str) -> Html:
    links = [tag("li", tag("a", name, href=f"#{name}")) for name in names]
    return tag("div", tag("h3", title), tag("ul", *links, class_="names"), class_=f"delta {mood}".strip())


def _by_kind(evaluation: Evaluation) -> Html:
    figures = evaluation.figures
    rows: list[Html] = []
    for kind in KINDS:
        count = figures.get(f"cases_{kind}")
        if count:
            rate = figures[f"pass_rate_{kind}"]
            rows.append(_row(kind.replace("_", " "), f"{count * rate:.0f} of {count:g}", _bar(rate), f"{rate:.1%}"))
    return tag("section", tag("h2", "By kind"), _table(["kind", "passed", "", "pass rate"], rows))


def _metrics(evaluation: Evaluation) -> Html:
    rows: list[Html] = []
    for metric in METRICS:
        scores = [result.scores[metric.name] for result in evaluation.results if metric.name in result.scores]
        if scores:
            mean = sum(score.value for score in scores) / len(scores)
            passed = sum(score.passed for score in scores)
            moved = _moved(evaluation.comparison.means.get(metric.name))
            name = join(metric.name, tag("span", metric.title, class_="note"))
            rows.append(_row(name, f"{passed} of {len(scores)}", _bar(mean), f"{mean:.3f}", moved))
    skipped = [tag("li", tag("b", name), f": {why}") for name, why in evaluation.skipped.items()]
    return tag(
        "section",
        tag("h2", "Metrics"),
        tag("p", f"A case passes when every metric that applies to it holds. Scored by {evaluation.scored_by}."),
        _table(["metric", "held in", "", "mean", "since the baseline"], rows),
        tag("div", tag("h3", "Not measured"), tag("ul", *skipped)) if skipped else None,
    )


def _moved(change: Change | None) -> str:
    if change is None:
        return "not compared"
    return "same" if change.before == change.now else f"{change.now - change.before:+.3f}"


def _bar(value: float) -> Html:
    width = f"width:{max(0.0, min(1.0, value)):.1%}"
    return tag("div", tag("div", style=width), class_="bar", role="img", aria_label=f"{value:.1%}")


def _row(*cells: Part) -> Html:
    return tag("tr", *(tag("td", cell) for cell in cells))


def _table(names: Iterable[str], rows: Iterable[Html]) -> Html:
    head = tag("tr", *(tag("th", name, scope="col") for name in names))
    return tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), class_="scroll")


def _cases(evaluation: Evaluation) -> Html:
    choices = ["all", "failed", *(kind for kind in KINDS if f"cases_{kind}" in evaluation.figures)]
    first = "failed" if any(not result.passed for result in evaluation.results) else "all"
    buttons: list[Html] = []
    for choice in choices:
        buttons.append(tag("input", type="radio", name="show", id=f"show-{choice}", checked=choice == first))
        buttons.append(tag("label", choice.replace("_", " "), for_=f"show-{choice}"))
    return tag(
        "section",
        tag("h2", "Cases"),
        tag("div", *buttons, class_="filter", role="radiogroup", aria_label="cases to show"),
        *(case_section(result) for result in evaluation.results),
    )


def _footer(evaluation: Evaluation) -> Html:
    found = conditions(evaluation)
    rows = [_row(name.replace("_", " "), _plainly(value)) for name, value in found.items() if value not in ({}, [])]
    return tag("footer", tag("h2", "Conditions"), _table(["what", "how it was"], rows))


def _plainly(value: Any) -> Html:
    if isinstance(value, dict):
        return tag("ul", *(tag("li", f"{key}: {item}") for key, item in cast("dict[str, Any]", value).items()))
    if isinstance(value, list):
        return tag("ul", *(tag("li", str(item)) for item in cast("list[Any]", value)))
    return join({True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value))
