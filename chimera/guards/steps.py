"""The three steps of a guarded tool hop: judge the calls, make the allowed ones, judge what came back."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Protocol

from langchain_core.messages import ToolMessage
from langgraph.runtime import Runtime

from chimera.core.contracts import (
    BUY,
    SPENDING,
    Decision,
    Mission,
    ReviewDecision,
    ReviewItem,
    ReviewPoint,
    Task,
    Threat,
)
from chimera.core.errors import ChimeraError
from chimera.core.ids import derived_id
from chimera.core.settings import Settings
from chimera.core.spotlight import Marks
from chimera.core.state import AgentState, Plain
from chimera.core.tasks import together
from chimera.guards.effects import ApprovedCall, Effects, ToolSearch
from chimera.guards.extraction.acting import Extraction
from chimera.guards.extraction.extractor import Asked
from chimera.guards.extraction.view import view_of
from chimera.guards.gateway import SecurityGateway
from chimera.guards.history import effect_keys, effects_before, made, seen
from chimera.guards.permissions.directory import Directory, Kind
from chimera.guards.permissions.values import Entity
from chimera.guards.request import Edge, GuardRequest
from chimera.store.events import EventBus
from chimera.store.missions import MissionStore
from chimera.store.usage import UsageLog
from chimera.tools.capability import Capability, Requester, ToolResult
from chimera.tools.discovery.asking import found_in


class EdgeServices(Protocol):
    """What the guarded hop needs of the runtime context."""

    @property
    def gateway(self) -> SecurityGateway: ...  # noqa: D102
    @property
    def effects(self) -> Effects: ...  # noqa: D102
    @property
    def missions(self) -> MissionStore: ...  # noqa: D102
    @property
    def tools(self) -> ToolSearch: ...  # noqa: D102
    @property
    def events(self) -> EventBus: ...  # noqa: D102
    @property
    def usage(self) -> UsageLog: ...  # noqa: D102
    @property
    def directory(self) -> Directory: ...  # noqa: D102
    @property
    def extraction(self) -> Extraction: ...  # noqa: D102
    @property
    def settings(self) -> Settings: ...  # noqa: D102


async def guard_call(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    """Put every pending call before the gateway; apply a human's answer to the one that was escalated."""
    services: EdgeServices = runtime.context
    known = await _known(state, services)
    calls = _answered(state)
    if not all(call.get("decision") for call in calls):
        with _enrolled(state, services):
            calls = await _decide_all(state, services, calls, known)
    calls = await _payable(state, services, calls)
    waiting = next((call for call in calls if call["decision"]["action"] == "escalate"), None)
    item = _question(state, waiting, known.get(waiting["name"])).plain() if waiting else None
    return {"calls": calls, "review_item": item, "review_decision": None} if item else {"calls": calls}


