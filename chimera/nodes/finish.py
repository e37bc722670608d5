"""Finish: the reports of the teams become the answer, which passes its guard and goes on the record."""

from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import Command

from chimera.core.contracts import Artifact, Decision, Evidence, Mission, MissionResult, MissionStatus
from chimera.core.state import MissionState, Plain
from chimera.guards.request import Edge, GuardRequest
from chimera.nodes.context import Context
from chimera.nodes.evidence import one_list
from chimera.nodes.regroup import newest

EVIDENCE_SHOWN = 200


async def finish(state: MissionState) -> dict[str, Any]:
    """Put the reports together."""
    refusal, reports = state.get("refusal"), newest(state)
    if refusal:
        decision = Decision.model_validate(refusal)
        return {"result": _result(state, MissionStatus.REJECTED, reports, decision.reasons).plain()}
    reasons = [reason for found in reports for reason in found["reasons"]]
    if state.get("dry_run"):
        return {
            "result": _result(state, MissionStatus.DONE, reports, ["dry run: nothing was executed", *reasons]).plain()
        }
    return {"result": _result(state, _status(reports), reports, reasons).plain()}


async def guard_output(state: MissionState, runtime: Runtime[Context]) -> Command[str]:
    """Let the answer pass its guard, then record it with what it cost and where its trail ends.

    When the mission was changed in the last moment, it goes on instead.
    """
    context, mission = runtime.context, Mission.model_validate(state["mission"])
    result = MissionResult.model_validate(state.get("result"))
    decision = await context.gateway.validate_request(
        "mission",
        GuardRequest(
            edge=Edge.OUTPUT,
            payload=_shown(result),
            mission_id=state["mission_id"],
            mission=mission,
            notes={"sources": [part for item in result.evidence for part in (item.source, item.text)]},
        ),
    )
    if not decision:
        update = {"answer": "", "unmet": [], "evidence": [], "reasons": decision.reasons}
        result = result.model_copy(update={"status": MissionStatus.REJECTED, **update})
    elif decision.payload is not None:
        result = MissionResult.model_validate({**result.plain(), **decision.payload})
    trail = await context.record(
        state["mission_id"],
        mission,
        "mission.finished",
        "mission",
        status=result.status,
        confidence=result.confidence,
        artifacts=[item.plain() for item in result.artifacts],
    )
    usage = await context.usage.total(state["mission_id"])
    result = result.model_copy(update={"usage": usage, "trail": trail})
    current = await context.missions.finish(result, state.get("made_from"))
    return Command(update={"result": result.plain()}, goto=() if current else "regroup")


def _shown(result: MissionResult) -> Plain:
    """All of a result that somebody wrote."""
    data = result.plain()
    return {key: data[key] for key in ("answer", "reasons", "unmet", "evidence")}


def _status(reports: list[Plain]) -> MissionStatus:
    if not any(found["done"] for found in reports if not found["refused"]):
        return MissionStatus.FAILED
    lacking = any(found["refused"] or found["unmet"] for found in reports)
    return MissionStatus.PARTIAL if lacking else MissionStatus.DONE


def _result(state: MissionState, status: MissionStatus, reports: list[Plain], reasons: list[str]) -> MissionResult:
    several = len(reports) > 1
    texts, evidence = one_list((found["answer"], _pieces(found)) for found in reports)
    answers = [
        f"## {found['team']}\n\n{text}" if several else text for found, text in zip(reports, texts, strict=True) if text
    ]
    return MissionResult(
        mission_id=state["mission_id"],
        status=status,
        answer="\n\n".join(answers),
        artifacts=[Artifact.model_validate(item) for found in reports for item in found["artifacts"]],
        evidence=evidence[:EVIDENCE_SHOWN],
        unmet=[text for found in reports for text in found["unmet"]],
        reasons=reasons,
        confidence=min((found["confidence"] for found in reports), default=0.0),
        provider=", ".join(sorted({found["provider"] for found in reports if found["provider"]})),
    )


def _pieces(report: Plain) -> list[Evidence]:
    return [Evidence.model_validate(item) for item in report["evidence"]]
