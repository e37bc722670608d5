"""Gates: today's results against the committed baseline, case by case, and by a paired bootstrap on the means."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chimera.evals.baseline import Baseline, BaselineCase
from chimera.evals.results import CaseResult

RESAMPLES = 2_000
SEED = 20_261_123
LEVEL = 0.95


@dataclass(frozen=True)
class Change:
    """How a mean moved on the cases that both sides have, with the paired bootstrap interval of the difference."""

    before: float
    now: float
    low: float
    high: float

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval lies below zero."""
        return self.high < 0


@dataclass(frozen=True)
class Comparison:
    """What changed since the baseline. ``reason`` says why nothing could be compared, if so."""

    reason: str = ""
    compared: list[str] = field(default_factory=list[str])
    regressed: list[str] = field(default_factory=list[str])
    fixed: list[str] = field(default_factory=list[str])
    new: list[str] = field(default_factory=list[str])
    gone: list[str] = field(default_factory=list[str])
    pass_rate: Change | None = None
    means: Mapping[str, Change] = field(default_factory=dict[str, Change])

    @property
    def worse(self) -> list[str]:
        """What got worse beyond chance: the pass rate, or a metric."""
        found = [name for name, change in self.means.items() if change.is_worse]
        return [*(["pass_rate"] if self.pass_rate and self.pass_rate.is_worse else []), *found]


def compare(results: Sequence[CaseResult], baseline: Baseline | None, model: str, *, whole: bool) -> Comparison:
    """Hold ``results`` against ``baseline``. ``whole``: all cases were run, so one that is missing is gone."""
    if baseline is None:
        return Comparison(reason="there is no baseline", new=[result.id for result in results])
    if baseline.model != model:
        why = f"the baseline is of the model {baseline.model}, this run is of {model}"
        return Comparison(reason=why, new=[result.id for result in results])
    both = [result for result in results if _same(result, baseline)]
    names = [result.id for result in both]
    was = {name: baseline.cases[name] for name in names}
    if not both:
        return Comparison(reason="no case is the same as in the baseline", new=[result.id for result in results])
    return Comparison(
        compared=names,
        regressed=[result.id for result in both if was[result.id].passed and not result.passed],
        fixed=[result.id for result in both if not was[result.id].passed and result.passed],
        new=[result.id for result in results if result.id not in was],
        gone=sorted(set(baseline.cases) - {result.id for result in results}) if whole else [],
        pass_rate=_change([(float(was[result.id].passed), float(result.passed)) for result in both]),
        means=_metric_changes(both, was),
    )


def _same(result: CaseResult, baseline: Baseline) -> bool:
    known = baseline.cases.get(result.id)
    return known is not None and known.digest == result.record.case.digest()


def _metric_changes(both: Sequence[CaseResult], was: Mapping[str, BaselineCase]) -> dict[str, Change]:
    """Per metric, over the cases where it applied both times: where it applies may change with how a case ends."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for result in both:
        for name, score in result.scores.items():
            if name in was[result.id].scores:
                pairs.setdefault(name, []).append((was[result.id].scores[name], score.value))
    return {name: _change(found) for name, found in sorted(pairs.items())}


def _change(pairs: Sequence[tuple[float, float]]) -> Change:
    before, now = (sum(side) / len(pairs) for side in zip(*pairs, strict=True))
    low, high = bootstrap([after - earlier for earlier, after in pairs])
    return Change(round(before, 4), round(now, 4), low, high)


def bootstrap(differences: Sequence[float], resamples: int = RESAMPLES, seed: int = SEED) -> tuple[float, float]:
    """Percentile interval of the mean of paired differences. Source: Efron and Tibshirani (1993), chapter 13."""
    source = random.Random(seed)  # noqa: S311 - repeatability is the point, not secrecy
    count = len(differences)
    drawn = sorted(sum(source.choices(differences, k=count)) / count for _ in range(resamples))
    edge = (1 - LEVEL) / 2
    return round(drawn[int(edge * resamples)], 4), round(drawn[int((1 - edge) * resamples) - 1], 4)


def as_plain(comparison: Comparison) -> dict[str, Any]:
    """A comparison as plain data for the report."""

    def plain(change: Change | None) -> dict[str, float] | None:
        return {"before": change.before, "now": change.now, "low": change.low, "high": change.high} if change else None

    return {
        "reason": comparison.reason,
        "compared": len(comparison.compared),
        "regressed": comparison.regressed,
        "fixed": comparison.fixed,
        "new": comparison.new,
        "gone": comparison.gone,
        "pass_rate": plain(comparison.pass_rate),
        "means": {name: plain(change) for name, change in comparison.means.items()},
        "worse": comparison.worse,
    }
