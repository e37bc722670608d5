"""Golden missions played on real parts: servers, MCP tools, database, audit log; and the command's whole way out.

Proves FR-66 and FR-67: a sound product passes; one without a guard is caught, down to the canary that got out; a case
that breaks the harness costs the evaluation its pass and nobody else's case; the command writes its object, its page
and its file, exits by its goals, and leaves nothing behind.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import chimera.evals.run
from chimera.core.errors import ExtraMissing, InputError
from chimera.core.settings import Settings
from chimera.evals.baseline import BASELINE, Baseline, load_baseline, make_baseline, write_baseline
from chimera.evals.cases import Case, load_cases
from chimera.evals.deepeval_loading import load
from chimera.evals.record import Record
from chimera.evals.results import CaseResult, measured
from chimera.evals.run import main_missions
from chimera.evals.runner import REVIEWER, run_cases
from chimera.evals.workspace import settings_in, workspace
from chimera.guards.gateway import Chain, Chains
from chimera.guards.policy import watch
from chimera.guards.policy.document import Policy
from chimera.guards.policy.registry import Parts, build_chains

pytestmark = pytest.mark.timeout(120)


def golden(*names: str) -> list[Case]:
    known = {case.id: case for case in load_cases()}
    return [known[name] for name in names]


async def play(
    settings: Settings, *cases: Case, score: Callable[[Record], CaseResult] = measured
) -> Mapping[str, CaseResult]:
    async with workspace(settings) as own:
        return {result.id: result for result in await run_cases(cases, own, score)}


async def test_a_sound_product_passes_and_its_trajectory_is_on_record(settings: Settings) -> None:
    names = ["plain-rss-briefing", "plain-notice-approved", "plain-plan-answered-late", "malicious-obedient-reader"]
    found = await play(settings, *golden(*names))
    assert {name: result.failures for name, result in found.items()} == {name: [] for name in names}
    briefing, notice, late, obedient = (found[name].record for name in names)
    assert briefing.performed == ["trends__analyze_trends", "files__write_artifact"]
    assert {"grounding", "fabrication", "artifacts", "trail"} <= set(found["plain-rss-briefing"].scores)
    assert [(asked.point, asked.answer, asked.reviewer) for asked in notice.questions] == [
        ("security", "approve", REVIEWER)
    ]
    assert notice.notices == 1
    assert late.waited
    refused = [call for call in obedient.calls if not call.performed]
    assert [(call.name, call.rules) for call in refused] == [("trends__read_feed", ["flow.named-source"])]


async def test_without_its_guard_the_canary_gets_out_and_the_case_fails(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weak(policy: Policy, of: Parts) -> Chains:
        chains = build_chains(policy, of)
        return {
            edge: Chain([guard for guard in chain.guards if guard.rule != "flow.named-source"])
            for edge, chain in chains.items()
        }

    monkeypatch.setattr(watch, "build_chains", weak)
    found = (await play(settings, *golden("malicious-obedient-reader")))["malicious-obedient-reader"]
    failed = {name for name, score in found.scores.items() if not score.passed}
    assert failed == {"status", "fabrication", "guard", "bait"}


async def test_a_case_that_breaks_the_harness_disturbs_no_other(settings: Settings) -> None:
    (sound,) = golden("plain-unseen-tool")
    unplayable = sound.model_copy(
        update={"id": "one-broken", "options": sound.options.model_copy(update={"money": "a fortune"})}
    )
    unscorable = sound.model_copy(update={"id": "two-broken"})

    def score(record: Record) -> CaseResult:
        if record.case.id == "two-broken":
            raise ZeroDivisionError("a metric broke")
        return measured(record)

    found = await play(settings, unplayable, sound, unscorable, score=score)
    assert found["plain-unseen-tool"].passed
    assert "InputError" in found["one-broken"].failures[0] or found["one-broken"].record.raised
    assert not found["one-broken"].passed
    assert found["two-broken"].failures == ["harness: scoring: ZeroDivisionError: a metric broke"]


async def test_a_mission_that_does_not_come_home_is_a_harness_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chimera.evals.runner.GRACE_S", -0.5)
    (case,) = golden("budget-time-runs-out")
    hasty = case.model_copy(update={"options": case.options.model_copy(update={"deadline_s": 1.0})})
    found = (await play(settings, hasty))[case.id]
    assert not found.passed
    assert "did not come home within 0.5 s" in found.record.problem


async def test_the_place_of_an_evaluation_is_gone_afterwards(settings: Settings) -> None:
    async with workspace(settings) as own:
        assert (own.home / "feeds" / "loans.csv").is_file()
        assert own.home != settings.home
    assert not own.home.exists()


def test_policies_of_the_user_do_not_change_what_is_evaluated(settings: Settings, tmp_path: Path) -> None:
    odd = settings.model_copy(
        update={"max_attempts": 9, "auto_review": 0.1, "model": "openai:x", "model_timeout_s": 7.0}
    )
    own = settings_in(tmp_path, odd)
    assert (own.max_attempts, own.auto_review) == (2, 0.7)
    assert (own.model, own.model_timeout_s, own.database_url) == ("openai:x", 7.0, settings.database_url)


# --- the command -------------------------------------------------------------------------------------------------


@pytest.fixture
def command(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """``main_missions`` over two small cases, with a baseline file of the test's own; gives exit code and output."""
    baseline = tmp_path / "baseline.json"
    cases = golden("impossible-no-feed", "budget-no-tokens")

    def keep(made: Baseline) -> None:
        write_baseline(made, baseline)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(chimera.evals.run, "load_settings", lambda: settings)
    monkeypatch.setattr(chimera.evals.run, "load_cases", lambda: cases)
    monkeypatch.setattr(chimera.evals.run, "load_baseline", lambda: load_baseline(baseline))
    monkeypatch.setattr(chimera.evals.run, "write_baseline", keep)

    def run(
        *,
        quick: bool = True,
        as_json: bool = True,
        html: Path | None = None,
        json_file: Path | None = None,
        update_baseline: bool = False,
    ) -> tuple[int, str]:
        code = main_missions(quick, as_json, html, json_file, update_baseline)
        return code, capsys.readouterr().out

    return run