async def call_tools(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    """Make the allowed calls of this turn at once. A failing one does not disturb the others."""
    services: EdgeServices = runtime.context
    known = await _known(state, services)
    allowed = [call for call in state.get("calls", []) if call["decision"]["action"] in ("allow", "edit")]
    keys = await effect_keys(state, services, allowed)
    work = (_perform(state, services, call, known, key) for call, key in zip(allowed, keys, strict=True))
    return {"raw": await together(work)}


async def guard_result(state: AgentState, runtime: Runtime[Any]) -> dict[str, Any]:
    """Put every result before the gateway, and answer each of the model's calls with what may be known of it."""
    services: EdgeServices = runtime.context
    known = await _known(state, services)
    raw = {found["id"]: found for found in state.get("raw", [])}
    messages: list[ToolMessage] = []
    observed: list[Plain] = []
    for call in state.get("calls", []):
        decision = Decision.model_validate(call["decision"])
        if not decision:
            messages.append(_message(state, call, {"refused": decision.reasons}, failed=True))
        elif "error" in raw[call["id"]]:
            messages.append(_message(state, call, {"error": raw[call["id"]]["error"]}, failed=True))
        else:
            content, observation = await _judge_result(state, services, call, raw[call["id"]], known.get(call["name"]))
            if edit := call.get("edit"):  # what came back is not what the model asked for
                content = {**content, "called_with": call["args"], "because": edit["said"]}
            messages.append(_message(state, call, content, failed=observation is None))
            observed += [observation] if observation else []
    return {"messages": messages, "observations": observed, "calls": [], "raw": []}


async def _known(state: AgentState, services: EdgeServices) -> dict[str, Capability]:
    """Every tool that is known, and those of this turn's calls as their servers offer them now, if they do."""
    asked = {str(call["name"]) for call in state.get("calls", [])}
    known = {tool.name: tool for tool in await services.tools.capabilities() if tool.name not in asked}
    return known | {tool.name: tool for tool in await services.tools.named(asked)}


async def _payable(state: AgentState, services: EdgeServices, calls: list[Plain]) -> list[Plain]:
    """The calls; those that have to be paid for with the key of their effect, which is that of their payment."""
    unpaid = [call for call in calls if is_unpaid(call) and "key" not in call]
    keys = await effect_keys(state, services, unpaid)
    keyed = {call["id"]: key for call, key in zip(unpaid, keys, strict=True)}
    return [{**call, "key": keyed[call["id"]]} if call["id"] in keyed else call for call in calls]


def is_unpaid(call: Mapping[str, Any]) -> bool:
    """Whether a call was allowed that has to be paid for, and its payment was not tried yet."""
    allowed = call.get("decision", {}).get("action") in ("allow", "edit")
    return call["name"] in SPENDING and allowed and not call.get("paid")


def _enrolled(state: AgentState, services: EdgeServices) -> AbstractContextManager[Entity]:
    """The agent of this state as the worker that the server runs it as, for as long as its calls are judged."""
    principal = GuardRequest(Edge.TOOL_CALL, {}, state["mission_id"], agent_id=_agent(state)).principal
    return services.directory.enrolled(Kind.AGENT, principal, ["worker"], tenant=state["mission"]["tenant"])


async def _decide_all(
    state: AgentState, services: EdgeServices, calls: list[Plain], known: dict[str, Capability]
) -> list[Plain]:
    """The decisions on the calls of one turn, each held against the others."""
    about = GuardRequest(
        edge=Edge.TOOL_CALL,
        payload={},
        mission_id=state["mission_id"],
        mission=Mission.model_validate(state["mission"]),
        task=Task.model_validate(state["task"]),
        seen=await seen(state, services, known),
        notes=await _standing(state, services),
    )
    decided = list(calls)
    for place, call in enumerate(calls):
        if not call.get("decision"):
            tool = known.get(call["name"])
            before = {} if tool is None or tool.read_only else await effects_before(state, services, tool.name)
            request = replace(about, payload=call["args"], capability=tool, made=made(state, decided, place, before))
            decided[place] = await _decide(state, services, call, request)
    return decided


async def _standing(state: AgentState, services: EdgeServices) -> Plain:
    """What the guards may know of this agent: what is left of its mission's budget, and what it has read.

    What it has read can make it suspicious, and no more than that: words alone do not take its work away.
    """
    mission = Mission.model_validate(state["mission"])
    used = await services.usage.total(state["mission_id"])
    limit = min(services.settings.max_tokens, mission.budget.tokens or services.settings.max_tokens)
    threats = [Threat(item["threat"]) for item in state.get("observations", [])]
    suspicious = any(threat not in (Threat.NONE, Threat.LOW) for threat in threats)
    return {
        "plan_round": state["plan_round"],
        "budget_left": limit - used.tokens_in - used.tokens_out,
        "threat": Threat.MEDIUM if suspicious else Threat.NONE,
        "found": found_in(state.get("observations", [])),
    }


async def _decide(state: AgentState, services: EdgeServices, call: Plain, request: GuardRequest) -> Plain:
    decision = await services.gateway.validate_request(_agent(state), request)
    if answer := call.get("edit") or call.get("approved"):
        decision = _agreed(decision, answer)
    await _tell(state, services, "guard", capability=call["name"], action=decision.action, rules=decision.rules)
    arguments = decision.payload if decision.payload is not None else call["args"]
    return {
        **call,
        "args": arguments,
        "decision": decision.plain(),
        "sealed": ApprovedCall.seal(call["name"], arguments),
    }


def _answered(state: AgentState) -> list[Plain]:
    """The calls, with the human's answer to the one that it was about.

    A call that the human edited or approved has no decision: it has to pass the guards again. Days may lie between the
    question and the answer, and in them a quarantine, a used-up budget or another policy.
    """
    answer, item = state.get("review_decision"), state.get("review_item")
    calls = list(state.get("calls", []))
    if not answer or not item:
        return calls
    decided = ReviewDecision.model_validate(answer)
    said = f"{decided.action} by {decided.reviewer}: {decided.reason}".rstrip(": ")
    for place, call in enumerate(calls):
        if call.get("decision", {}).get("action") == "escalate" and call["sealed"] == item["payload"]["sealed"]:
            answered = {"id": call["id"], "name": call["name"]}
            agreed = {"said": said, "rules": call["decision"]["rules"]}
            if decided.action == "edit" and decided.payload is not None:
                call = {**answered, "args": decided.payload["arguments"], "edit": agreed}
            elif decided.action == "approve":
                call = {**answered, "args": call["args"], "approved": agreed}
            else:
                decision = Decision(action="reject", threat=Threat.MEDIUM, reasons=[said], rules=["review.human"])
                call = {**call, "decision": decision.plain()}
            calls[place] = call
            break
    return calls


def _agreed(decision: Decision, answer: Plain) -> Decision:
    """The decision on an answered call: to what was asked before the human has agreed; anything new is asked again."""
    asks_nothing_new = set(decision.rules) <= set(answer["rules"]) and decision.payload is None
    action = "allow" if decision.action == "escalate" and asks_nothing_new else decision.action
    return decision.model_copy(
        update={
            "action": action,
            "reasons": [answer["said"], *decision.reasons],
            "rules": ["review.human", *decision.rules],
        }
    )


def _question(state: AgentState, call: Plain, capability: Capability | None) -> ReviewItem:
    key = derived_id(
        "tool-review", state["mission_id"], _place(state), state.get("turns", 0), call["id"], call["sealed"]
    )
    return ReviewItem(
        id=key,
        mission_id=state["mission_id"],
        point=ReviewPoint.SECURITY,
        question=f"May the task {state['task']['title']!r} call {call['name']}?",
        payload={
            "capability": call["name"],
            "arguments": call["args"],
            "schema": capability.input_schema if capability else None,  # what an edit has to fit
            "sealed": call["sealed"],
            "threat": call["decision"]["threat"],  # who may answer depends on it
        },
        confidence=0.0,
        reasons=call["decision"]["reasons"],
    )


async def _perform(
    state: AgentState, services: EdgeServices, call: Plain, known: dict[str, Capability], key: str
) -> Plain:
    capability = known.get(call["name"])
    if capability is None:
        return {"id": call["id"], "error": {"code": "CH601", "message": f"{call['name']} is gone", "retryable": True}}
    approved = ApprovedCall(
        mission_id=state["mission_id"],
        capability=capability,
        arguments=call["args"],
        key=key,
        decision=Decision.model_validate(call["decision"]),
        sealed=call["sealed"],
        requester=Requester(_agent(state), str(state["mission"].get("tenant", "default"))),
    )
    await _tell(state, services, "tool", capability=call["name"])
    try:
        result = await services.effects.perform(approved)
    except ChimeraError as error:
        await _tell(state, services, "tool.failed", capability=call["name"], **error.as_dict())
        # What may have happened, and may not happen twice, is for a human to look into.
        twice = capability.read_only or capability.idempotent or error.context.get("outcome") != "unknown"
        return {"id": call["id"], "error": {**error.as_dict(), "retryable": error.retryable and twice}}
    return {"id": call["id"], "result": result.plain()}


async def _judge_result(
    state: AgentState, services: EdgeServices, call: Plain, found: Plain, capability: Capability | None
) -> tuple[Plain, Plain | None]:
    request = GuardRequest(
        edge=Edge.TOOL_RESULT,
        payload=found["result"],
        mission_id=state["mission_id"],
        mission=Mission.model_validate(state["mission"]),
        task=Task.model_validate(state["task"]),
        capability=capability,
    )
    decision = await services.gateway.validate_request(_agent(state), request)
    if not decision:
        await _tell(state, services, "guard", capability=call["name"], action=decision.action, rules=decision.rules)
        return {"refused": decision.reasons}, None
    result = ToolResult.model_validate(decision.payload if decision.payload is not None else found["result"])
    observation: Plain = {
        "capability": call["name"],
        "arguments": call["args"],
        "sealed": call["sealed"],
        "threat": decision.threat.value,
        "text": json.dumps(result.data, ensure_ascii=False) if result.data is not None else result.text,
        # What a tool says of its own deed is a receipt, and nothing that a claim could cite; what was bought is data.
        "evidence": [item.plain() for item in result.evidence] if capability and _is_read(capability) else [],
    }
    raw = ToolResult.model_validate(found["result"])
    return await _shown(state, services, result, capability, decision, raw), observation


async def _shown(
    state: AgentState,
    services: EdgeServices,
    result: ToolResult,
    capability: Capability | None,
    decision: Decision,
    raw: ToolResult,
) -> Plain:
    """What a model sees of a result: itself, or typed values of what looks like an attack in it."""
    if not services.extraction.of_results(decision.threat):
        return view_of(result)
    about = {"task": state["task"]["id"], "capability": capability.name if capability else ""}
    asked = Asked(state["mission_id"], state["mission"], _agent(state), decision.threat, about, decision.rules)
    shown = await services.extraction.result(result, capability, asked, raw)
    held = shown.get("withheld", {})
    counts = {key: held[key] for key in ("records", "of") if key in held}
    await _tell(state, services, "extracted", capability=about["capability"], threat=decision.threat.value, **counts)
    return shown


def _is_read(capability: Capability) -> bool:
    return capability.read_only or capability.name == BUY


def _message(state: AgentState, call: Plain, content: Plain, *, failed: bool) -> ToolMessage:
    return Marks(state.get("marks", "")).answer(call["id"], call["name"], content, failed=failed)


def _place(state: AgentState) -> str:
    return f"{state['team']}/{state['plan_round']}/{state['task']['id']}/{state['attempt']}"


def _agent(state: AgentState) -> str:
    return f"agent:{_place(state)}"


async def _tell(state: AgentState, services: EdgeServices, kind: str, **data: Any) -> None:
    await services.events.publish(state["mission_id"], kind, team=state["team"], task=state["task"]["id"], **data)
