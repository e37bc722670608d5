"""The planner: from a team's goal and the tools at hand to a task graph."""

import json
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AnyMessage
from langgraph.errors import GraphBubbleUp, GraphInterrupt
from langgraph.runtime import Runtime

from chimera.core.contracts import Mission, Plan, Task, TaskResult, Verdict
from chimera.core.errors import (
    ChimeraError,
    GuardRejected,
    MissionError,
    ModelAnswerInvalid,
    ModelError,
    PlanInvalid,
)
from chimera.core.ids import digest
from chimera.core.spotlight import Marks
from chimera.core.state import Plain, TeamState
from chimera.nodes.briefing import Listener, guided, quoted
from chimera.nodes.context import Context
from chimera.nodes.dispatch import ready_tasks
from chimera.nodes.prompts import prompt
from chimera.nodes.questions import about_plan
from chimera.nodes.unplanned import refuse_unaffordable, unplanned
from chimera.tools.capability import Capability, Requester

TRIES = 2


@dataclass(frozen=True)
class PlanRequest:
    """What a planner is asked. ``feedback`` and ``refused_tools`` come from rounds that failed.

    ``guidance``: what people said of earlier work under the same persona. ``place``: the planner's name on the record.
    """

    mission_id: str
    mission: Mission
    team_goal: str
    tools: list[Capability]
    feedback: list[str] = field(default_factory=list[str])
    guidance: list[str] = field(default_factory=list[str])
    refused_tools: list[str] = field(default_factory=list[str])
    place: str = ""


class Planner:
    """Plans with the planner's model. Subclass it and override :meth:`plan` to plan in another way."""

    async def plan(self, request: PlanRequest, context: Context) -> Plan:
        """Make a plan that uses only the given tools.

        Raises:
            PlanInvalid: the model's plans stay impossible.
            ModelFailed, BudgetExceeded, GuardRejected: it could not be asked.
        """
        known = {tool.name for tool in request.tools}
        feedback = list(request.feedback)
        caller = context.caller(request.mission_id, "planner", request.mission.plain(), agent=request.place)
        problem = ""
        for _ in range(TRIES):
            try:
                plan = await context.models.structured(caller, self._messages(request, feedback, context), Plan)
            except ModelAnswerInvalid as error:
                problem = error.message
            else:
                unknown = {name for task in plan.tasks for name in task.tools} - known
                if not unknown:
                    return plan
                problem = f"the plan names tools that do not exist: {', '.join(sorted(unknown))}"
            feedback.append(problem)
        raise PlanInvalid(problem)

    def _messages(self, request: PlanRequest, feedback: list[str], context: Context) -> list[AnyMessage]:
        mission = request.mission
        known = {
            "goal": request.team_goal,
            "inputs": mission.inputs,
            "persona": mission.persona,
            "constraints": mission.constraints,
            "refused_tools": request.refused_tools,
        }
        data = {  # what servers say of their tools, and reasons that quote what agents read
            "tools": [
                {
                    "name": tool.name,
                    "description": tool.description,
                    "input_schema": tool.input_schema,
                    "read_only": tool.read_only,
                }
                for tool in request.tools
            ],
            "feedback": feedback,
            "guidance": request.guidance,
        }
        return Marks.made(context.new_id).request(prompt("planner"), known, data)


