"""One call of one tool as a mission of its own: the same front door, the same guarded hop, the same record."""

from typing import Any, Literal, cast

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime
from langgraph.types import Command
from typing_extensions import Annotated, NotRequired, TypedDict  # noqa: UP035 - pydantic describes only these before 3.12

from chimera.core.contracts import Mission, MissionResult, MissionStatus, Plan, Task, TaskResult, Verdict
from chimera.core.spotlight import read
from chimera.core.state import AgentState, MissionState, Plain
from chimera.models.calls import ANSWERED_BY
from chimera.nodes.context import Context
from chimera.nodes.intake import intake
from chimera.nodes.worker import Worker
from chimera.tools.capability import Capability

CALL = "call"
"""The name of the team that a call on its own belongs to."""
CALLER = "the caller"


class CallInput(TypedDict):
    """What starts a call."""

    mission: Plain
    task: Plain


class CallState(MissionState):
    """The channels of a call on its own."""

    task: Plain
    team: str
    context_version: str
    plan_round: int
    attempt: int
    messages: NotRequired[Annotated[list[AnyMessage], add_messages]]


class OneCall(Worker):
    """Makes the one call that its task holds; no model is asked."""

    async def turn(self, state: AgentState, tools: list[Capability], context: Context) -> list[AnyMessage]:
        """The call; and when it was answered, the end."""
        task = Task.model_validate(state["task"])
        calls: list[Any] = []
        if not any(isinstance(message, ToolMessage) for message in state.get("messages", [])):
            (name,) = task.tools
            calls = [{"name": name, "args": task.arguments[name], "id": "call", "type": "tool_call"}]
        told = {} if calls else {"content": "answered"}
        return [AIMessage(**{"content": "", **told}, tool_calls=calls, response_metadata={ANSWERED_BY: CALLER})]


async def take_call(state: CallState, runtime: Runtime[Context]) -> Command[Literal["agent", "conclude"]]:
    """Let what is asked pass the guard of the front door, and put the task on the record."""
    context, task = runtime.context, Task.model_validate(state["task"])
    admitted = await intake(state, runtime)
    update = cast("Plain", admitted.update)
    if admitted.goto == "finish":
        return Command(update=update, goto="conclude")
    mission_id, version = update["mission_id"], Mission.model_validate(update["mission"]).context_version
    await context.missions.plan_tasks(mission_id, CALL, 1, Plan(tasks=[task]), version)
    await context.missions.start_task(mission_id, CALL, 1, task.id, 1)
    place = {"team": CALL, "plan_round": 1, "attempt": 1, "context_version": version}
    return Command(update={**update, **place}, goto="agent")


async def conclude_call(state: CallState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Record how the call ended. What it gave stays in the state and with its task."""
    context, refusal = runtime.context, state.get("refusal")
    answered = refusal is None and not failure(state)
    reasons = list(refusal["reasons"]) if refusal else [str(failure(state).get("message", ""))] if not answered else []
    status = MissionStatus.DONE if answered else MissionStatus.REJECTED if refusal else MissionStatus.FAILED
    if refusal is None:
        found = TaskResult.model_validate(state.get("result"))
        verdict = Verdict(outcome="approve" if answered else "retry", confidence=0, reasons=["a call is not judged"])
        ended = "done" if answered else "failed"
        await context.missions.commit_task(state["mission_id"], CALL, 1, ended, found, verdict)
    mission = Mission.model_validate(state["mission"])
    trail = await context.record(
        state["mission_id"], mission, "mission.finished", "mission", status=status, confidence=0, artifacts=[]
    )
    result = MissionResult(
        mission_id=state["mission_id"],
        status=status,
        answer="answered" if answered else "",
        reasons=reasons,
        usage=await context.usage.total(state["mission_id"]),
        provider=CALLER,
        trail=trail,
    )
    await context.missions.finish(result)
    return {"result": result.plain()}


def shown(state: CallState) -> Plain:
    """What the guards let through of what the call gave, or of why it gave nothing."""
    answers = [message for message in state.get("messages", []) if isinstance(message, ToolMessage)]
    return read(answers[-1].content) if answers else {"error": {"code": "CH600", "message": "it was not made"}}


def failure(state: CallState) -> Plain:
    """Why the call gave nothing: code and message of an error; nothing when it was answered."""
    told = shown(state)
    if "refused" in told:
        return {"code": "CH500", "message": "; ".join(map(str, told["refused"]))}
    return cast("Plain", told["error"]) if "error" in told else {}
