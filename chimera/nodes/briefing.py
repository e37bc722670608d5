"""What an agent is told: the words of other agents, and everything that a model is shown first, pass their guards."""

from typing import Any, cast

from chimera.core.contracts import Decision, Mission, Task
from chimera.core.errors import GuardRejected
from chimera.core.state import AgentState, Plain
from chimera.guards.extraction.extractor import Asked
from chimera.guards.request import Edge, GuardRequest
from chimera.nodes.context import Context

WITHHELD = "[withheld: {}]"


async def heard(state: AgentState, context: Context) -> list[Plain]:
    """The results of earlier tasks as this agent may hear them: edited, as typed values, or withheld with the reason.

    Their evidence passes the same guards, as it is text of others too.
    """
    messages: list[Plain] = []
    for message in state.get("earlier", []):
        payload = {"from": message["title"], "text": message["answer"], "evidence": message["evidence"]}
        decision = await _ask(state, context, Edge.AGENT_MESSAGE, payload)
        text, evidence = message["answer"], cast("list[Plain]", message["evidence"])
        if not decision:
            text, evidence = WITHHELD.format("; ".join(decision.reasons)), []
        elif decision.payload is not None:
            text, evidence = decision.payload["text"], decision.payload["evidence"]
        if decision and context.extraction.of_messages(decision.threat):
            asked = _asked(state, decision, message["task_id"])
            text, evidence = await context.extraction.message(text, evidence, asked)
        messages.append({**message, "answer": text, "evidence": evidence})
    return messages


async def advised(state: AgentState, context: Context) -> list[str]:
    """What the judge said of the last try, as this agent may hear it: it quotes what that try was made of."""
    reasons = state.get("feedback", [])
    if not reasons:
        return []
    decision = await _ask(state, context, Edge.AGENT_MESSAGE, {"from": "judge", "reasons": reasons})
    if not decision:
        return [WITHHELD.format("; ".join(decision.reasons))]
    if decision.payload is not None:
        reasons = cast("list[str]", decision.payload["reasons"])
    if context.extraction.of_messages(decision.threat):
        return await context.extraction.reasons(reasons, _asked(state, decision, "judge"))
    return reasons


async def briefed(state: AgentState, context: Context) -> AgentState:
    """The state with what the model is told first as the guards let it through.

    Raises:
        GuardRejected: none of it may go to a model.
    """
    mission = state["mission"]
    payload: dict[str, Any] = {
        "goal": mission["goal"],
        "inputs": mission["inputs"],
        "persona": mission["persona"],
        "constraints": mission["constraints"],
        "task": state["task"],
        "earlier": state.get("earlier", []),
        "feedback": state.get("feedback", []),
    }
    decision = await _ask(state, context, Edge.MODEL_INPUT, payload)
    if not decision:
        raise GuardRejected(f"nothing was sent to the model: {'; '.join(decision.reasons)}")
    if decision.payload is None:
        return state
    told = decision.payload
    known = {key: told[key] for key in ("goal", "inputs", "persona", "constraints")}
    parts = {key: told[key] for key in ("task", "earlier", "feedback")}
    return {**state, **parts, "mission": {**mission, **known}}  # pyright: ignore[reportReturnType]


def _asked(state: AgentState, decision: Decision, whose: str) -> Asked:
    about = {"task": state["task"]["id"], "from": whose}
    return Asked(state["mission_id"], state["mission"], _agent(state), decision.threat, about, decision.rules)


def _agent(state: AgentState) -> str:
    return f"agent:{state['team']}/{state['plan_round']}/{state['task']['id']}/{state['attempt']}"


async def _ask(state: AgentState, context: Context, edge: Edge, payload: dict[str, Any]) -> Decision:
    return await context.gateway.validate_request(
        _agent(state),
        GuardRequest(
            edge=edge,
            payload=payload,
            mission_id=state["mission_id"],
            mission=Mission.model_validate(state["mission"]),
            task=Task.model_validate(state["task"]),
        ),
    )
