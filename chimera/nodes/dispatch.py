"""Dispatch: sends every task that is ready to an agent of its own."""

from typing import Any

from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from chimera.core.contracts import Plan, TaskResult
from chimera.core.state import Plain, TeamState
from chimera.nodes.context import Context


def ready_tasks(state: TeamState) -> list[str]:
    """The ids of the tasks that can start: not settled, waiting for no human, and all they need is done."""
    states = {**state.get("states", {}), **dict.fromkeys(asking_tasks(state), "waiting")}
    plan = Plan.model_validate(state["plan"])
    return [
        task.id
        for task in plan.tasks
        if states.get(task.id) not in ("done", "failed", "waiting")
        and all(states.get(need) == "done" for need in task.depends_on)
    ]


def asking_tasks(state: TeamState) -> dict[str, Plain]:
    """The questions of agents that wait for a human, by task id."""
    return {task_id: question for task_id, question in state.get("asking", {}).items() if question}


async def dispatch(state: TeamState, runtime: Runtime[Context]) -> Command[str]:
    """Start the next wave; when nothing can start, put the questions of the agents that wait to their humans."""
    context, team = runtime.context, state["team"]["name"]
    wave = ready_tasks(state)[: context.settings.max_parallel]
    asking = {} if wave else asking_tasks(state)
    attempts = dict(state.get("attempts", {}))
    sends: list[Send] = []
    for task in Plan.model_validate(state["plan"]).tasks:
        if task.id in asking:
            sends.append(Send("agent", {**_brief(state, task.plain(), attempts[task.id]), "asked": asking[task.id]}))
        elif task.id in wave:
            attempts[task.id] = attempts.get(task.id, 0) + 1
            await context.missions.start_task(
                state["mission_id"], team, state["plan_round"], task.id, attempts[task.id]
            )
            sends.append(Send("agent", _brief(state, task.plain(), attempts[task.id])))
    return Command(update={"wave": [*wave, *asking], "attempts": attempts}, goto=sends)


def _brief(state: TeamState, task: Plain, attempt: int) -> dict[str, Any]:
    """All that a stateless worker gets to know.

    ``earlier`` is what the agents before it said; ``builds_on`` names the tasks whose reads the guards look up.
    """
    titles = {item["id"]: item["title"] for item in state["plan"]["tasks"]}
    results = {need: TaskResult.model_validate(state["outcomes"][need]) for need in task["depends_on"]}
    return {
        "mission_id": state["mission_id"],
        "mission": state["mission"],
        "context_version": state["context_version"],
        "team": state["team"]["name"],
        "plan_round": state["plan_round"],
        "attempt": attempt,
        "task": task,
        "feedback": state.get("feedback", {}).get(task["id"], []),
        "builds_on": Plan.model_validate(state["plan"]).before(task["id"]),
        "earlier": [
            {
                "task_id": need,
                "title": titles[need],
                "answer": result.answer,
                "evidence": [item.plain() for item in result.evidence],
            }
            for need, result in results.items()
        ],
    }
