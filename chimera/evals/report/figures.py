"""The one JSON object of an evaluation: conditions, figures, goals, and whether it passed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any

from chimera.core.contracts import MissionStatus
from chimera.core.figures import Measured, machine, missed
from chimera.core.settings import Settings
from chimera.evals.baseline import means
from chimera.evals.cases import KINDS, dataset_digest
from chimera.evals.gates import LEVEL, RESAMPLES, SEED, Comparison, as_plain
from chimera.evals.observe import roles_played
from chimera.evals.results import CaseResult
from chimera.evals.runner import CONCURRENCY, REVIEWER
from chimera.evals.workspace import SCRIPTED_PRICE

NAME = "missions"
_VERSIONS = ("chimera-swarm", "langgraph", "langchain-core", "mcp", "deepeval")


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation."""

    results: Sequence[CaseResult]
    comparison: Comparison
    settings: Settings
    quick: bool
    seconds: float
    at: str
    scored_by: str
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def figures(self) -> dict[str, float]:
        """All numbers. ``cases`` and ``pass_rate`` are what other tools rely on."""
        return {**_counts(self.results), **_sizes(self.results), **_compared(self.comparison), **_means(self.results)}

    @property
    def goals(self) -> dict[str, tuple[str, float]]:
        """What has to hold."""
        found: dict[str, tuple[str, float]] = {"harness_errors": ("<=", 0), "regressions": ("<=", 0)}
        if self.comparison.pass_rate:
            found["pass_rate_change_high"] = (">=", 0)
            found["metrics_worse"] = ("<=", 0)
        return found

    @property
    def missed(self) -> list[str]:
        """The goals that do not hold."""
        return missed(self.figures, self.goals)

    @property
    def passed(self) -> bool:
        """Whether every goal holds."""
        return not self.missed

    def plain(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        return Measured(NAME, conditions(self), self.figures, self.goals).plain()

    def detailed(self) -> dict[str, Any]:
        """The same with every case and the comparison: the JSON report."""
        cases = [result.plain() for result in self.results]
        return {**self.plain(), "comparison": as_plain(self.comparison), "skipped": dict(self.skipped), "cases": cases}


def conditions(evaluation: Evaluation) -> dict[str, Any]:
    """Under which circumstances the figures came about."""
    cases = [result.record.case for result in evaluation.results]
    scripted = sum(bool(case.script) for case in cases)
    return {
        "at": evaluation.at,
        "seconds": round(evaluation.seconds, 1),
        "quick": evaluation.quick,
        **machine(_VERSIONS),
        "model": roles_played(evaluation.settings),
        "store": "configured" if evaluation.settings.database_url else "embedded",
        "dataset_sha256": dataset_digest(cases),
        "seeds": {"bootstrap": SEED},
        "bootstrap": {"resamples": RESAMPLES, "level": LEVEL},
        "concurrency": CONCURRENCY,
        "scored_by": evaluation.scored_by,
        "baseline": evaluation.comparison.reason or f"{len(evaluation.comparison.compared)} cases compared",
        "skipped": dict(evaluation.skipped),
        "simulated": [
            f"{scripted} of {len(cases)} cases script at least one model",
            f"humans are played by a {REVIEWER}",
            "the desk server is a stand-in that writes to a file",
            f"scripted tokens cost {SCRIPTED_PRICE[0] / 1_000_000:g} USD a million, a price made up for some cases",
        ],
    }


def _counts(results: Sequence[CaseResult]) -> dict[str, float]:
    passed = [result for result in results if result.passed]
    plain = [result for result in results if result.record.case.kind == "plain"]
    doable = [result for result in plain if result.record.case.expect.status == [MissionStatus.DONE]]
    done = [result for result in doable if result.passed and result.record.status == MissionStatus.DONE]
    found: dict[str, float] = {
        "cases": len(results),
        "passed": len(passed),
        "pass_rate": _ratio(len(passed), len(results)),
        "harness_errors": sum(bool(result.record.problem) for result in results),
        "excused": sum(result.passed and result.record.excused() for result in results),
        "plain_done": _ratio(len(done), len(doable)),
    }
    for kind in KINDS:
        of_kind = [result for result in results if result.record.case.kind == kind]
        if of_kind:
            found[f"cases_{kind}"] = len(of_kind)
            found[f"pass_rate_{kind}"] = _ratio(sum(result.passed for result in of_kind), len(of_kind))
    return found


def _sizes(results: Sequence[CaseResult]) -> dict[str, float]:
    seen = [result.record for result in results if not result.record.problem]
    if not seen:
        return {}
    p50, p95 = _percentiles([record.seconds for record in seen])
    return {
        "mean_tool_calls": round(sum(len(record.performed) for record in seen) / len(seen), 2),
        "mean_model_calls": round(sum(len(record.model_calls) for record in seen) / len(seen), 2),
        "mean_tokens": round(sum(record.tokens for record in seen) / len(seen), 1),
        "p50_s": round(p50, 2),
        "p95_s": round(p95, 2),
    }


def _compared(comparison: Comparison) -> dict[str, float]:
    found: dict[str, float] = {
        "compared": len(comparison.compared),
        "regressions": len(comparison.regressed),
        "fixed": len(comparison.fixed),
    }
    if comparison.pass_rate:
        change = comparison.pass_rate
        found |= {
            "pass_rate_change": round(change.now - change.before, 4),
            "pass_rate_change_low": change.low,
            "pass_rate_change_high": change.high,
            "metrics_worse": sum(found.is_worse for found in comparison.means.values()),
        }
    return found


def _means(results: Sequence[CaseResult]) -> dict[str, float]:
    return {f"mean_{name}": value for name, value in means(results).items()}


def _percentiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) == 1:
        return values[0], values[0]
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[49], cuts[94]


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
