"""The judge: acceptance criteria and grounding first, by rule; then an opinion on what only words can say."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from langgraph.errors import GraphBubbleUp
from langgraph.runtime import Runtime
from pydantic import Field

from chimera.core.contracts import (
    Check,
    Confidence,
    Contract,
    Evidence,
    Plan,
    Task,
    TaskResult,
    Threat,
    Verdict,
)
from chimera.core.errors import ArtifactNotFound, ChimeraError, StoreError
from chimera.core.spotlight import Marks
from chimera.core.state import Plain, TeamState
from chimera.core.tasks import together
from chimera.guards.extraction.rows import GRAVE
from chimera.nodes.banding import banded
from chimera.nodes.context import Context
from chimera.nodes.dispatch import asking_tasks
from chimera.nodes.grounding import check
from chimera.nodes.prompts import prompt

GROUNDED = 0.88
"""Confidence of a result that met every criterion by rule: below auto_approve, as rules see form and not sense."""
TEXT_MAX = 20_000
EVIDENCE_MAX = 100


class Opinion(Contract):
    """What a model says about the criteria in plain words."""

    checks: list[Check] = Field(default_factory=list[Check])
    confidence: Confidence


@dataclass(frozen=True)
class JudgeRequest:
    """What a judge is shown: never what the worker thinks of its own work.

    ``threat``: the highest that guards found in what tools said. ``place``: the judge's name on the record.
    """

    mission_id: str
    mission: Plain
    task: Task
    result: TaskResult
    documents: list[str]
    evidence: list[Evidence]
    facts: list[str]
    threat: Threat = Threat.NONE
    place: str = ""


class Judge:
    """Judges by rule and by the judge's model. Subclass it and override :meth:`opinion` or :meth:`judge`."""

    async def judge(self, request: JudgeRequest, context: Context) -> Verdict:
        """Approve, send back with reasons, or escalate."""
        if request.result.status == "failed":
            error = request.result.error or {}
            return Verdict(
                outcome="retry", confidence=0.9, reasons=[f"{error.get('code', '')} {error.get('message', '')}".strip()]
            )
        by_rule = [criterion for criterion in request.task.criteria if criterion.kind != "text"]
        # What the user said may be repeated without a source. In a thread: a long document takes its time.
        facts = [*request.facts, str(request.mission.get("goal", "")), *request.mission.get("constraints", [])]
        checks = await asyncio.to_thread(
            lambda: [check(rule, request.result, request.documents, request.evidence, facts) for rule in by_rule]
        )
        confidence = GROUNDED
        in_words = [criterion.value for criterion in request.task.criteria if criterion.kind == "text"]
        if in_words and all(found.passed for found in checks):
            opinion = await self.opinion(request, in_words, context)
            checks += opinion.checks
            confidence = min(confidence, opinion.confidence)
        return verdict_of(checks, confidence, context.settings.require_approval, context.settings.auto_review)

    async def opinion(self, request: JudgeRequest, criteria: list[str], context: Context) -> Opinion:
        """Ask the judge's model. A criterion that it leaves out has failed."""
        evidence, facts = [item.plain() for item in request.evidence[:EVIDENCE_MAX]], request.facts
        if request.threat in GRAVE and context.extraction.of_messages(request.threat):
            evidence, facts = await context.extraction.facts(request.evidence[:EVIDENCE_MAX], facts)
        data = {
            "answer": "\n\n".join(request.documents)[:TEXT_MAX],
            "evidence": evidence,
            "observations": [fact[:TEXT_MAX] for fact in facts],
        }
        known = {"task": request.task.instruction, "criteria": criteria}
        opinion = await context.models.structured(
            context.caller(request.mission_id, "judge", request.mission, agent=request.place, task=request.task),
            Marks.made(context.new_id).request(prompt("judge"), known, data),
            Opinion,
        )
        return opinion.model_copy(update={"checks": _one_for_each(criteria, opinion.checks)})


def _one_for_each(criteria: list[str], checks: list[Check]) -> list[Check]:
    """The check of each criterion: by its text, else in the order of those whose text is nobody's; else it failed."""
    by_text: dict[str, list[Check]] = {" ".join(text.split()).lower(): [] for text in criteria}
    reworded: list[Check] = []
    for found in checks:
        by_text.get(" ".join(found.criterion.split()).lower(), reworded).append(found)
    judged: list[Check] = []
    for text in criteria:
        own = by_text[" ".join(text.split()).lower()] or ([reworded.pop(0)] if reworded else [])
        why = next((found.why for found in own if not found.passed), "") if own else "not judged"
        judged.append(Check(criterion=text, passed=bool(own) and all(found.passed for found in own), why=why))
    return judged