async def planner(state: TeamState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Plan for the mission as it is asked now, and record the plan.

    Without a plan the team ends; or, where it had one that failed in parts, with what that gave. When guards let
    nothing go to the planner's model, a human is asked, once for each reason. When no model answers, the team stops
    here until the mission is resumed, and the other teams go on.
    """
    context, team = runtime.context, state["team"]
    mission = await context.missions.context(state["mission_id"])
    plan_round = state.get("plan_round", 0) + 1
    place = f"planner:{team['name']}/{plan_round}"
    reasons = [reason for reasons in state.get("feedback", {}).values() for reason in reasons]
    listener = Listener(place, state["mission_id"], mission.plain())
    # A one-team mission follows the goal when it is amended; the parts of several teams stay as they were split.
    goal = mission.goal if team["goal"] == state["mission"]["goal"] else team["goal"]
    requester, refused = Requester(f"agent:{place}", mission.tenant), state.get("refused_tools", [])
    request = PlanRequest(
        mission_id=state["mission_id"],
        mission=mission,
        team_goal=goal,
        tools=await context.tools.suggested(goal, requester, state["mission_id"], refused),
        feedback=await quoted(reasons, listener, context),
        guidance=await guided(goal, listener, context),
        refused_tools=refused,
        place=place,
    )
    fresh = {
        "mission": mission.plain(),
        "team": {**team, "goal": request.team_goal},
        "context_version": mission.context_version,
        "plan_round": plan_round,
        "problem": None,
    }
    try:
        plan = await _planned(request, context)
    except (MissionError, GuardRejected) as error:
        return unplanned(state, fresh, error)
    except ModelError as error:
        await context.record(
            state["mission_id"],
            mission,
            "team.stopped",
            f"planner:{team['name']}",
            team=team["name"],
            **error.as_dict(),
        )
        raise GraphInterrupt from error  # not raised as it is: that would take the other teams with it
    await context.missions.plan_tasks(state["mission_id"], team["name"], plan_round, plan, mission.context_version)
    await context.record(
        state["mission_id"],
        mission,
        "plan",
        f"planner:{team['name']}",
        team=team["name"],
        round=plan_round,
        confidence=plan.confidence,
        unmet=plan.unmet,
        tasks=[
            {
                "id": task.id,
                "title": task.title,
                "tools": task.tools,
                "limits": task.limits,
                "needs": task.depends_on,
            }
            for task in plan.tasks
        ],
    )
    kept = _reusable(plan, mission, state.get("finished", {}))
    for result, verdict in kept.values():
        await context.missions.commit_task(state["mission_id"], team["name"], plan_round, "done", result, verdict)
    asks = _must_be_seen(state, plan, context)
    return {
        **fresh,
        "plan": plan.plain(),
        "attempts": {},
        "states": dict.fromkeys(kept, "done"),
        "outcomes": {task_id: result.plain() for task_id, (result, _) in kept.items()},
        "verdicts": {task_id: verdict.plain() for task_id, (_, verdict) in kept.items()},
        "asking": dict.fromkeys(state.get("asking", {})),
        "feedback": {},
        "review_item": about_plan(state, plan, plan_round).plain() if asks else None,
        "review_decision": None,
    }


async def _planned(request: PlanRequest, context: Context) -> Plan:
    """A plan that the budget allows.

    Raises:
        MissionError: there is none. ModelError: no model answered. GuardRejected: none may be asked.
    """
    try:
        plan = await context.planner.plan(request, context)
    except (ChimeraError, GraphBubbleUp):
        raise
    except Exception as error:
        raise PlanInvalid(f"the planner broke: {type(error).__name__}") from error
    await refuse_unaffordable(plan, request.mission_id, request.mission, context)
    return counted(plan, request.tools)


def counted(plan: Plan, tools: list[Capability]) -> Plan:
    """The plan as it is held: for each tool how often, but for those that only read."""
    reads = {tool.name for tool in tools if tool.read_only}
    tasks = [
        task.model_copy(update={"limits": {name: task.limit(name) for name in task.tools if name not in reads}})
        for task in plan.tasks
    ]
    return plan.model_copy(update={"tasks": tasks})


def task_fingerprint(task: Task, plan: Plan, context_version: str) -> str:
    """What a task's result depends on: its own text, what it may use, what comes before it, and the mission."""
    by_id = {other.id: other for other in plan.tasks}
    before = [task_fingerprint(by_id[name], plan, context_version) for name in task.depends_on]
    may = [[name, task.limit(name)] for name in task.tools]
    return digest(json.dumps([task.instruction, may, task.arguments, before, context_version], sort_keys=True))


def _reusable(plan: Plan, mission: Mission, finished: dict[str, Plain]) -> dict[str, tuple[TaskResult, Verdict]]:
    """The results of earlier rounds that a new plan asks for again, word for word, by task id."""
    kept: dict[str, tuple[TaskResult, Verdict]] = {}
    for task in plan.tasks:
        known = finished.get(task_fingerprint(task, plan, mission.context_version))
        if known:
            result = TaskResult.model_validate({**known["result"], "task_id": task.id})
            kept[task.id] = result, Verdict.model_validate(known["verdict"])
    return kept


def _must_be_seen(state: TeamState, plan: Plan, context: Context) -> bool:
    unsure = plan.confidence < context.settings.require_approval
    return bool(plan.tasks) and not state.get("dry_run") and (bool(state.get("approve_plan")) or unsure)


def after_planner(state: TeamState) -> str:
    """Where a plan leads: to a human who has to see it, to work, or straight to the report."""
    if state.get("problem") or state.get("dry_run"):
        return "report"
    if state.get("review_item"):
        return "review"
    return "dispatch" if ready_tasks(state) else "report"  # every task may be known from an earlier round
