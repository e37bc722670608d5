"""When a model may be asked for its opinion, and asking it, a few records at a time."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from chimera.core.settings import Settings
from chimera.evals.deepeval_loading import load
from chimera.evals.results import CaseResult
from chimera.models.choose import OFFLINE, choose_model

GRADED = "graded: serves the goal"
CONCURRENCY = 2


def why_skipped(settings: Settings, *, quick: bool) -> str:
    """Why no model is asked for its opinion; empty when one is."""
    if quick:
        return "the quick run uses deterministic metrics only"
    if settings.model_for("judge") == OFFLINE:
        return "needs a real model as its judge, and the judge is the offline rules"
    return ""


async def with_opinions(results: Sequence[CaseResult], settings: Settings) -> tuple[list[CaseResult], int]:
    """Every result that has something to read, with the judge's opinion; and how often the judge gave none.

    Raises:
        ModelUnknown: the judge cannot be set up. ExtraMissing: deepeval is not installed.
    """
    graded = load("graded")
    name = settings.model_for("judge")
    judge = graded.ChatJudge(choose_model(name, settings), name, settings.model_timeout_s)
    slots, failed = asyncio.Semaphore(CONCURRENCY), 0

    async def ask(result: CaseResult) -> CaseResult:
        nonlocal failed
        if result.record.status not in ("done", "partial") or not result.record.documents or result.record.case.script:
            return result
        async with slots:
            try:
                return replace(result, opinions={GRADED: await graded.opinion(result.record, judge)})
            except Exception:  # noqa: BLE001 - each integration raises its own kinds; no opinion is not a bad opinion
                failed += 1
                return result

    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(ask(result)) for result in results]
    return [task.result() for task in asked], failed