def verdict_of(checks: list[Check], confidence: float, least: float, enough: float) -> Verdict:
    """All checks passed and sure enough: approve. A failed check or too little confidence: retry. Between: a human."""
    failed = [f"{found.criterion}: {found.why}" for found in checks if not found.passed]
    if failed or confidence < least:
        return Verdict(
            outcome="retry", confidence=confidence, reasons=failed or ["too little confidence"], checks=checks
        )
    if confidence < enough:
        return Verdict(outcome="escalate", confidence=confidence, reasons=["a human has to decide"], checks=checks)
    return Verdict(outcome="approve", confidence=confidence, checks=checks)


async def judge(state: TeamState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Judge every result of the wave, at the same time."""
    wave = came_back(state)
    found = await together(_judge_one(state, task_id, runtime.context) for task_id in wave)
    judged = {task_id: verdict.plain() for task_id, verdict in zip(wave, found, strict=True)}
    return {"verdicts": {**state.get("verdicts", {}), **judged}}


def came_back(state: TeamState) -> list[str]:
    """The tasks of the wave that have a result; the others wait for a human."""
    return [task_id for task_id in state["wave"] if task_id not in asking_tasks(state)]


async def _judge_one(state: TeamState, task_id: str, context: Context) -> Verdict:
    plan = Plan.model_validate(state["plan"])
    task = next(item for item in plan.tasks if item.id == task_id)
    result = TaskResult.model_validate(state["outcomes"][task_id])
    earlier = [TaskResult.model_validate(state["outcomes"][need]) for need in plan.before(task_id)]
    facts = [fact for found in [result, *earlier] for fact in found.observations]
    request = JudgeRequest(
        mission_id=state["mission_id"],
        mission=state["mission"],
        task=task,
        result=result,
        documents=[result.answer, *await _artifact_texts(state["mission_id"], result, context)],
        evidence=[item for found in [result, *earlier] for item in found.evidence],
        facts=[fact.text for fact in facts],
        place=f"judge:{state['team']['name']}/{state['plan_round']}/{task_id}",
        threat=max((fact.threat for fact in facts), key=list(Threat).index, default=Threat.NONE),
    )
    verdict, agreement = await _opinions(request, context)
    verdict = await banded(state, request, verdict, agreement, context)
    await context.record(
        state["mission_id"],
        state["mission"],
        "verdict",
        "judge",
        team=state["team"]["name"],
        task=task_id,
        outcome=verdict.outcome,
        confidence=verdict.confidence,
        reasons=verdict.reasons,
    )
    return verdict


async def _opinions(request: JudgeRequest, context: Context) -> tuple[Verdict, float | None]:
    """The strictest of the verdicts that are asked for, and the share that agrees with it; None where one was asked.

    Rules say the same again, so only what a model judges in words is asked more often.
    """
    in_words = any(criterion.kind == "text" for criterion in request.task.criteria)
    samples = context.settings.judge_samples if in_words and request.result.status == "done" else 1
    found = await together(_verdict(request, context) for _ in range(samples))
    strictest = min(found, key=lambda one: (("retry", "escalate", "approve").index(one.outcome), one.confidence))
    agreeing = sum(one.outcome == strictest.outcome for one in found)
    return strictest, agreeing / samples if samples > 1 else None


async def _verdict(request: JudgeRequest, context: Context) -> Verdict:
    error = request.result.error or {}
    if error.get("outcome") == "unknown" and not error.get("retryable", True):
        # To try again could do it twice: that is for a human to decide.
        return Verdict(outcome="escalate", confidence=0.0, reasons=[f"{error['code']} {error['message']}"])
    try:
        return await context.judge.judge(request, context)
    except (GraphBubbleUp, StoreError):
        raise
    except Exception as failure:  # noqa: BLE001 - nobody judged it, so nobody approved it
        why = failure if isinstance(failure, ChimeraError) else type(failure).__name__
        return Verdict(outcome="escalate", confidence=0.0, reasons=[f"not judged: {why}"])


async def _artifact_texts(mission_id: str, result: TaskResult, context: Context) -> list[str]:
    texts: list[str] = []
    for artifact in result.artifacts:
        try:
            _, data = await asyncio.to_thread(context.artifacts.read, mission_id, artifact.name)
        except ArtifactNotFound:
            continue  # the criterion "artifact" and the digest at download are what notice a lost file
        if artifact.media_type.startswith("text/") or _is_prose(data):
            texts.append(data.decode("utf-8", "replace"))
    return texts


def _is_prose(data: bytes) -> bool:
    """Whether a file can be read as text and is no JSON: what a worker calls it does not take it out of judgement."""
    try:
        return b"\0" not in data and not isinstance(json.loads(data.decode("utf-8")), dict | list)
    except UnicodeDecodeError:
        return False
    except (ValueError, RecursionError):
        return True
