"""Banding: who looks at a result whose checks passed. What a judge sent back stays sent back."""

import asyncio
from typing import TYPE_CHECKING

from chimera.core.contracts import FIND_TOOLS, ReviewPoint, TaskResult, Verdict
from chimera.core.ids import derived_id, digest
from chimera.core.state import TeamState
from chimera.nodes.context import Context
from chimera.nodes.grounding import grounded_share
from chimera.review.calibration.bands import Judged
from chimera.review.calibration.features import Features, safety, shrunk
from chimera.review.calibration.topics import topic_of

if TYPE_CHECKING:
    from chimera.nodes.judge import JudgeRequest

_TEXT_MAX = 20_000


async def banded(
    state: TeamState, request: "JudgeRequest", verdict: Verdict, agreement: float | None, context: Context
) -> Verdict:
    """The verdict after the bands were asked. Only a result that passed every one of its checks is asked about."""
    if not verdict.checks or verdict.outcome == "retry" or not all(found.passed for found in verdict.checks):
        return verdict
    judged = await _judged(state, request, verdict, agreement, context)
    placed = await context.bands.place(judged)
    if placed.outcome == verdict.outcome:
        return verdict
    found = placed.judgement
    sure = verdict.confidence if found.probability is None else found.probability
    return Verdict.model_validate(
        {**verdict.plain(), "outcome": placed.outcome, "confidence": sure, "reasons": [placed.why]}
    )


def judgement_id(state: TeamState, task_id: str) -> str:
    """The id that belongs to the result of one attempt; an agent on its own has one."""
    attempt = state.get("attempts", {}).get(task_id, 1)
    return derived_id("judgement", state["mission_id"], state["team"]["name"], state["plan_round"], task_id, attempt)


def point_of(result: TaskResult) -> ReviewPoint:
    """Where humans decide about a result."""
    return ReviewPoint.CONTENT if result.artifacts else ReviewPoint.QUALITY


async def _judged(
    state: TeamState, request: "JudgeRequest", verdict: Verdict, agreement: float | None, context: Context
) -> Judged:
    tenant, persona = str(state["mission"]["tenant"]), digest(str(state["mission"].get("persona", "")))[:16]
    share, topic = await asyncio.gather(
        asyncio.to_thread(grounded_share, request.documents, request.evidence, request.facts),
        asyncio.to_thread(topic_of, request.task.title, *(text[:_TEXT_MAX] for text in request.documents)),
    )
    features = Features(
        judge=verdict.confidence,
        agreement=agreement,
        grounded=share,
        safe=safety(request.threat),
        history=shrunk(*await context.bands.store.history(tenant, persona)),
    )
    return Judged(
        id=judgement_id(state, request.task.id),
        mission_id=state["mission_id"],
        tenant=tenant,
        point=point_of(request.result),
        topic=topic,
        persona=persona,
        features=features,
        confidence=verdict.confidence,
        sure=verdict.outcome == "approve",
        lasting=await _lasting(state["mission_id"], request.result, context),
    )


async def _lasting(mission_id: str, result: TaskResult, context: Context) -> bool:
    """Whether it made calls that may destroy and that no human let through; a tool that nobody knows any more may."""
    used = {observed.capability for observed in result.observations} - {FIND_TOOLS}
    if not used:
        return False
    known = {tool.name: tool for tool in await context.tools.named(used)}
    may_destroy = {name for name in used if name not in known or known[name].destructive}
    return bool(may_destroy) and not may_destroy <= await context.bands.store.let_through(mission_id)
