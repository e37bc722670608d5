"""A team and an agent served on their own: each is a mission without the steps above it, behind the same guards."""

from typing import Any, Literal, cast

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Send
from typing_extensions import TypedDict  # pydantic describes only this one before Python 3.12

from chimera.core.contracts import Decision, Mission, Plan, Task, TaskResult, Verdict
from chimera.core.errors import ToolUnknown
from chimera.core.state import MissionState, Plain, TeamState
from chimera.graphs.agent import build_agent
from chimera.graphs.team import build_team
from chimera.guards.edges import compile_guarded
from chimera.guards.request import Edge, GuardRequest
from chimera.nodes.context import Context
from chimera.nodes.finish import finish, guard_output
from chimera.nodes.intake import intake
from chimera.nodes.judge import judge
from chimera.nodes.orchestrator import shared
from chimera.nodes.regroup import regroup
from chimera.nodes.report import report

ALONE = "alone"
"""The name of the team that an agent on its own belongs to."""


class TeamAlone(MissionState):
    """The channels of a team on its own."""

    team: Plain


class TeamAloneInput(TypedDict, total=False):
    """What starts it."""

    mission: Plain
    team: Plain
    approve_plan: bool
    dry_run: bool


class AgentAlone(MissionState):
    """The channels of an agent on its own."""

    task: Plain
    team: str
    context_version: str
    plan_round: int
    attempt: int


class AgentAloneInput(TypedDict):
    """What starts it."""

    mission: Plain
    task: Plain


def build_team_alone() -> "CompiledStateGraph[Any, Any, Any, Any]":
    """A mission with one given team: intake -> team -> regroup -> finish -> guard_output."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(TeamAlone, input_schema=TeamAloneInput)
    builder.add_node("intake", take_team, destinations=("team", "finish"))
    builder.add_node("team", build_team())
    builder.add_node("regroup", regroup, destinations=("team", "finish"))
    builder.add_node("guard_output", guard_output, metadata={"guard": "output"}, destinations=("regroup",))
    builder.add_edge("team", "regroup")
    return _answered(builder, "team")


def build_agent_alone() -> "CompiledStateGraph[Any, Any, Any, Any]":
    """A mission with one given task: intake -> agent -> judge -> finish -> guard_output. Nobody tries it twice."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(AgentAlone, input_schema=AgentAloneInput)
    builder.add_node("intake", take_task)
    builder.add_node("agent", build_agent())
    builder.add_node("judge", judge_alone)
    builder.add_node("guard_output", guard_output, metadata={"guard": "output"})
    builder.add_edge("agent", "judge")
    builder.add_edge("judge", "finish")
    return _answered(builder, "agent")


def _answered(builder: "StateGraph[Any, Any, Any, Any]", name: str) -> "CompiledStateGraph[Any, Any, Any, Any]":
    builder.add_node("finish", finish)
    builder.add_edge(START, "intake")
    builder.add_edge("finish", "guard_output")
    builder.add_edge("guard_output", END)
    return compile_guarded(builder, name=name)


async def take_team(state: TeamAlone, runtime: Runtime[Context]) -> Command[str]:
    """Let the mission and the team's own goal pass the guard of the front door."""
    update, wanted = await _admit(state, {"goal": state["team"]["goal"]}, runtime)
    if wanted is None:
        return Command(update=update, goto="finish")
    team = {**state["team"], **wanted}
    start = {**shared({**state, **update}), "team": team}  # pyright: ignore[reportArgumentType] - the same channels
    return Command(update={**update, "teams": [team]}, goto=[Send("team", start)])


async def take_task(state: AgentAlone, runtime: Runtime[Context]) -> Command[Literal["agent", "finish"]]:
    """Let the mission and the task's own text pass the guard of the front door, and put the task on the record.

    Raises:
        ToolUnknown: the task names a tool that nobody offers.
    """
    context, task = runtime.context, Task.model_validate(state["task"])
    unknown = set(task.tools) - {tool.name for tool in await context.tools.capabilities()}
    if unknown:
        raise ToolUnknown(f"the task names tools that nobody offers: {', '.join(sorted(unknown))}")
    update, wanted = await _admit(state, {"goal": task.instruction, "title": task.title}, runtime)
    if wanted is None:
        return Command(update=update, goto="finish")
    title = wanted["title"] or wanted["goal"][:200]
    task = task.model_copy(update={"instruction": wanted["goal"], "title": title})
    mission_id, version = update["mission_id"], Mission.model_validate(update["mission"]).context_version
    await context.missions.plan_tasks(mission_id, ALONE, 1, Plan(tasks=[task]), version)
    await context.missions.start_task(mission_id, ALONE, 1, task.id, 1)
    place = {"team": ALONE, "plan_round": 1, "attempt": 1, "context_version": version}
    return Command(update={**update, **place, "task": task.plain()}, goto="agent")


async def _admit(
    state: MissionState, texts: dict[str, str], runtime: Runtime[Context]
) -> tuple[Plain, dict[str, str] | None]:
    """What the mission's intake leaves in the state, and the further texts as the guard lets them pass, if it does."""
    admitted = await intake(state, runtime)
    update = cast("Plain", admitted.update)
    if admitted.goto == "finish":
        return update, None
    mission = Mission.model_validate(update["mission"])
    request = GuardRequest(edge=Edge.INTAKE, payload=texts, mission_id=update["mission_id"], mission=mission)
    decision: Decision = await runtime.context.gateway.validate_request("user", request)
    if not decision:
        return {**update, "refusal": decision.plain()}, None
    return update, cast("dict[str, str]", decision.payload or texts)


async def judge_alone(state: AgentAlone, runtime: Runtime[Context]) -> dict[str, Any]:
    """Judge the agent's result as a team's judge does, and report it."""
    task, result = Task.model_validate(state["task"]), TaskResult.model_validate(state.get("result"))
    team: Any = {
        "mission_id": state["mission_id"],
        "mission": state["mission"],
        "team": {"name": ALONE, "goal": task.instruction},
        "plan": Plan(tasks=[task], confidence=task.confidence).plain(),
        "plan_round": 1,
        "wave": [task.id],
        "outcomes": {task.id: result.plain()},
    }
    verdicts = (await judge(cast("TeamState", team), runtime))["verdicts"]
    verdict = Verdict.model_validate(verdicts[task.id])
    done = "done" if verdict.outcome == "approve" else "failed"
    current = await runtime.context.missions.commit_task(state["mission_id"], ALONE, 1, done, result, verdict)
    reasons = verdict.reasons if current else ["the mission was changed while the agent worked"]
    judged = {"verdicts": verdicts, "states": {task.id: done if current else "failed"}, "feedback": {task.id: reasons}}
    return await report(cast("TeamState", {**team, **judged}))