def test_the_command_prints_one_object_and_writes_both_reports(
    command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, out = command(html=tmp_path / "deep" / "r.html", json_file=tmp_path / "r.json")
    found = json.loads(out)
    assert code == 0
    assert (found["figures"]["cases"], found["figures"]["pass_rate"], found["pass"]) == (2, 1.0, True)
    assert found["conditions"]["baseline"] == "there is no baseline"
    assert "impossible-no-feed" in (tmp_path / "deep" / "r.html").read_text()
    detailed = json.loads((tmp_path / "r.json").read_text())
    assert detailed["figures"] == found["figures"]
    assert [case["id"] for case in detailed["cases"]] == ["impossible-no-feed", "budget-no-tokens"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "r.json"], "and nothing else is left"


def test_the_command_fails_on_a_regression(
    command: Callable[..., tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cases passed once; now missions that failed say that they are done."""
    cases = golden("impossible-no-feed", "budget-no-tokens")
    write_baseline(
        make_baseline([CaseResult(Record(case=case), {}) for case in cases], "offline"), tmp_path / "baseline.json"
    )
    code, out = command()
    assert (code, json.loads(out)["figures"]["regressions"]) == (0, 0)

    def worse(record: Record) -> CaseResult:
        return measured(replace(record, status="done"))

    monkeypatch.setattr(chimera.evals.run, "measured", worse)
    code, out = command(as_json=False)
    assert code == 1
    assert "worse: impossible-no-feed, budget-no-tokens" in out
    assert "FAIL" in out


def test_a_report_that_cannot_be_written_is_one_error(command: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        command(html=tmp_path / "file" / "r.html")


def test_the_baseline_is_made_of_a_full_run_only(command: Callable[..., tuple[int, str]]) -> None:
    with pytest.raises(InputError, match="full run"):
        command(update_baseline=True)


def test_the_full_run_names_the_extra_that_it_lacks(
    command: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "deepeval", None)
    monkeypatch.delitem(sys.modules, "chimera.evals.deepeval_metrics", raising=False)
    with pytest.raises(ExtraMissing) as missing:
        command(quick=False)
    assert "chimera-swarm[evals]" in missing.value.hint
    with pytest.raises(ModuleNotFoundError):
        load("no_such_module")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_all_golden_missions_hold_against_the_committed_baseline(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The full run, scored by deepeval's classes, on embedded servers of its own."""
    monkeypatch.setattr(chimera.evals.run, "load_settings", lambda: Settings(home=tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    assert BASELINE.is_file()
    code = main_missions(False, True, tmp_path / "r.html", tmp_path / "r.json", False)
    found = json.loads(capsys.readouterr().out)
    assert code == 0, (found["figures"], json.loads((tmp_path / "r.json").read_text())["comparison"])
    assert found["figures"]["harness_errors"] == 0
    assert found["figures"]["compared"] == found["figures"]["cases"] == len(load_cases())
    assert "deepeval" in found["conditions"]["scored_by"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.html", "r.json"]
