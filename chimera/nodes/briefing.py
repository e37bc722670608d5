"""What an agent or a planner is told: the words of other agents, and reasons that quote them, pass their guard."""

from dataclasses import dataclass
from typing import Any, cast

from chimera.core.contracts import Decision, Mission, Task
from chimera.core.state import AgentState, Plain
from chimera.guards.extraction.extractor import Asked
from chimera.guards.provenance.outgoing import cut
from chimera.guards.request import Edge, GuardRequest
from chimera.nodes.context import Context

WITHHELD = "[withheld: {}]"


@dataclass(frozen=True)
class Listener:
    """Who is told something: its name on the record, and what it works at."""

    agent: str
    mission_id: str
    mission: Plain
    task: Task | None = None

    def asked(self, decision: Decision, whose: str) -> Asked:
        """What is on the record of what was withheld from it."""
        about = {"task": self.task.id} if self.task else {"for": self.agent}
        return Asked(
            self.mission_id, self.mission, self.agent, decision.threat, {**about, "from": whose}, decision.rules
        )


def name_of(state: AgentState) -> str:
    """The name of an agent on the record: its place in the mission."""
    return f"agent:{state['team']}/{state['plan_round']}/{state['task']['id']}/{state['attempt']}"


async def heard(state: AgentState, context: Context) -> list[Plain]:
    """The results of earlier tasks as this agent may hear them: edited, as typed values, or withheld with the reason.

    Their evidence passes the same guards, as it is text of others too.
    """
    listener, messages = _listener(state), list[Plain]()
    for message in state.get("earlier", []):
        payload = {"from": message["title"], "text": message["answer"], "evidence": message["evidence"]}
        decision = await _ask(listener, context, payload)
        text, evidence = message["answer"], cast("list[Plain]", message["evidence"])
        if not decision:
            text, evidence = WITHHELD.format("; ".join(decision.reasons)), []
        elif decision.payload is not None:
            text, evidence = decision.payload["text"], decision.payload["evidence"]
        if decision and context.extraction.of_messages(decision.threat):
            asked = listener.asked(decision, message["task_id"])
            text, evidence = await context.extraction.message(text, evidence, asked)
        messages.append({**message, "answer": text, "evidence": evidence})
    return messages


async def advised(state: AgentState, context: Context) -> list[str]:
    """What the judge said of the last try, as this agent may hear it: it quotes what that try was made of."""
    return await quoted(state.get("feedback", []), _listener(state), context)


async def advised_by_people(state: AgentState, context: Context) -> list[str]:
    """What people said of earlier work like this agent's."""
    return await guided(str(state["task"]["instruction"]), _listener(state), context)


async def guided(about: str, listener: Listener, context: Context) -> list[str]:
    """What people said of earlier work under the persona of the mission, as it may be told.

    It is data, as it may quote that work. Links, addresses and accounts are cut out: so it says how to work, and can
    choose no recipient and no destination.
    """
    mission = Mission.model_validate(listener.mission)
    guidance = context.oversight.decisions.desk.guidance
    lines = await guidance.told(mission.tenant, mission.persona, about)
    said = await quoted(lines, listener, context, whose="reviewers")
    return [cut(line, lambda _: False)[0] for line in said]


async def quoted(reasons: list[str], listener: Listener, context: Context, whose: str = "judge") -> list[str]:
    """Reasons of a judge as they may be told: edited, as typed values, or withheld with the reason."""
    if not reasons:
        return []
    decision = await _ask(listener, context, {"from": whose, "reasons": reasons})
    if not decision:
        return [WITHHELD.format("; ".join(decision.reasons))]
    if decision.payload is not None:
        reasons = cast("list[str]", decision.payload["reasons"])
    if context.extraction.of_messages(decision.threat):
        return await context.extraction.reasons(reasons, listener.asked(decision, whose))
    return reasons


def _listener(state: AgentState) -> Listener:
    return Listener(name_of(state), state["mission_id"], state["mission"], Task.model_validate(state["task"]))


async def _ask(listener: Listener, context: Context, payload: dict[str, Any]) -> Decision:
    return await context.gateway.validate_request(
        listener.agent,
        GuardRequest(
            edge=Edge.AGENT_MESSAGE,
            payload=payload,
            mission_id=listener.mission_id,
            mission=Mission.model_validate(listener.mission),
            task=listener.task,
        ),
    )
