"""``chimera eval missions``: run the golden missions, score them, hold them against the baseline, report."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from chimera.core.clock import SystemClock
from chimera.core.errors import InputError
from chimera.core.figures import print_json
from chimera.core.settings import load_settings
from chimera.evals.baseline import load_baseline, make_baseline, write_baseline
from chimera.evals.cases import Case, load_cases
from chimera.evals.deepeval_loading import load
from chimera.evals.gates import compare
from chimera.evals.observe import roles_played
from chimera.evals.opinions import GRADED, why_skipped, with_opinions
from chimera.evals.record import Record
from chimera.evals.report.figures import Evaluation
from chimera.evals.report.page import page
from chimera.evals.report.table import print_table, progress_line
from chimera.evals.results import CaseResult, measured
from chimera.evals.runner import run_cases
from chimera.evals.workspace import workspace


def main_missions(quick: bool, as_json: bool, html: Path | None, json_file: Path | None, update_baseline: bool) -> int:
    """Evaluate and report; the exit code is 0 when every goal holds, else 1.

    ``quick`` runs the cases marked so, with the deterministic metrics alone. ``as_json`` prints one JSON object on
    standard output and nothing else there. ``html`` and ``json_file`` are written besides. ``update_baseline`` makes
    these results the baseline, which then no later run may fall behind.

    Raises:
        InputError: a file cannot be written, or the baseline cannot be made of this run.
        ExtraMissing: the full run needs the extra ``evals``.
        ConfigError, StoreError: nothing could be run.
    """
    if update_baseline and quick:
        raise InputError("the baseline is made of a full run", remedy="Repeat without --quick.")
    evaluation = asyncio.run(evaluate(load_cases(), quick=quick))
    if html:
        _write(html, page(evaluation))
    if json_file:
        _write(json_file, json.dumps(evaluation.detailed(), indent=1, ensure_ascii=False) + "\n")
    if as_json:
        print_json(evaluation.plain())
    else:
        print_table(evaluation, Console())
    if update_baseline:
        _update(evaluation)
        return 0
    return 0 if evaluation.passed else 1


async def evaluate(cases: Sequence[Case], *, quick: bool) -> Evaluation:
    """Run and score cases in a place of their own; nothing of it stays.

    Raises:
        ExtraMissing: the full run needs the extra ``evals``. ConfigError, StoreError: nothing could be run.
    """
    user = load_settings()
    began, at = time.monotonic(), SystemClock().now().isoformat(timespec="seconds")
    chosen = [case for case in cases if case.quick or not quick]
    deepeval = None if quick else load("deepeval_metrics")
    score: Callable[[Record], CaseResult] = deepeval.measured_by_deepeval if deepeval else measured
    async with workspace(user) as settings:
        results = await run_cases(chosen, settings, _Announced(score, len(chosen)))
    skipped = {GRADED: why} if (why := why_skipped(user, quick=quick)) else {}
    if not skipped:
        results, failed = await with_opinions(results, user)
        skipped = {GRADED: f"the judge gave no usable answer for {failed} cases"} if failed else {}
    model = roles_played(user)
    return Evaluation(
        results=results,
        comparison=compare(results, load_baseline(), model, whole=not quick),
        settings=user,
        quick=quick,
        seconds=time.monotonic() - began,
        at=at,
        scored_by=f"deepeval {deepeval.VERSION}, custom metrics" if deepeval else "the metrics themselves",
        skipped=skipped,
    )


class _Announced:
    """Scores, with a line on standard error for each case that came home."""

    def __init__(self, score: Callable[[Record], CaseResult], total: int) -> None:
        self._score = score
        self._console = Console(stderr=True, highlight=False)
        self._total = total
        self._done = itertools.count(1)

    def __call__(self, record: Record) -> CaseResult:
        result = self._score(record)
        self._console.print(progress_line(result, next(self._done), self._total))
        return result


def _update(evaluation: Evaluation) -> None:
    broken = [result.id for result in evaluation.results if result.record.problem]
    if broken:
        raise InputError(f"no baseline of a run with harness errors: {', '.join(broken)}")
    write_baseline(make_baseline(evaluation.results, roles_played(evaluation.settings)))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}", remedy="Name a file in a writable folder."
        ) from error
