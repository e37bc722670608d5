"""The report tells what was found, to machines and to people, and nothing that it shows can break out of its page.

Proves the form of FR-66's figures: one object, fixed keys, goals that decide; and that the page escapes everything.
"""

import html
import html.parser
import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from chimera.core.settings import Settings
from chimera.evals.baseline import make_baseline
from chimera.evals.cases import Case
from chimera.evals.gates import compare
from chimera.evals.metrics import Score
from chimera.evals.record import ANSWER, Record
from chimera.evals.report.figures import Evaluation
from chimera.evals.report.markup import tag
from chimera.evals.report.page import page
from chimera.evals.report.table import print_table, progress_line
from chimera.evals.report.visible import visible
from chimera.evals.results import CaseResult

ATTACK = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>\" onclick='x' \u202e\x1b[31m[red]"


def case_result(
    name: str, kind: str = "plain", *, passed: bool = True, text: str = "fine", problem: str = ""
) -> CaseResult:
    case = Case.model_validate(
        {"id": name, "kind": kind, "goal": text, "why": text, "inputs": {"feed": text}, "expect": {"status": ["done"]}}
    )
    event = {"kind": "guard.decision", "hash": ""}
    data = {
        "edge": "tool_call",
        "action": "reject",
        "rules": [text],
        "reasons": [text],
        "capability": text,
        "task": "t1",
    }
    record = Record(
        case=case,
        status="done",
        documents={ANSWER: text, text: text},
        events=[{**event, "data": data}],
        seconds=1.5,
        problem=problem,
    )
    return CaseResult(record, {"status": Score(float(passed), passed, text)}, {"graded": Score(0.4, False, text)})


def evaluation(*results: CaseResult) -> Evaluation:
    return Evaluation(
        results=results,
        comparison=compare(results, None, "offline", whole=True),
        settings=Settings(model="offline"),
        quick=True,
        seconds=2.0,
        at="2026-11-23T00:00:00+00:00",
        scored_by="the metrics themselves",
        skipped={"graded": "no judge"},
    )


class Elements(html.parser.HTMLParser):
    """What a browser would make of a page: its elements, their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: set[str] = set()
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_object_has_its_fixed_keys_and_is_json() -> None:
    whole = evaluation(case_result("one-case"), case_result("two-case", "malicious", passed=False))
    found = json.loads(json.dumps(whole.plain()))
    assert set(found) == {"name", "conditions", "figures", "goals", "pass"}
    assert found["name"] == "missions"
    assert (found["figures"]["cases"], found["figures"]["pass_rate"]) == (2, 0.5)
    assert (found["figures"]["pass_rate_plain"], found["figures"]["pass_rate_malicious"]) == (1.0, 0.0)
    assert all(isinstance(value, int | float) for value in found["figures"].values())
    assert {"machine", "cores", "python", "versions", "model", "seeds", "dataset_sha256", "simulated"} <= set(
        found["conditions"]
    )
    assert found["conditions"]["skipped"] == {"graded": "no judge"}
    assert found["pass"] is True, "without a baseline a failing case is a finding, not a regression"


def test_a_harness_error_misses_its_goal() -> None:
    broken = evaluation(case_result("one-case", problem="NameError"))
    assert (broken.passed, broken.missed) == (False, ["harness_errors"])
    assert broken.figures["harness_errors"] == 1


def test_a_regression_misses_its_goal() -> None:
    before = make_baseline([case_result("one-case"), case_result("two-case")], "offline")
    now = [case_result("one-case"), case_result("two-case", passed=False)]
    found = replace(evaluation(*now), comparison=compare(now, before, "offline", whole=True))
    assert found.missed == ["regressions"]
    assert found.plain()["goals"]["regressions"] == ["<=", 0]
    assert found.detailed()["comparison"]["regressed"] == ["two-case"]
    assert "two-case" in page(found)


def test_honest_failures_are_counted_apart() -> None:
    result = case_result("one-case")
    excused = result.record.case.model_copy(
        update={"expect": result.record.case.expect.model_copy(update={"status_offline": ["failed"]})}
    )
    found = evaluation(replace(result, record=replace(result.record, case=excused, status="failed")))
    assert (found.figures["pass_rate"], found.figures["excused"], found.figures["plain_done"]) == (1.0, 1, 0.0)


@pytest.mark.parametrize("passed", [True, False])
def test_the_page_is_whole_and_nothing_in_it_breaks_out(passed: bool) -> None:
    text = page(
        evaluation(case_result("one-case", passed=passed, text=ATTACK), case_result("two-case", problem=ATTACK))
    )
    found = Elements(text)
    assert {"script", "img", "link", "iframe", "form"}.isdisjoint(found.names)
    assert not {name for name in found.attributes if name.startswith("on") or name in ("src", "srcset", "action")}
    assert "<script>alert(1)</script>" in "".join(found.text), "it is shown, as text"
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "⟨U+202E⟩" in text
    assert "://" not in text, "nothing is loaded from anywhere"
    assert "default-src 'none'" in html.unescape(text)
    assert "prefers-color-scheme: dark" in text


def test_markup_escapes_what_it_did_not_make() -> None:
    inner = tag("b", "<i>", class_='x" onload="y')
    assert inner == '<b class="x&quot; onload=&quot;y">&lt;i&gt;</b>'
    assert tag("p", inner, None, 3, hidden=True, open=False) == f"<p hidden>{inner}3</p>"
    assert tag("meta", http_equiv="a") == '<meta http-equiv="a">'


def test_hidden_characters_become_visible_and_lines_stay() -> None:
    assert visible("a\u200bb\n\tc\x07") == "a⟨U+200B⟩b\n\tc⟨U+0007⟩"
    assert visible("Übung 日本 😀") == "Übung 日本 😀"


def test_the_table_names_what_failed_and_shows_no_foreign_markup() -> None:
    out = io.StringIO()
    found = evaluation(case_result("one-case"), case_result("two-case", passed=False, text=ATTACK))
    print_table(found, Console(file=out, width=160))
    plain = out.getvalue()
    assert "two-case" in plain
    assert "[red]" in plain, "markup of others is shown, not obeyed"
    assert "⟨U+001B⟩[31m" in plain
    assert "1 of 2 cases passed" in plain
    assert "Not compared: there is no baseline" in plain
    assert "fail" in progress_line(case_result("two-case", passed=False), 1, 2)
