"""The metrics as deepeval's own classes, so that its runner, its data sets and its reports can use them as well.

Import it through :func:`chimera.evals.deepeval_loading.load`: importing deepeval costs seconds and must be silent.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from deepeval import __version__
from deepeval.metrics import BaseMetric
from deepeval.test_case import LLMTestCase, ToolCall

from chimera.evals.metrics import METRICS, Metric, Score
from chimera.evals.record import Record
from chimera.evals.results import CaseResult

VERSION = str(__version__)


class MissionMetric(BaseMetric):
    """One deterministic metric of missions. It finds the record of a test case by the test case's name.

    A metric that has nothing to say about a case is ``skipped`` and leaves no score.
    """

    def __init__(self, metric: Metric, records: Mapping[str, Record]) -> None:
        self.threshold = 1.0
        self.async_mode = False
        self.verbose_mode = False
        self._metric = metric
        self._records = records

    def measure(self, test_case: LLMTestCase, *args: Any, **kwargs: Any) -> float:
        """Score one test case, from 0 to 1."""
        score = self._metric.measure(self._records[str(test_case.name)])
        self.skipped = score is None
        self.score = score.value if score else 1.0
        self.success = score.passed if score else True
        self.reason = score.reason if score else "does not apply to this case"
        return self.score

    async def a_measure(self, test_case: LLMTestCase, *args: Any, **kwargs: Any) -> float:
        """The same, for callers that await it."""
        return self.measure(test_case)

    def is_successful(self) -> bool:
        """Whether the last test case passed."""
        return bool(self.success)

    @property
    def __name__(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride] - deepeval types it as a literal
        return f"mission {self._metric.name}"

    def last(self) -> Score | None:
        """The score of the last test case; None when the metric did not apply."""
        return None if self.skipped else Score(self.score or 0.0, self.is_successful(), self.reason or "")


def mission_metrics(records: Sequence[Record]) -> list[MissionMetric]:
    """A deepeval metric for each of ours, over these records."""
    known = {record.case.id: record for record in records}
    return [MissionMetric(metric, known) for metric in METRICS]


def as_test_case(record: Record) -> LLMTestCase:
    """A record in the form that deepeval's metrics read."""
    expected = record.case.expect.tools
    return LLMTestCase(
        name=record.case.id,
        tags=[record.case.kind],
        input=record.case.goal,
        actual_output="\n\n".join(record.documents.values()),
        retrieval_context=[f"[{item.id}] {item.text}" for item in record.evidence],
        tools_called=[ToolCall(name=name, input_parameters=None) for name in record.performed],
        expected_tools=[ToolCall(name=name, input_parameters=None) for name in expected.calls] if expected else None,
        completion_time=record.seconds,
    )


def measured_by_deepeval(record: Record) -> CaseResult:
    """Score a record through deepeval's classes; the scores are those of :func:`chimera.evals.results.measured`."""
    if record.problem:
        return CaseResult(record, {})
    test_case = as_test_case(record)
    scores: dict[str, Score] = {}
    for metric, ours in zip(mission_metrics([record]), METRICS, strict=True):
        metric.measure(test_case)
        score = metric.last()
        if score is not None:
            scores[ours.name] = score
    return CaseResult(record, scores)
