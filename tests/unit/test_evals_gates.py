"""A run that is worse than the baseline is named as such, case by case and in the mean; nothing else is compared.

Proves FR-67: what is a regression, what is new, and that the committed baseline speaks for the committed cases.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from chimera.core.errors import InputError, SpecError
from chimera.evals.baseline import Baseline, load_baseline, make_baseline, means, write_baseline
from chimera.evals.cases import Case, dataset_digest, load_cases
from chimera.evals.gates import bootstrap, compare
from chimera.evals.metrics import Score
from chimera.evals.record import Record
from chimera.evals.results import CaseResult

NAMES = [f"case-{number:02d}" for number in range(20)]


def results(failing: Sequence[str] = (), value: float = 1.0, goal: str = "x") -> list[CaseResult]:
    found: list[CaseResult] = []
    for name in NAMES:
        case = Case.model_validate({"id": name, "kind": "plain", "goal": goal, "expect": {"status": ["done"]}})
        passed = name not in failing
        found.append(CaseResult(Record(case=case), {"status": Score(value if passed else 0.0, passed, "")}))
    return found


@pytest.fixture
def baseline() -> Baseline:
    """All cases passed but the last one."""
    return make_baseline(results([NAMES[-1]]), "offline")


def test_the_same_results_are_no_change(baseline: Baseline) -> None:
    found = compare(results([NAMES[-1]]), baseline, "offline", whole=True)
    assert (found.reason, found.regressed, found.fixed, found.new, found.gone, found.worse) == ("", [], [], [], [], [])
    assert found.compared == NAMES
    assert found.pass_rate
    assert (found.pass_rate.before, found.pass_rate.now, found.pass_rate.low, found.pass_rate.high) == (
        0.95,
        0.95,
        0,
        0,
    )


def test_one_case_that_fails_now_is_a_regression_even_if_others_were_fixed(baseline: Baseline) -> None:
    found = compare(results([NAMES[0]]), baseline, "offline", whole=True)
    assert (found.regressed, found.fixed, found.worse) == ([NAMES[0]], [NAMES[-1]], [])


def test_a_case_that_could_not_be_observed_is_a_regression(baseline: Baseline) -> None:
    now = results([NAMES[-1]])
    now[3] = CaseResult(Record(case=now[3].record.case, problem="broke"), {})
    assert compare(now, baseline, "offline", whole=True).regressed == [NAMES[3]]


def test_a_mean_that_falls_beyond_chance_is_worse(baseline: Baseline) -> None:
    found = compare(results([NAMES[-1]], value=0.8), baseline, "offline", whole=True)
    assert found.regressed == []
    assert found.worse == ["status"]
    many = compare(results(NAMES[:8]), baseline, "offline", whole=True)
    assert many.worse == ["pass_rate", "status"]


def test_a_changed_case_is_new_and_not_compared(baseline: Baseline) -> None:
    now = results([NAMES[0]])
    now[0] = results([NAMES[0]], goal="another")[0]
    found = compare(now, baseline, "offline", whole=True)
    assert (found.new, found.regressed) == ([NAMES[0]], [])
    assert NAMES[0] not in found.compared


def test_a_part_is_compared_with_its_part_and_misses_nothing(baseline: Baseline) -> None:
    now = results([NAMES[0]])[:5]
    assert compare(now, baseline, "offline", whole=False).gone == []
    found = compare(now, baseline, "offline", whole=True)
    assert found.gone == NAMES[5:]
    assert found.pass_rate
    assert (found.pass_rate.before, found.pass_rate.now) == (1.0, 0.8)


def test_nothing_is_compared_without_a_baseline_of_the_same_model(baseline: Baseline) -> None:
    assert "no baseline" in compare(results(), None, "offline", whole=True).reason
    other = compare(results(NAMES), baseline, "openai:x", whole=True)
    assert "offline" in other.reason
    assert "openai:x" in other.reason
    assert (other.regressed, other.pass_rate) == ([], None)
    changed = compare(results(goal="another"), baseline, "offline", whole=True)
    assert "no case is the same" in changed.reason


def test_the_interval_is_repeatable_and_covers_what_it_should() -> None:
    differences = [0.0] * 18 + [-1.0, -1.0]
    low, high = bootstrap(differences)
    assert (low, high) == bootstrap(differences)
    assert low < -0.1 < high <= 0
    assert bootstrap([0.0] * 10) == (0, 0)
    assert bootstrap([-1.0] * 10) == (-1, -1)


def test_a_baseline_survives_its_file_and_has_a_line_for_each_case(tmp_path: Path, baseline: Baseline) -> None:
    path = tmp_path / "deep" / "missions.json"
    assert load_baseline(path) is None
    write_baseline(baseline, path)
    assert load_baseline(path) == baseline
    lines = path.read_text().splitlines()
    assert sum(any(f'"{name}"' in line for name in NAMES) for line in lines) == len(NAMES)
    path.write_text('{"model": 1}')
    with pytest.raises(SpecError, match=r"missions\.json is no baseline"):
        load_baseline(path)


def test_a_baseline_that_cannot_be_written_is_one_error(tmp_path: Path, baseline: Baseline) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_baseline(baseline, tmp_path / "file" / "missions.json")


def test_means_are_over_the_cases_that_a_metric_applies_to() -> None:
    now = results([NAMES[0]])[:2]
    now.append(CaseResult(now[0].record, {"other": Score(0.5, False, "")}))
    assert means(now) == {"other": 0.5, "status": 0.5}


def test_the_committed_baseline_is_of_the_committed_cases() -> None:
    cases, committed = load_cases(), load_baseline()
    assert committed is not None
    assert committed.dataset == dataset_digest(cases), "run `chimera eval missions --update-baseline`"
    assert {name: known.digest for name, known in committed.cases.items()} == {case.id: case.digest() for case in cases}
    assert committed.model == "offline"
