"""A case with its scores: what passed, what did not, and what could not be measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chimera.evals.metrics import METRICS, Score
from chimera.evals.record import Record


@dataclass(frozen=True)
class CaseResult:
    """A record and what the metrics say about it. ``opinions`` are of a model: they are shown and do not decide."""

    record: Record
    scores: Mapping[str, Score]
    opinions: Mapping[str, Score] = field(default_factory=dict[str, Score])

    @property
    def id(self) -> str:
        """The case's id."""
        return self.record.case.id

    @property
    def passed(self) -> bool:
        """Whether it was observed and every metric that applies holds."""
        return not self.record.problem and all(score.passed for score in self.scores.values())

    @property
    def failures(self) -> list[str]:
        """Why it did not pass, one line each."""
        if self.record.problem:
            return [f"harness: {self.record.problem}"]
        return [f"{name}: {score.reason}" for name, score in self.scores.items() if not score.passed]

    def plain(self) -> dict[str, Any]:
        """The result as plain data for the report."""
        case = self.record.case
        return {
            "id": case.id,
            "kind": case.kind,
            "passed": self.passed,
            "failures": self.failures,
            "goal": case.goal,
            "why": case.why,
            "scripted": sorted(case.script),
            "scores": {name: _plain(score) for name, score in self.scores.items()},
            "opinions": {name: _plain(score) for name, score in self.opinions.items()},
            "record": self.record.plain(),
        }


def measured(record: Record) -> CaseResult:
    """Score a record with every deterministic metric that applies."""
    if record.problem:
        return CaseResult(record, {})
    found = {metric.name: metric.measure(record) for metric in METRICS}
    return CaseResult(record, {name: score for name, score in found.items() if score is not None})


def _plain(score: Score) -> dict[str, Any]:
    return {"value": round(score.value, 4), "passed": score.passed, "reason": score.reason}
